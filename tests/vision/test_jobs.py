"""Every job once as another program runs it: settings from a file, lines of JSON that fit their schemas, the result."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import orjson
import pytest
import yaml
from plates import SIDE, plate, write_plates

from neverblink.cli import main
from neverblink.vision.artifact import load_artifact

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas" / "jobs"
TRAIN, TEST = 24, 8


@pytest.fixture(autouse=True)
def _sigterm_as_before() -> Iterator[None]:
    """A job takes SIGTERM for a person's Ctrl-C, here for the rest of the tests."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_plates(tmp_path_factory.mktemp("jobs") / "plates", train=TRAIN, test=TEST)
    confirmed = folder.parent / "confirmed"
    confirmed.mkdir()
    rows = []
    for number in range(40):
        image, _ = plate(5000 + number)
        image[40:52, 12:24] = 40
        cv2.imwrite(str(confirmed / f"{number:03}.png"), image)
        rows.append({"image": f"{number:03}.png", "captured": f"2026-03-{1 + number // 2:02}T08:00:00Z"})
    (confirmed / "index.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def model(images: Path) -> Path:
    """The model that `fit` makes; the other jobs go on from it."""
    with pytest.MonkeyPatch.context() as patch:
        settings = {"images": "plates", "product": "plate", "out": "model", "size": SIDE, "gallery": "gallery"}
        code, _, result = ran(patch, "fit", images.parent, settings)
    assert code == 0
    assert (result["images"], result["artifact"]) == (TRAIN, str(images.parent / "model"))
    return images.parent / "model"


def ran(
    monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, settings: dict[str, Any], *words: object
) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Run a job from a settings file; returns exit code, the lines before the last, and the result.

    The settings, each line and the result are checked against what is checked in.
    """
    validator(name).validate(settings)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    said = folder / f"{name}.jsonl"
    with said.open("w") as out, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(
            sys, "argv",
            ["neverblink", name, "--settings", str(folder / f"{name}.yaml"), "--progress", "json", *map(str, words)],
        )  # fmt: skip
        with pytest.raises(SystemExit) as end:
            main()
    *lines, last = map(orjson.loads, said.read_bytes().splitlines())
    for line in (*lines, last):
        validator("progress").validate(line)
        assert line["job"] == name
    assert last["kind"] == "result", last
    assert last["exit_code"] == (end.value.code or 0)
    validator(f"{name}.result").validate(last["result"])
    for stage in {line["stage"] for line in lines if line["kind"] == "progress"}:
        done = [line["done"] for line in lines if line["kind"] == "progress" and line["stage"] == stage]
        assert done == sorted(done), stage
    return last["exit_code"], lines, last["result"]


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(orjson.loads((SCHEMAS / f"{name}.v1.json").read_bytes()))


def stages(lines: list[dict[str, Any]]) -> set[str]:
    return {line["stage"] for line in lines if line["kind"] == "progress"}


def test_fit_tells_its_stages_and_comes_to_a_model(model: Path) -> None:
    artifact = load_artifact(model)
    lines = [orjson.loads(line) for line in (model.parent / "fit.jsonl").read_bytes().splitlines()]
    assert stages(lines) >= {"extracting features", "choosing the memory bank", "calibrating"}
    result = lines[-1]["result"]
    assert result["digest"] == artifact.digest
    assert result["threshold"] == pytest.approx(artifact.threshold)
    assert result["promise"].startswith("at most")


def test_fit_shows_the_defects_that_stand_out_least_in_its_gallery(model: Path) -> None:
    result = orjson.loads((model.parent / "fit.jsonl").read_bytes().splitlines()[-1])["result"]
    assert 0 < len(result["least"]) <= 6
    for one in result["least"]:
        assert one["kind"] == "scratch"
        assert cv2.imread(str(model.parent / "gallery" / one["picture"])).shape == (SIDE, SIDE, 3)
        assert cv2.imread(str(model.parent / "gallery" / one["heat"])).shape == (SIDE, SIDE, 3)
    shares = [one["of_threshold"] for one in result["least"]]
    assert shares == sorted(shares)


def test_look_over_tells_how_many_pictures_count(monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    code, lines, result = ran(monkeypatch, "look-over", images.parent, {"images": "plates"})
    assert (code, stages(lines)) == (0, {"checking the pictures"})
    assert (len(result["pictures"]), result["witnesses"], result["defects"]) == (TRAIN, TRAIN, {"scratch": TEST})


def test_evaluate_tells_its_figures(monkeypatch: pytest.MonkeyPatch, images: Path, model: Path) -> None:
    settings = {"images": "plates", "artifact": "model", "engine": "torch", "report": "report.html"}
    code, lines, result = ran(monkeypatch, "evaluate", images.parent, settings)
    assert code == 0
    assert lines[-1] == {
        "kind": "progress", "job": "evaluate", "stage": "inspecting", "done": 2 * TEST, "total": 2 * TEST,
    }  # fmt: skip
    assert (result["good"], result["defective"]) == (TEST, TEST)
    assert result["digest"] == load_artifact(model).digest
    assert len(result["figures"]["scores"]) == 2 * TEST
    assert Path(result["report"]).is_file()


def test_inspect_tells_a_lot_that_is_not_accepted_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, images: Path, model: Path
) -> None:
    settings = {"images": "plates/test/scratch", "artifact": "model", "engine": "torch", "aql": 1.5, "out": "lot"}
    code, lines, result = ran(monkeypatch, "inspect", images.parent, settings)
    assert (code, result["accepted"], result["done_before"]) == (1, False, False)
    assert "inspecting" in stages(lines)
    assert Path(result["rows"]).is_file()
    assert result["rejected"] > 0
    code, lines, result = ran(monkeypatch, "inspect", images.parent, settings)
    assert (code, result["done_before"]) == (1, True)


def test_retrain_makes_a_challenger(monkeypatch: pytest.MonkeyPatch, images: Path, model: Path) -> None:
    settings = {
        "normals": "confirmed", "champion": "model", "out": "challenger", "least": 20, "least_held_out": 3,
        "to": "2026-03-21T00:00:00Z",
    }  # fmt: skip
    code, lines, result = ran(monkeypatch, "retrain", images.parent, settings)
    assert code == 0
    assert result["promotable"]
    assert result["champion_digest"] == load_artifact(model).digest
    assert result["digest"] == load_artifact(images.parent / "challenger").digest
    assert {"extracting features", "calibrating"} <= stages(lines)
    assert Path(result["report"]).is_file()


def test_a_u_net_and_a_classifier_are_taught(monkeypatch: pytest.MonkeyPatch, images: Path, model: Path) -> None:
    settings = {
        "images": ["plates"], "artifact": "model", "out": "unet", "encoder": "plain", "width": 4, "depth": 2,
        "epochs": 2, "learning_rate": 0.01, "leave": 0,
    }  # fmt: skip
    code, lines, result = ran(monkeypatch, "train-unet", images.parent, settings, "--epochs", 3)
    assert (code, result["epochs"]) == (0, 3)
    told = [line for line in lines if line["kind"] == "figures"]
    assert [line["stage"] for line in told] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all(np.isfinite(line["figures"]["loss"]) for line in told)
    assert [found["name"] for found in result["classes"]] == ["scratch"]
    settings = {"images": ["plates"], "artifact": "model", "out": "named", "leave": 0, "drawn_only": True}
    code, lines, result = ran(monkeypatch, "train-classifier", images.parent, settings)
    assert (code, result["version"]) == (0, "1-classifier")
    assert [(found["name"], found["images"]) for found in result["types"]] == [("scratch", TEST)]


def test_synthesize_draws_a_data_set(monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    settings = {"images": "plates", "out": "drawn", "kinds": ["scratch"], "per_kind": 2}
    code, _, result = ran(monkeypatch, "synthesize", images.parent, settings)
    assert (code, result["defective"]) == (0, 2)
    assert Path(result["sheet"]).is_file()


def test_what_goes_wrong_is_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, images: Path
) -> None:
    monkeypatch.setattr(
        sys, "argv",
        ["neverblink", "fit", str(images), "--product", "plate", "--model", "no_such_net", "--out", str(tmp_path / "x"),
         "--progress", "json"],
    )  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    last = orjson.loads(said.out.splitlines()[-1])
    assert (end.value.code, last["kind"], last["exit_code"]) == (2, "error", 2)
    assert last["error"] == "timm has no model named no_such_net; see timm.list_models()"
    assert said.err == f"neverblink: {last['error']}\n"


def test_a_fault_of_ours_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, images: Path
) -> None:
    def stumbles(*_: object, **__: object) -> object:
        raise ZeroDivisionError("division by zero")

    words = ["neverblink", "fit", str(images), "--product", "plate", "--out", str(tmp_path / "x"), "--progress=json"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr("neverblink.trainer.fitting.jobs.fit", stumbles)
    with pytest.raises(ZeroDivisionError):
        main()
    last = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["kind"], last["exit_code"]) == ("error", 1)
    assert "ZeroDivisionError: division by zero" in last["error"]


@pytest.mark.plant
def test_a_job_that_its_program_stops_says_so(tmp_path: Path, images: Path) -> None:
    words = ["fit", str(images), "--product", "plate", "--out", str(tmp_path / "x"), "--progress=json"]
    job = subprocess.Popen([sys.executable, "-m", "neverblink", *words], stdout=subprocess.PIPE)
    try:
        assert job.stdout is not None
        assert orjson.loads(job.stdout.readline())["kind"] == "progress"
        job.send_signal(signal.SIGTERM)
        said, _ = job.communicate(timeout=60)
    finally:
        job.kill()
        job.wait()
    last = orjson.loads(said.splitlines()[-1])
    assert (job.returncode, last["exit_code"], last["error"]) == (130, 130, "stopped")
    assert not (tmp_path / "x").exists()
