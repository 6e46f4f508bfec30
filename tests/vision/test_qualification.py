"""A model judges a golden set exactly as a scorer would, and what it gets wrong is told by name."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import yaml
from golden_parts import EDITOR
from plates import plate

from neverblink.cli import main
from neverblink.events import BoundingBox
from neverblink.model_registry.golden_set import GOLDEN, GoldenError, GoldenPlace
from neverblink.model_registry.qualifications import JudgedPart
from neverblink.plant import load_plant
from neverblink.qualification.golden_pictures import Answer, add, remove
from neverblink.qualification.jobs import run_qualify
from neverblink.qualification.judging import doubts
from neverblink.qualification.results import QualifyResult
from neverblink.qualification.settings import QualifyJob
from neverblink.trainer.retraining.jobs import _golden
from neverblink.vision.artifact import load_artifact


def draw(path: Path, seed: int, *, scratched: bool = False) -> BoundingBox | None:
    """Draw a plate into a file; returns where its scratch is."""
    image, mask = plate(seed, scratched=scratched)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    if not scratched:
        return None
    x, y, width, height = cv2.boundingRect(mask)
    return BoundingBox(x=x, y=y, width=width, height=height)


@pytest.fixture
def plant(model: Path, tmp_path: Path) -> Path:
    """A plant file whose plates have an empty golden set beside it."""
    file = tmp_path / "plant.yaml"
    station = {
        "name": "top", "product": "plate", "source": {"kind": "simulated", "drawing": "pcb"},
        "trigger": {"kind": "timer"},
    }  # fmt: skip
    says = {
        "site": "test",
        "storage": {"artifacts": str(model.parent), "artifact_store": "store"},
        "scorer": {"engine": "torch", "threads": 1},
        "products": [{"name": "plate", "artifact": "model"}],
        "proof": {"golden": {"sets": {"plate": "golden/plate"}, "good_rejected": None}},
        "lines": [
            {"name": "line-1", "timing": {"distance_to_gate_m": 2, "speed_m_s": 1}, "stations": [station]},
        ],
    }
    file.write_text(yaml.safe_dump(says))
    return file


@pytest.fixture
def filled(plant: Path, tmp_path: Path) -> Path:
    """The plant file; its golden set came from a folder of folders."""
    for seed in range(2):
        draw(tmp_path / "known" / "good" / f"{seed}.png", seed)
    draw(tmp_path / "known" / "scratch" / "deep one.png", 2000, scratched=True)
    add(load_plant(plant), "plate", [tmp_path / "known"], None, EDITOR)
    return plant


def qualified(plant: Path, threshold: float | None = None) -> QualifyResult:
    return run_qualify(QualifyJob(artifact="model", plant=plant, threshold=threshold, by="me")).result()


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run the command line as a shell would; returns its exit code and all that it says."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *words])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, " ".join((said.out + said.err).split())


def test_a_model_that_catches_all_known_defects_passes_and_one_whose_threshold_does_not_fails(filled: Path) -> None:
    good = qualified(filled)
    assert (good.passed, good.defects, good.escaped, good.good) == (True, 1, 0, 2)
    parts = {part["picture"]: part for part in good.figures["parts"]}
    assert set(parts) == {"good/0.png", "good/1.png", "defects/scratch/deep-one.png"}
    scratch = parts["defects/scratch/deep-one.png"]
    assert scratch["decision"] == "reject"
    bad = qualified(filled, threshold=scratch["score"] * 1.01)
    assert (bad.passed, bad.escaped) == (False, 1)
    assert bad.refused is not None
    assert "1 of 1 known defects escapes: defects/scratch/deep-one.png (scratch passes, 0.9901 of the threshold)" in (
        bad.refused
    )
    page = Path(bad.page).read_text()
    assert "It must not score plate." in page
    assert page.count("data:image/jpeg") >= 2, "the escaping part is shown, and its heat"
    assert Path(bad.page).parent.name == bad.artifact.replace(":", "-")


def test_a_defect_must_be_found_where_it_is_and_named_where_that_is_asked_for(plant: Path, tmp_path: Path) -> None:
    described = load_plant(plant)
    where = draw(tmp_path / "found.png", 2001, scratched=True)
    draw(tmp_path / "elsewhere.png", 2002, scratched=True)
    draw(tmp_path / "nameless.png", 2003, scratched=True)
    add(described, "plate", [tmp_path / "found.png"], Answer("scratch", where), EDITOR)
    corner = BoundingBox(x=62, y=62, width=2, height=2)
    add(described, "plate", [tmp_path / "elsewhere.png"], Answer("scratch", corner), EDITOR)
    add(described, "plate", [tmp_path / "nameless.png"], Answer("scratch", named=True), EDITOR)
    faults = {part["picture"]: part["fault"] for part in qualified(plant).figures["parts"]}
    assert faults["defects/scratch/found.png"] is None
    assert faults["defects/scratch/elsewhere.png"] == "scratch is rejected for something elsewhere"
    assert faults["defects/scratch/nameless.png"] == "scratch is rejected and not named so, but anomaly"


def test_what_is_only_just_caught_is_told() -> None:
    caught = JudgedPart(picture="defects/scratch/1.png", type="scratch", decision="reject", ratio=1.01)
    (said,) = doubts([caught, caught.model_copy(update={"ratio": 1.5})])
    assert said.startswith("1 known defect is caught by less than 2% of the threshold (defects/scratch/1.png)")
    assert doubts([caught.model_copy(update={"ratio": 1.5})]) == []


def test_a_picture_that_is_gone_or_altered_is_told(filled: Path) -> None:
    place = GoldenPlace.of(load_plant(filled), "plate")
    folder, part = filled.parent / "golden" / "plate", place.read().parts[0]
    assert (part.picture, place.picture(part)) == ("good/0.png", (folder / "good" / "0.png").read_bytes())
    draw(folder / "good" / "0.png", 77)
    with pytest.raises(GoldenError, match=r"golden picture good/0.png of plate was altered"):
        place.picture(part)
    (folder / "good" / "0.png").unlink()
    with pytest.raises(GoldenError, match=r"lists good/0.png, which is not in .*`neverblink golden remove`"):
        place.picture(part)
    (folder / GOLDEN).write_text('{"product": "plate", "parts": [{"picture": "../../etc/passwd"}]}')
    with pytest.raises(GoldenError, match="is not what `neverblink golden add` writes"):
        place.read()


def test_pictures_come_and_go_by_digest_and_the_set_remembers_what_it_was(filled: Path, tmp_path: Path) -> None:
    plant = load_plant(filled)
    before = GoldenPlace.of(plant, "plate").read()
    again = add(plant, "plate", [tmp_path / "known"], None, EDITOR)
    assert (again.pictures, len(again.known), again.golden.digest) == ((), 3, before.digest)
    with pytest.raises(GoldenError, match=r"is in the golden set of plate as good/0.png, with another answer"):
        add(plant, "plate", [tmp_path / "known" / "good" / "0.png"], Answer("stain"), EDITOR)
    done = remove(plant, "plate", ["good/0.png"], EDITOR)
    assert not (filled.parent / "golden" / "plate" / "good" / "0.png").exists()
    assert done.golden.digest != before.digest
    assert done.golden.was(before.digest)
    back = add(plant, "plate", [tmp_path / "known" / "good" / "0.png"], Answer(None), EDITOR)
    assert back.golden.digest == before.digest, "the same pictures and answers are the same set, whatever happened"
    with pytest.raises(GoldenError, match=r"has no good/9.png"):
        remove(plant, "plate", ["good/9.png"], EDITOR)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(GoldenError, match="is no picture that a model can be shown"):
        add(plant, "plate", [tmp_path / "text.png"], Answer(None), EDITOR)


def test_the_commands_fill_list_and_judge_a_golden_set(
    plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "0417.png", 2004, scratched=True)
    draw(tmp_path / "fine.png", 3)
    where = ("--plant", str(plant))
    code, said = told(monkeypatch, capsys, "qualify", "model", *where)
    assert code == 2
    assert "is empty: `neverblink golden add` puts pictures in" in said
    code, said = told(monkeypatch, capsys, "golden", "add", str(tmp_path / "fine.png"), "--product", "plate", *where)
    assert (code, "say what" in said) == (2, True)
    code, said = told(
        monkeypatch, capsys, "golden", "add", str(tmp_path / "0417.png"), "--product", "plate", "--defect", "scratch",
        "--region", "0,0,64,64", *where,
    )  # fmt: skip
    assert (code, "1 pictures came to the golden set of plate: 1 scratch" in said) == (0, True)
    assert told(
        monkeypatch, capsys, "golden", "add", str(tmp_path / "fine.png"), "--product", "plate", "--good", *where
    )[0] == 0  # fmt: skip
    code, said = told(monkeypatch, capsys, "golden", "list", "--pictures", *where)
    assert "defects/scratch/0417.png" in said
    assert "at 0,0,64,64" in said
    code, said = told(monkeypatch, capsys, "qualify", "model", "--by", "me", "--threshold", "1e6", *where)
    assert (code, "it must not score plate: 1 of 1 known defects escapes" in said) == (1, True)


def test_a_challenger_judges_the_golden_set_and_a_set_that_cannot_be_judged_costs_no_work(
    filled: Path, model: Path
) -> None:
    plant = load_plant(filled)
    done: Any = SimpleNamespace(artifact=load_artifact(model))
    said = _golden(plant, done, model, lambda *_: None) or ""
    assert said.startswith("it passes the golden set of plate: ")
    assert Path(said.partition(": ")[2]).is_file()
    for part in GoldenPlace.of(plant, "plate").read().parts:
        remove(plant, "plate", [part.picture], EDITOR)
    assert "was not judged: the golden set of plate at" in (_golden(plant, done, model, lambda *_: None) or "")
    without = plant.model_copy(update={"proof": type(plant.proof)()})
    assert _golden(without, done, model, lambda *_: None) is None
