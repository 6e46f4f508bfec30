"""A model learns the defects it will be strict on, keeps what it knew, and is judged on images it never saw."""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from plates import fit_plates, plate, write_plates

from neverblink.cli import main
from neverblink.plant import Plant
from neverblink.scorer.models import Models
from neverblink.trainer.datasets.defect_images import defect_images
from neverblink.trainer.evaluation.known_defects import seen_images
from neverblink.trainer.teaching.teaching import lessons
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects

SCRATCHES, BLOTS = 24, 24
SMALL = ("--encoder", "plain", "--width", "8", "--depth", "3", "--epochs", "14", "--learning-rate", "0.01")

Run = Callable[..., int]


def write_blots(folder: Path) -> None:
    for place in ("test/blot", "ground_truth/blot"):
        (folder / place).mkdir(parents=True)
    for number in range(BLOTS):
        image, _ = plate(3000 + number)
        mask = np.zeros_like(image)
        random = np.random.default_rng(number)
        cv2.circle(mask, random.integers(14, 50, 2).tolist(), int(random.integers(5, 9)), 255, -1)
        image[mask > 0] = 30
        cv2.imwrite(str(folder / f"test/blot/{number:03}.png"), image)
        cv2.imwrite(str(folder / f"ground_truth/blot/{number:03}_mask.png"), mask)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_plates(tmp_path_factory.mktemp("plates") / "plates", train=30, test=SCRATCHES)
    write_blots(folder)
    return folder


@pytest.fixture(scope="module")
def model(images: Path) -> Path:
    fit_plates(images, images.parent / "model")
    return images.parent / "model"


@pytest.fixture(scope="module")
def taught(images: Path, model: Path) -> Path:
    """The model with a U-Net of both types, then with a classifier too, through the commands."""
    unet, hybrid = images.parent / "unet", images.parent / "hybrid"
    with pytest.MonkeyPatch.context() as patch:
        assert code_of(patch, "train-unet", images, "--artifact", model, "--out", unet, *SMALL) == 0
        assert code_of(patch, "train-classifier", images, "--artifact", unet, "--out", hybrid) == 0
    return hybrid


