"""A fit says at once what its promise costs: by the real defects of the data set, else by drawn ones, marked so."""

import shutil
import sys
from pathlib import Path

import cv2
import orjson
import pytest
from plates import SIDE, write_plates

from neverblink.cli import main
from neverblink.trainer.fitting.jobs import FirstFit, run_fit_and_trial
from neverblink.trainer.fitting.settings import FitJob
from neverblink.vision.artifact import load_artifact


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("plates") / "plates", train=30, test=8)


def fitted(images: Path, out: Path, **more: object) -> FirstFit:
    job = {"images": images, "product": "plate", "out": out, "size": SIDE, "engine": "torch", **more}
    return run_fit_and_trial(FitJob.model_validate(job))


def test_real_defects_say_what_each_promise_costs_and_a_page_shows_it(images: Path, tmp_path: Path) -> None:
    done = fitted(images, tmp_path / "model", report=tmp_path / "fit.html")
    assert done.trial is not None
    costs = done.trial.costs
    assert (costs.source, costs.held_out) == ("real", False)
    assert {(row.defective, row.good) for row in costs.rows} == {(8, 8)}
    own = load_artifact(tmp_path / "model").manifest.calibration
    assert costs.in_force.promise == own.false_reject
    assert [row.found for row in costs.rows] == sorted(row.found for row in costs.rows)
    page, figures = (tmp_path / "fit.html").read_text(), orjson.loads((tmp_path / "fit.json").read_bytes())
    assert "By the real defects of this test." in page
    assert own.statement() in page
    assert figures["promises"]["rows"][0]["defective"] == 8
    assert done.result.promises == figures["promises"]
    assert done.result.report == tmp_path / "fit.html"


def test_without_defects_they_are_drawn_and_marked_so(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = shutil.copytree(images / "train/good", tmp_path / "good")
    words = ("fit", good, "--product", "plate", "--out", tmp_path / "model", "--size", SIDE, "--engine", "torch")
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = capsys.readouterr().out
    assert "what the promise costs, by synthetic defects, drawn on good parts" in said
    assert "(in force)" in said
    assert "held-out good rejected" in said
    assert "0.5 % takes 598 good images" in " ".join(said.split())


def test_a_test_picture_that_cannot_be_read_keeps_no_model_from_being_made(images: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(images, tmp_path / "plates")
    (spoilt / "test/scratch/000.png").write_bytes(b"no picture")
    cv2.imwrite(str(spoilt / "test/good/000.png"), cv2.imread(str(spoilt / "train/good/000.png")))
    done = fitted(spoilt, tmp_path / "model")
    assert done.trial is not None
    assert done.trial.costs.rows[0].defective == 7
    assert "1 test pictures cannot be used and were not tried" in done.result.notes
