"""A challenger learns what people confirmed; it is refused when a known defect would escape it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from plates import SIDE, fit_plates, plate, write_plates

from neverblink.cli import main
from neverblink.trainer.datasets.confirmed_images import KnownPart, confirmed_images, known_parts
from neverblink.trainer.datasets.images import DatasetError, file_digest, good_images, images_in
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.recalibrate import Wish, recalibrate
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.retraining.refit import refit, settings_like
from neverblink.trainer.retraining.report import write_retraining_report
from neverblink.trainer.retraining.retrain import Evidence, Retrained, RetrainSettings, retrain
from neverblink.trainer.retraining.training_window import WindowSettings
from neverblink.vision.artifact import Artifact, load_artifact, recalibrated
from neverblink.vision.artifact_manifest import ArtifactError
from neverblink.vision.colour import Clahe
from neverblink.vision.region_of_interest import RegionOfInterest

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEW = WindowSettings(least=20, least_held_out=4)


def stamped(seed: int, *, scratched: bool = False) -> np.ndarray:
    """Return a plate with a stamp: the champion rejects it, and from now on it is no defect."""
    image, _ = plate(seed, scratched=scratched)
    image[40:52, 12:24] = 40
    return image


def written(folder: Path, pictures: Sequence[np.ndarray]) -> list[Path]:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    return images_in(folder)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion; `confirmed`: stamped plates with an index; `scratch`: defects that it finds."""
    folder = tmp_path_factory.mktemp("retrain")
    fit_plates(write_plates(folder / "plates", train=30, test=1), folder / "champion")
    paths = written(folder / "confirmed", [stamped(5000 + number) for number in range(60)])
    rows = [
        {
            "image": path.name,
            "captured": (NOON + timedelta(hours=8 * number)).isoformat(),
            "source": "reviewed-pass" if number % 2 else "corrected-false-reject",
        }
        for number, path in enumerate(paths)
    ]
    (folder / "confirmed" / "index.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    written(folder / "defects" / "scratch", [stamped(7000 + number, scratched=True) for number in range(4)])
    return folder


@pytest.fixture(scope="module")
def evidence(plates: Path) -> Evidence:
    return Evidence(confirmed_images(plates / "confirmed").normals, known_parts(plates / "defects"))


@pytest.fixture(scope="module")
def refitted(plates: Path, evidence: Evidence) -> Retrained:
    return retrain(plates / "champion", plates / "challenger", evidence, RetrainSettings(FEW))


def test_a_challenger_that_finds_every_known_defect_is_promotable_and_rejects_fewer_good_parts(
    refitted: Retrained, plates: Path
) -> None:
    trial = refitted.trial
    assert refitted.promotable
    assert trial.false_reject_rate(trial.champion) == 1
    assert trial.false_reject_rate(trial.challenger) < 0.3
    assert trial.rejected(trial.challenger, "defect") == 4
    retraining = load_artifact(plates / "challenger", digest=refitted.artifact.digest).manifest.retraining
    assert retraining is not None
    assert (retraining.champion, retraining.mode, retraining.refused) == (refitted.champion.digest, "refit", None)


def test_what_it_learns_from_and_what_it_is_tried_on_share_no_image(refitted: Retrained) -> None:
    window = refitted.window
    held_out = {image.digest for image in window.held_out}
    assert len(window.learn) + len(held_out) == 60
    assert held_out.isdisjoint(refitted.artifact.manifest.provenance.images)
    assert {part.path for part in refitted.trial.parts if part.role == "normal"} == {
        image.path for image in window.held_out
    }


def test_a_challenger_is_refused_when_a_known_defect_would_escape_and_the_report_names_it(
    plates: Path, evidence: Evidence, tmp_path: Path
) -> None:
    (once_a_defect,) = written(tmp_path / "wrong-stamp", [stamped(6001)])
    known = [*evidence.defects, KnownPart(once_a_defect, "wrong-stamp")]
    done = retrain(plates / "champion", tmp_path / "new", Evidence(evidence.normals, known), RetrainSettings(FEW))
    assert not done.promotable
    refused = "1 of 5 known defective parts would escape: wrong-stamp/000.png (wrong-stamp)"
    assert done.trial.refusal == refused
    assert done.trial.newly_escaping == done.trial.escaping
    retraining = load_artifact(tmp_path / "new").manifest.retraining
    assert retraining is not None
    assert retraining.refused == refused
    page = write_retraining_report(done, tmp_path / "report.html")
    assert f"<b>Refused.</b> {refused}" in page.html.read_text()
    figures = orjson.loads(page.json.read_bytes())
    assert (figures["promotable"], figures["challenger"]["defects_missed"]) == (False, 1)
    # Another threshold makes no tried model of a refused one, and an untried one of a tried one.
    recalibrate(tmp_path / "new", tmp_path / "looser", Wish(false_reject=0.2))
    again = load_artifact(tmp_path / "looser").manifest.retraining
    assert again is not None
    assert again.refused == refused


def test_defects_that_escape_both_models_refuse_unless_they_are_tolerated(
    plates: Path, evidence: Evidence, tmp_path: Path
) -> None:
    (challenge,) = written(tmp_path / "challenge", [stamped(6001)])
    known = Evidence(evidence.normals, (), [KnownPart(challenge, "wrong-stamp")])
    blind(plates / "champion", tmp_path / "blind")
    strict = retrain(tmp_path / "blind", tmp_path / "strict", known, RetrainSettings(FEW))
    assert "1 of 1 known defective parts would escape" in str(strict.trial.refusal)
    assert "1 escape the champion too" in str(strict.trial.refusal)
    tolerant = replace(strict.trial, tolerate_old_misses=True)
    assert tolerant.refusal is None
    assert "1 known defective parts escape both models" in tolerant.doubts
    grouped = replace(tolerant, ungrouped="folder").doubts
    assert "its promise counts each picture for itself, the champion's were counted by groups (folder)" in grouped[-2]


def blind(champion: Path, out: Path) -> None:
    """Write the champion with a threshold that nothing exceeds."""
    calibration = load_artifact(champion).manifest.calibration
    recalibrated(champion, calibration.model_copy(update={"threshold": 1000.0, "method": "given"}), out=out)


def test_a_correction_brings_back_held_out_corrections_without_a_new_fit(
    plates: Path, evidence: Evidence, tmp_path: Path
) -> None:
    done = retrain(plates / "champion", tmp_path / "corrected", evidence, RetrainSettings(FEW, correct=True, share=0.1))
    before, after = done.trial.corrections
    assert before == len(done.window.held_out)
    assert after <= before // 2
    assert done.promotable
    assert done.artifact.threshold == done.champion.threshold
    old = done.champion.bank
    np.testing.assert_array_equal(done.artifact.bank[: len(old)], old)
    assert done.artifact.manifest.provenance.added == len(done.artifact.bank) - len(old) > 0


def test_without_a_false_reject_there_is_nothing_to_correct(plates: Path, evidence: Evidence, tmp_path: Path) -> None:
    blind(plates / "champion", tmp_path / "blind")
    with pytest.raises(DatasetError, match="confirmed normals that it does not know: there is nothing to correct"):
        retrain(tmp_path / "blind", tmp_path / "none", evidence, RetrainSettings(FEW, correct=True))
    assert not (tmp_path / "none").exists()


def test_a_refit_keeps_what_the_champion_was_made_with(plates: Path, tmp_path: Path) -> None:
    settings = FitSettings(
        product="plate",
        name="plate",
        size=SIDE,
        ratio=0.02,
        top=2,
        neighbours=3,
        clahe=Clahe(clip_limit=2),
        brightness=(0.9, 1.0),
        region=RegionOfInterest.model_validate({"inside": [[[0, 0], [1, 0], [1, 0.6], [0, 0.6]]]}),
        seed=3,
    )
    images = good_images(plates / "plates")[:12]
    champion = fit(images, tmp_path / "champion", settings).artifact
    again = refit(champion, images, tmp_path / "again", settings_like(champion, len(images), version="2"))
    assert same(again) == same(champion)
    assert again.manifest.calibration.false_reject == champion.manifest.calibration.false_reject
    assert again.threshold == pytest.approx(champion.threshold, rel=1e-4)
    np.testing.assert_array_equal(again.bank, champion.bank)
    assert again.region is not None
    np.testing.assert_array_equal(again.region, champion.region)
    assert again.version == "2"


def same(artifact: Artifact) -> dict[str, object]:
    """Return what two fits to the same images have in common to the last digit: the search is chosen by measuring."""
    return artifact.manifest.model_dump(exclude={"version", "created", "tensors", "calibration", "engines"})


def test_a_part_that_is_normal_and_defective_at_once_is_told(plates: Path, evidence: Evidence, tmp_path: Path) -> None:
    twice = KnownPart(evidence.normals[0].path, "scratch")
    assert file_digest(twice.path) == evidence.normals[0].digest
    with pytest.raises(DatasetError, match=r"said to show a defect \(scratch\), and the same image is confirmed"):
        retrain(plates / "champion", tmp_path / "new", Evidence(evidence.normals, [twice]), RetrainSettings(FEW))
    with pytest.raises(ArtifactError, match="already exists"):
        retrain(plates / "champion", plates / "champion", evidence, RetrainSettings(FEW))
    assert not (tmp_path / "new").exists()


def code_of(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line as a shell would, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_says_in_a_sentence_what_is_missing_and_tells_a_refusal_by_its_exit_code(
    plates: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("retrain", plates / "confirmed", "--champion", plates / "champion", "--out", tmp_path / "new")
    assert code_of(monkeypatch, *words) == 2
    assert "of 60 confirmed normals" in capsys.readouterr().err
    assert code_of(monkeypatch, "retrain", plates / "confirmed", "--out", tmp_path / "new") == 2
    assert "name the champion's folder, or the --plant file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    few = ("--least", 20, "--defects", plates / "defects", "--json")
    assert code_of(monkeypatch, *words, *few) == 0
    figures = orjson.loads(capsys.readouterr().out)
    assert figures["promotable"]
    assert figures["champion"]["false_rejects"] > figures["challenger"]["false_rejects"]
    assert (tmp_path / "new.html").is_file()
    assert figures["challenger"]["digest"] == load_artifact(tmp_path / "new").digest