def code_of(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line as a shell would, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_one_artifact_holds_bank_u_net_and_classifier(model: Path, taught: Path) -> None:
    before, after = load_artifact(model), load_artifact(taught)
    assert after.version == "1-unet-classifier"
    assert after.manifest.unet is not None
    assert after.manifest.classifier is not None
    assert after.manifest.unet.spec.classes == after.manifest.classifier.spec.types == ("blot", "scratch")
    assert np.array_equal(before.bank, after.bank)
    assert before.threshold == after.threshold


def test_defects_are_outlined_named_and_measured(images: Path, taught: Path) -> None:
    artifact = load_artifact(taught)
    inspector = Inspector(artifact, extractor_of(artifact, engine="torch"))
    seen = seen_images(artifact)
    right = 0
    fresh = [image for image in defect_images(images) if image.defective and digest(image.path) not in seen]
    assert len(fresh) >= 8
    for image in fresh:
        (found,) = inspect_defects([(inspector, read_image(image.path))])
        names = {finding.type for finding in found.findings if "unet" in finding.seen_by}
        right += names == set(image.types)
        area = sum(finding.area_px for finding in found.findings if finding.type == image.types[0])
        labelled = image.masks(64, 64)[image.types[0]].sum()
        assert area == 0 or 0.4 < area / labelled < 2.5
    assert right >= 0.8 * len(fresh)


def digest(path: Path) -> str:
    from neverblink.trainer.datasets.images import file_digest

    return file_digest(path)


def test_an_image_is_inspected_the_same_alone_and_in_company(images: Path, taught: Path) -> None:
    artifact = load_artifact(taught)
    inspector = Inspector(artifact, extractor_of(artifact))
    pictures = [read_image(path) for path in sorted((images / "test/blot").iterdir())[:5]]
    together = inspect_defects([(inspector, picture) for picture in pictures])
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = inspect_defects([(inspector, picture)])
        assert alone.findings == found.findings
        assert alone.anomaly.score == pytest.approx(found.anomaly.score, rel=1e-5)


def test_what_the_model_was_trained_with_is_no_evidence_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, taught: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    assert code_of(monkeypatch, "evaluate", images, "--artifact", taught, "--json", "--report", report) == 0
    said = capsys.readouterr()
    figures = orjson.loads(said.out)["known_defects"]
    left = [image for image in defect_images(images) if digest(image.path) not in seen_images(load_artifact(taught))]
    assert figures["images"] == len(left) < len(defect_images(images))
    assert "were left out, the model was trained with them" in said.err
    assert {found["name"] for found in figures["types"]} == {"blot", "scratch"}
    page = report.read_text()
    assert "Known defects" in page
    assert "blot" in page
    # The ranking is PatchCore's, which learnt from none of them.
    assert orjson.loads(said.out)["defective"] == SCRATCHES + BLOTS


def test_a_hybrids_headline_counts_what_its_u_net_rejects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, taught: Path, tmp_path: Path
) -> None:
    blind, report = tmp_path / "blind", tmp_path / "report.html"
    # A threshold that no score reaches: all that is rejected, the U-Net rejects.
    threshold = 10 * load_artifact(taught).threshold
    assert code_of(monkeypatch, "calibrate", taught, "--threshold", threshold, "--out", blind) == 0
    capsys.readouterr()
    assert code_of(monkeypatch, "evaluate", images, "--artifact", blind, "--json", "--report", report) == 0
    figures = orjson.loads(capsys.readouterr().out)
    rejected = [row for row in figures["scores"] if row["defect"] and row["rejected"] and not row["taught"]]
    assert all(row["score"] < threshold and row["reason"] == "defect" for row in rejected)
    decided = figures["decided"]["defective"]
    assert len(rejected) == decided - figures["missed"] >= 0.8 * decided
    assert figures["rejected_by_region_alone"]["defective"] == len(rejected)
    # By type and by headline it is one truth, and each promise is the whole model's.
    known = {row["name"]: row for row in figures["known_defects"]["types"]}
    assert sum(row["rejected"] for row in known.values()) == len(rejected)
    (now,) = (row for row in figures["promises"]["rows"] if row["in_force"])
    assert (now["found"], now["false_rejects"]) == (len(rejected), figures["false_rejects"])
    page = report.read_text()
    assert f"{len(rejected)} of {decided}</b> defective parts" in page
    assert "by the U-Net, which marked" in page
    assert code_of(monkeypatch, "artifact", "inspect", blind) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "scratch: outlined by the U-Net above" in said
    assert "by the U-Net, which marked" in said.replace("│ │ ", "")


def test_an_evaluation_decides_and_inspects_as_the_plant_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, taught: Path, tmp_path: Path
) -> None:
    # A part of 6.4 × 6.4 mm, by the station's scale, has no defect of 100 mm².
    rules = {"reject_on": "defects", "types": {}, "others": {"min_area_mm2": 100}}
    tolerant = plant_file(tmp_path / "plant.yaml", taught, **rules)
    evaluated = ("evaluate", images, "--artifact", taught, "--json")
    assert code_of(monkeypatch, *evaluated) == 0
    strict = orjson.loads(capsys.readouterr().out)
    assert code_of(monkeypatch, *evaluated, "--plant", tolerant) == 0
    lenient = orjson.loads(capsys.readouterr().out)
    assert [known["decided_by"] for known in (strict["known_defects"], lenient["known_defects"])] == [
        "the default rules",
        "the rules of product plate at test",
    ]
    assert all(found["rejected_share"] >= 0.8 for found in strict["known_defects"]["types"])
    assert all(found["rejected"] == 0 for found in lenient["known_defects"]["types"])
    # What the models see is the same, and so is the ranking.
    assert lenient["known_defects"]["confusion"] == strict["known_defects"]["confusion"]
    assert [image["score"] for image in lenient["scores"]] == [image["score"] for image in strict["scores"]]


def test_what_is_timed_is_what_a_scorer_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, taught: Path, tmp_path: Path
) -> None:
    plant = plant_file(tmp_path / "plant.yaml", taught, segment="suspicious")
    assert code_of(monkeypatch, "evaluate", images, "--artifact", taught, "--json", "--plant", plant) == 0
    models = orjson.loads(capsys.readouterr().out)["latency"]["models"]
    assert models == "PatchCore, U-Net (from 0.5 of the threshold on) and classifier"


