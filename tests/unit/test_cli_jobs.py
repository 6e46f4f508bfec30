"""The commands that make and judge models: exit codes and single sentences."""

import sys
from pathlib import Path

import orjson
import pytest
from plates import fit_plates, write_plates

from neverblink.cli import main
from neverblink.plant import EXAMPLE


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("plates") / "plates", train=6, test=2)


@pytest.fixture(scope="module")
def model(images: Path) -> Path:
    fit_plates(images, images.parent / "model")
    return images.parent / "model"


def code_of(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line as a shell would, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_keep_reviewed_says_what_has_replaced_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plant = tmp_path / "plant.yaml"
    plant.write_text(EXAMPLE)
    assert code_of(monkeypatch, "keep-reviewed", "confirmed", "-p", plant) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "keep-reviewed has ended: the ledger keeps the pictures itself" in said
    assert "neverblink retrain confirmed -p" in said


def test_evaluate_writes_a_report_and_pipes_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, model: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    words = ("evaluate", images, "--artifact", model, "--engine", "torch", "--json", "--report", report)
    assert code_of(monkeypatch, *words) == 0
    figures = orjson.loads(capsys.readouterr().out)
    assert (figures["good"], figures["model"]["engine"]) == (2, "torch on cpu")
    assert report.read_text().startswith("<!doctype html>")
    assert orjson.loads(report.with_suffix(".json").read_bytes())["scores"] == figures["scores"]


def plant_file(folder: Path, product: str) -> Path:
    path = folder / "plant.yaml"
    path.write_text(PLANT.replace("PRODUCT", product))
    return path


PLANT = """\
site: plant-1
products: [{name: PRODUCT, artifact: model, defects: {reject_on: defects}}]
lines:
  - name: line-1
    timing: {distance_to_gate_m: 2.0, speed_m_s: 1.0}
    stations:
      - {name: top, product: PRODUCT, source: {kind: folder, path: pictures}, trigger: {kind: timer}}
"""


def test_a_plant_that_does_not_know_the_product_cannot_say_what_rejects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, model: Path, tmp_path: Path
) -> None:
    words = ("evaluate", images, "--artifact", model, "--plant")
    assert code_of(monkeypatch, *words, plant_file(tmp_path, "plates")) == 2
    said = capsys.readouterr().err
    assert f"{model} is a model of product plate" in said
    assert "the plant has no product 'plate'; did you mean 'plates'?; it has plates" in said
    assert said.count("\n") == 1
    assert code_of(monkeypatch, *words, tmp_path / "gone.yaml") == 2
    assert "there is no plant file" in capsys.readouterr().err
    assert code_of(monkeypatch, *words, plant_file(tmp_path, "plate"), "--station", "line-1/side") == 2
    assert "no station line-1/side inspects product plate" in capsys.readouterr().err
    assert code_of(monkeypatch, *words[:-1], "--station", "line-1/top") == 2


def test_rules_that_a_model_of_good_parts_has_no_use_for_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, model: Path, tmp_path: Path
) -> None:
    words = ("evaluate", images, "--artifact", model, "--engine", "torch", "--plant", plant_file(tmp_path, "plate"))
    assert code_of(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    assert "has neither U-Net nor classifier: it is judged by its threshold, whatever the rules" in said
    assert "timed" in said
    assert "PatchCore" in said


def test_a_report_that_cannot_be_written_stops_the_job_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    report = tmp_path / "file/report.html"
    assert code_of(monkeypatch, "evaluate", images, "--artifact", model, "--report", report) == 2
    said = capsys.readouterr()
    assert said.err.startswith("neverblink: the report ")
    assert said.err.count("\n") == 1
    assert "inspecting" not in said.out


def test_verify_tells_a_damaged_artifact_from_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    assert code_of(monkeypatch, "artifact", "verify", model) == 0
    assert "is whole: plate 1, sha256:" in capsys.readouterr().out
    assert code_of(monkeypatch, "artifact", "verify", tmp_path / "gone") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert code_of(monkeypatch, "artifact", "verify", model, "--digest", "sha256:" + 64 * "0") == 1
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in model.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes()[:-3])
    assert code_of(monkeypatch, "artifact", "verify", damaged) == 1
    assert "is not a manifest" in capsys.readouterr().err


def test_export_and_import_carry_a_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    assert code_of(monkeypatch, "artifact", "export", model, "--out", tmp_path / "model.zip") == 0
    digest = capsys.readouterr().out.split()[-1]
    words = ("artifact", "import", tmp_path / "model.zip", "--out", tmp_path / "there", "--digest", digest)
    assert code_of(monkeypatch, *words) == 0
    assert digest in capsys.readouterr().out
    assert code_of(monkeypatch, *words) == 2
    assert "already exists" in capsys.readouterr().err


def test_calibrate_prints_the_promise_before_and_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "looser"
    assert code_of(monkeypatch, "calibrate", model, "--false-reject", "0.45", "--out", out) == 0
    said = capsys.readouterr().out
    assert "at most 45 %" in said
    assert said.rstrip().endswith(str(out))
    assert code_of(monkeypatch, "calibrate", model, "--cost", "much", "--out", tmp_path / "other") == 2
    assert "costs are two numbers" in capsys.readouterr().err
    assert code_of(monkeypatch, "calibrate", model, "--out", tmp_path / "other") == 2
    assert "say what shall change" in capsys.readouterr().err


def test_compare_ends_with_1_when_a_configuration_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.yaml").write_text(
        "- {label: small, size: 64}\n- {label: '[odd]', size: 64, model: no_such_net}\n"
    )
    words = ("compare", images, "--config", tmp_path / "list.yaml", "--folder", tmp_path / "kept")
    assert code_of(monkeypatch, *words) == 1
    said = capsys.readouterr().out
    assert "[odd] failed: timm has no model named no_such_net" in said
    assert "small" in said


def test_compare_prints_an_example_and_asks_for_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(monkeypatch, "compare", "--example") == 0
    assert "- label: default" in capsys.readouterr().out
    assert code_of(monkeypatch, "compare") == 2


def test_backbones_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(monkeypatch, "backbones") == 0
    said = capsys.readouterr().out
    assert "tf_efficientnet_lite0" in said
    assert "wide_resnet50_2" in said