def test_a_classifier_learns_from_outlines_alone_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, taught: Path, tmp_path: Path
) -> None:
    words = ("train-classifier", images, "--artifact", images.parent / "unet", "--out", tmp_path / "drawn")
    assert code_of(monkeypatch, *words, "--drawn-only") == 0
    learnt = SCRATCHES + BLOTS - lessons([images]).left
    assert f"learnt from {learnt} outlines alone" in capsys.readouterr().out
    drawn, both = (load_artifact(folder).manifest.classifier for folder in (tmp_path / "drawn", taught))
    assert drawn is not None
    assert both is not None
    assert drawn.spec.regions == learnt < both.spec.regions
    assert drawn.spec.types == both.spec.types


def test_u_net_and_classifier_leave_the_same_images(images: Path) -> None:
    first, second = lessons([images]), lessons([images])
    assert first == second
    assert first.left == 10
    assert len(first.good) == 30
    assert lessons([images], 0.0).left == 0


def test_a_scorer_rejects_for_a_known_defect_below_the_threshold(images: Path, taught: Path) -> None:
    models = Models.load(plant_of(taught))
    model = models["plate"]
    blots = [read_image(path) for path in sorted((images / "test/blot").iterdir())]
    found = models.score([(model, model.inspector.prepare_defects(blot)) for blot in blots])
    assert sum(any(finding.type == "blot" for finding in one.findings) for one in found) >= 0.8 * len(found)
    assert model.rules.policy.types["blot"].min_area_px == 20


def test_a_u_net_for_suspicious_frames_leaves_the_others_alone(images: Path, taught: Path) -> None:
    picture = read_image(images / "test/good/000.png")
    always, asked = (
        inspect_defects([(Models.load(plant)["plate"].inspector, picture)])[0]
        for plant in (plant_of(taught), plant_of(taught, segment="suspicious", suspicious_from=1.0))
    )
    assert always.probabilities is not None
    assert asked.probabilities is None
    assert asked.anomaly.score == always.anomaly.score


def plant_file(path: Path, artifact: Path, **policy: object) -> Path:
    path.write_text(plant_of(artifact, **policy).model_dump_json(exclude_unset=True))
    return path


def plant_of(artifact: Path, **policy: object) -> Plant:
    return Plant.model_validate(
        {
            "site": "test",
            "storage": {"artifacts": artifact.parent, "model_cache": artifact.parent / "model-cache"},
            "scorer": {"threads": 1},
            "products": [
                {
                    "name": "plate",
                    "artifact": artifact.name,
                    "defects": {"types": {"blot": {"min_area_px": 20}}, **policy},
                }
            ],
            "lines": [
                {
                    "name": "line-1",
                    "timing": {"distance_to_gate_m": 2, "speed_m_s": 1},
                    "stations": [
                        {
                            "name": "top",
                            "product": "plate",
                            "source": {"kind": "folder", "path": "pictures"},
                            "trigger": {"kind": "timer"},
                            "mm_per_px": 0.1,
                        }
                    ],
                }
            ],
        }
    )


REFUSED = {
    "no folder": (("train-unet", "nowhere", "--artifact", "MODEL", "--out", "OUT"), "has no folder `test`"),
    "no artifact": (("train-unet", "IMAGES", "--artifact", "nowhere", "--out", "OUT"), "no artifact folder nowhere"),
    "a place that is taken": (("train-unet", "IMAGES", "--artifact", "MODEL", "--out", "MODEL"), "already exists"),
    "an input that cannot be halved": (
        ("train-unet", "IMAGES", "--artifact", "MODEL", "--out", "OUT", "--resize", "100", "--depth", "4"),
        "cannot be halved 4 times",
    ),
    "an encoder that does not exist": (
        ("train-unet", "IMAGES", "--artifact", "MODEL", "--out", "OUT", "--encoder", "resnet19"),
        "timm has no model named resnet19",
    ),
    "an unknown rate that nothing can promise": (
        ("train-classifier", "IMAGES", "--artifact", "MODEL", "--out", "OUT", "--unknown-rate", "0.001"),
        "999 are needed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taught_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    images: Path,
    model: Path,
    tmp_path: Path,
    name: str,
) -> None:
    words, sentence = REFUSED[name]
    places = {"IMAGES": images, "MODEL": model, "OUT": tmp_path / "out"}
    assert code_of(monkeypatch, *(places.get(word, word) for word in words)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("neverblink: ")
    assert said.count("\n") == 1
