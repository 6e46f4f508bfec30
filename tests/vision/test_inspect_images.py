"""Offline inspection says what the scorer says, of every image, and can be killed at any time."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from plates import SIDE, plate

from neverblink.cli import main
from neverblink.decisions.judgement import Judgement, judged
from neverblink.decisions.rules import DEFAULT_RULES, rules_of
from neverblink.events import ArtifactRef, Decision, ModelSlots, Slot
from neverblink.plant import Plant
from neverblink.scorer.models import Models
from neverblink.trainer.datasets.inputs import FolderInputs, InspectionError, Origin
from neverblink.trainer.offline_inspection import inspection as inspect_images
from neverblink.trainer.offline_inspection import judge
from neverblink.trainer.offline_inspection.inspection import OfflineInspection
from neverblink.trainer.offline_inspection.known_decisions import Change, Known, change_from, known_from_file
from neverblink.trainer.offline_inspection.lot_sampling import LotError, plan_for
from neverblink.trainer.offline_inspection.report import render, write_inspection_report
from neverblink.trainer.offline_inspection.results import Results
from neverblink.trainer.offline_inspection.rows import Opinion, PartFiles, Row, Unscored
from neverblink.trainer.offline_inspection.terms import InspectSettings, LotSettings, SecondPass
from neverblink.vision.artifact import load_artifact, recalibrated
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import extractor_of
from rigs.scored_line import fit_striped, png, striped, teach_blots


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good plates, eight scratched ones, and six files that are no usable images."""
    folder = tmp_path_factory.mktemp("parts")
    for number in range(20):
        place = folder / ("shift-2" if number % 2 else "shift-1/camera")
        place.mkdir(parents=True, exist_ok=True)
        image, _ = plate(3000 + number, scratched=number >= 12)
        cv2.imwrite(str(place / f"{number:03}.png"), image)
    whole = (folder / "shift-2/001.png").read_bytes()
    (folder / "cut off.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.PNG").write_bytes(b"no image at all")
    (folder / "scan.tiff").write_bytes(b"II+\x00 of whatever kind")
    (folder / "<b>bomb&.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", b"\x00\x00\xea\x60\x00\x00\xea\x60\x08\x02\x00\x00\x00")
        + chunk(b"IEND", b"")
    )
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "notes.txt").write_text("not a picture, not an input")
    return folder


def chunk(kind: bytes, body: bytes) -> bytes:
    import zlib

    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


@pytest.fixture(scope="module", autouse=True)
def _one_backbone(model: Path) -> Iterator[None]:
    """Open the model's backbone once for all inspections here: it takes longer than they do."""
    opened = extractor_of(load_artifact(model), engine="torch")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inspect_images, "extractor_of", lambda *_, **__: opened)
        yield


@pytest.fixture
def inspection(parts: Path, model: Path, tmp_path: Path) -> Callable[..., OfflineInspection]:
    """Make inspections of the parts with the model, each in a folder of its own."""
    made: list[Path] = []

    def make(
        *,
        known: dict[str, Known] | None = None,
        folder: Path | None = None,
        station: str | None = None,
        **more: object,
    ) -> OfflineInspection:
        made.append(folder or tmp_path / f"run-{len(made)}")
        settings = InspectSettings(model, engine="torch", **more)  # type: ignore[arg-type]
        return OfflineInspection(FolderInputs(parts, station=station), settings, folder=made[-1], known=known)

    return make


def rows(path: Path) -> list[dict[str, object]]:
    """Return a result's rows without what differs from run to run."""
    found: list[dict[str, object]] = pq.read_table(path).to_pylist()
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def nearly(value: object) -> object:
    """Return a value in which floats are equal to what differs in the last digit of single precision.

    Where in memory an image lies decides which of the processor's instructions smooth its map.
    """
    if isinstance(value, dict):
        return {name: nearly(one) for name, one in value.items()}
    if isinstance(value, list):
        return [nearly(one) for one in value]
    return pytest.approx(value, rel=1e-5) if isinstance(value, float) else value


def by_name(path: Path) -> dict[object, dict[str, object]]:
    return {row["name"]: row for row in rows(path)}


# What the rows say


def test_every_image_is_a_row_and_one_that_cannot_be_used_says_why(
    inspection: Callable[..., OfflineInspection],
) -> None:
    run = inspection()
    results = run.run()
    found = by_name(run.result)
    assert list(found) == sorted(map(str, found))
    assert results.images == len(found) == 26
    assert {name: row["reason"] for name, row in found.items() if row["decision"] == "unscored"} == {
        "cut off.png": "corrupt-image",
        "empty.jpg": "no-image",
        "text.PNG": "wrong-type",
        "scan.tiff": "wrong-type",
        "<b>bomb&.png": "image-too-large",
        "gone.png": "no-image",
    }
    for name, row in found.items():
        if row["decision"] == "unscored":
            assert row["score"] is None
            assert row["detail"]
        else:
            scratched = int(Path(str(name)).stem) >= 12
            assert row["decision"] == ("reject" if scratched else "pass")
            assert bool(row["defects"]) is scratched
            assert (row["width"], row["height"]) == (SIDE, SIDE)
            assert row["quality"]["brightness"] > 0.3  # type: ignore[index]


PLACE = ("line-1", "top")


def plant_of(artifact: Path, tmp_path: Path, **product: object) -> Plant:
    """Return a plant with one station, whose pixels are 0.25 mm wide, and this artifact for its product."""
    station = {
        "name": PLACE[1],
        "product": load_artifact(artifact).product,
        "mm_per_px": 0.25,
        "source": {"kind": "simulated", "drawing": "pcb"},
        "trigger": {"kind": "timer"},
    }
    return Plant.model_validate(
        {
            "site": "test",
            "storage": {"artifacts": artifact.parent, "model_cache": tmp_path / "cache"},
            "scorer": {"engine": "torch", "threads": 1},
            "products": [{"name": station["product"], "artifact": artifact.name, **product}],
            "lines": [
                {
                    "name": PLACE[0],
                    "timing": {"distance_to_gate_m": 2, "speed_m_s": 1},
                    "stations": [station],
                }
            ],
        }
    )


def scored_at(plant: Plant, edited: float | None, folder: Path, names: Iterable[str]) -> dict[str, Judgement]:
    """Return what a scorer of the plant decides about images, with the threshold that a person has edited."""
    product = plant.products[0]
    artifact = load_artifact(plant.artifact_folder(product))
    reference = ArtifactRef(name=artifact.name, version=artifact.version, digest=artifact.digest)
    slots = ModelSlots(
        id="1",
        line=PLACE[0],
        station=PLACE[1],
        product=product.name,
        active=Slot(artifact=reference, location=str(product.artifact), threshold=edited),
        by="a test",
        at=datetime(2026, 5, 4, tzinfo=UTC),
    )
    models = Models.load(plant, [slots])
    model = models.active(*PLACE, product.name)
    assert model is not None
    found = {}
    for name in names:
        (seen,) = models.score([(model, model.inspector.prepare_defects(read_image(folder / name)))])
        scale = plant.scales()[PLACE]
        found[name] = judged(seen, model.calibration, model.rules, mm_per_px=scale, edited=model.edited)
    return found


def assert_alike(row: dict[str, object], scored: Judgement) -> None:
    """A row says what the scorer says, up to the last digit of its floats."""
    flat = [{**defect.pop("bbox"), **defect} for defect in (one.model_dump() for one in scored.defects)]
    assert {name: row[name] for name in ("decision", "reason", "unsure", "threshold", "score", "defects")} == nearly(
        {
            "decision": scored.decision.value,
            "reason": scored.reason,
            "unsure": scored.unsure,
            "threshold": scored.threshold,
            "score": scored.score,
            "defects": [defect | {"seen_by": list(defect["seen_by"])} for defect in flat],
        }
    )


@pytest.mark.parametrize("share", [None, 0.6, 1.8])
def test_scores_decisions_and_defects_are_those_of_the_scorer(
    inspection: Callable[..., OfflineInspection], parts: Path, model: Path, tmp_path: Path, share: float | None
) -> None:
    plant = plant_of(model, tmp_path, min_area_px=5)
    edited = None if share is None else share * load_artifact(model).threshold
    run = inspection(
        rules=rules_of(plant, "plate", "/".join(PLACE)),
        thresholds={} if edited is None else {PLACE: edited},
        station="/".join(PLACE),
        batch=7,
    )
    run.run()
    rows_found = {name: row for name, row in by_name(run.result).items() if row["decision"] != "unscored"}
    assert len(rows_found) == 20
    for name, scored in scored_at(plant, edited, parts, map(str, rows_found)).items():
        row = rows_found[name]
        assert_alike(row, scored)
        assert row["artifact_digest"] == run.artifact.digest
        assert all(one["area_mm2"] == one["area_px"] / 16 for one in row["defects"])  # type: ignore[attr-defined]
    if edited is not None:
        assert {row["threshold"] for row in rows_found.values()} == {edited}


def test_an_image_that_a_model_stumbles_over_costs_no_other(
    inspection: Callable[..., OfflineInspection], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = judge.inspect_defects
    bad = plate(3004)[0]

    def stumbling(work: list[tuple[object, np.ndarray]]) -> object:
        if any(np.array_equal(image[..., 0], bad) for _, image in work):
            raise RuntimeError("out of memory")
        return real(work)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "inspect_defects", stumbling)
    run = inspection()
    results = run.run()
    row = by_name(run.result)["shift-1/camera/004.png"]
    assert (row["decision"], row["reason"]) == ("unscored", "scorer-error")
    assert "out of memory" in str(row["detail"])
    assert results.unscored == 7


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose U-Net knows blots, and whose threshold lets every anomaly pass."""
    artifacts = fit_striped(tmp_path_factory.mktemp("striped"))
    teach_blots(artifacts)
    return artifacts / "strict"


@pytest.mark.plant
@pytest.mark.slow
def test_a_known_defect_is_named_measured_and_outlined(
    strict: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_images, "extractor_of", extractor_of)
    (tmp_path / "pictures").mkdir()
    for number in range(1, 11):
        (tmp_path / f"pictures/{number:02}.png").write_bytes(png(striped(number, defect=number % 5 == 0)))
    settings = InspectSettings(strict, rules=replace(DEFAULT_RULES, mm_per_px=0.5))
    run = OfflineInspection(FolderInputs(tmp_path / "pictures"), settings, folder=tmp_path / "run")
    results = run.run()
    found = by_name(run.result)
    assert {name: row["reason"] for name, row in found.items() if row["decision"] == "reject"} == {
        "05.png": "defect",
        "10.png": "defect",
    }
    (blot,) = found["05.png"]["defects"]  # type: ignore[misc]
    assert (blot["type"], blot["source"]) == ("blot", "unet")
    assert blot["area_mm2"] == pytest.approx(64, rel=0.3)
    assert results.defects == [("blot", 2)]
    looked = {one.origin.name: one for one in run.look_again([(Origin("05.png", "05.png"), run.artifact.digest)])}
    assert looked["05.png"].inspection.probabilities is not None
    assert "blot" in render(run, results)


@pytest.mark.slow
@pytest.mark.parametrize("edited", [None, 3.0])
def test_with_a_u_net_too_the_scorer_decides_alike(
    strict: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: float | None
) -> None:
    monkeypatch.setattr(inspect_images, "extractor_of", extractor_of)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(1, 11):
        (folder / f"{number:02}.png").write_bytes(png(striped(number, defect=number % 5 == 0)))
    plant = plant_of(strict, tmp_path, defects={"types": {"blot": {"min_area_mm2": 100.0}}})
    place = "/".join(PLACE)
    settings = InspectSettings(
        strict, rules=rules_of(plant, "striped", place), thresholds={} if edited is None else {PLACE: edited}
    )
    run = OfflineInspection(FolderInputs(folder, station=place), settings, folder=tmp_path / "run")
    run.run()
    found = by_name(run.result)
    for name, scored in scored_at(plant, edited, folder, map(str, found)).items():
        assert_alike(found[name], scored)
    blots = [row for row in found.values() if row["defects"]]
    assert {row["name"] for row in blots} >= {"05.png", "10.png"}
    # A blot of some 16 mm² is tolerated; by the edited threshold the anomaly rejects.
    assert {row["decision"] for row in blots} == ({"pass"} if edited is None else {"reject"})


# The second pass


def test_the_second_artifact_judges_what_is_in_doubt_and_has_the_last_word(
    inspection: Callable[..., OfflineInspection], model: Path, tmp_path: Path
) -> None:
    calibration = load_artifact(model).manifest.calibration
    lenient = calibration.model_copy(update={"threshold": 1000.0, "method": "given", "unsure_from": None})
    second = recalibrated(model, lenient, out=tmp_path / "second")
    first = inspection()
    first.run()
    plain = by_name(first.result)
    ratio = float(np.median([row["ratio"] for row in plain.values() if row["decision"] == "pass"]))  # type: ignore[arg-type]
    run = inspection(second=SecondPass(tmp_path / "second", ratio))
    results = run.run()
    assert results.second_judged == 8 + 6
    assert results.second_overruled == 8
    assert results.rejected == 0
    for name, row in by_name(run.result).items():
        alone = plain[name]
        if row["decided_by"] == "second":
            assert row["artifact_digest"] == second.digest
            before = row["first"]
            assert isinstance(before, dict)
            assert {column: alone[column] for column in before} == nearly(before)
            assert alone["decision"] == "reject" or float(str(alone["ratio"])) >= ratio
        else:
            assert row == nearly(alone)


# Killed, and asked again


def neverblink(*words: object) -> list[str]:
    return [sys.executable, "-m", "neverblink", *map(str, words)]


@pytest.mark.plant
def test_an_inspection_that_was_killed_goes_on_and_comes_to_the_same_result(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(600):
        cv2.imwrite(str(folder / f"{number:03}.png"), plate(5000 + number, scratched=number % 7 == 0)[0])
    (folder / "100.png").write_bytes(b"")

    def command(out: str) -> list[str]:
        return neverblink(
            "inspect", folder, "--artifact", model, "--out", tmp_path / out, "--batch", 8, "--save-every", 0,
            "--engine", "torch",
        )  # fmt: skip

    settings = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
    subprocess.run(command("whole"), check=True, timeout=120, **settings)  # type: ignore[call-overload]
    killed = subprocess.Popen(command("killed"), **settings)  # type: ignore[call-overload]
    done = tmp_path / "killed/parts"
    while len(list(done.glob("*.parquet")) if done.is_dir() else []) < 5:
        assert killed.poll() is None, "it was done before it could be killed"
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = sum(pq.read_metadata(file).num_rows for file in done.glob("*.parquet"))
    assert 40 <= left < 600
    assert not (tmp_path / "killed/inspection.parquet").exists()
    subprocess.run(command("killed"), check=True, timeout=120, **settings)  # type: ignore[call-overload]
    assert rows(tmp_path / "killed/inspection.parquet") == nearly(rows(tmp_path / "whole/inspection.parquet"))
    assert not done.exists()
    assert (tmp_path / "killed/report.html").is_file()


def test_a_finished_inspection_is_not_made_again(
    inspection: Callable[..., OfflineInspection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = inspection(folder=tmp_path / "once")
    before = run.run().as_dict()
    monkeypatch.setattr(judge, "inspect_defects", lambda _: pytest.fail("inspected again"))
    assert inspection(folder=tmp_path / "once", batch=3).run().as_dict() == before


def test_another_threshold_makes_another_inspection(
    inspection: Callable[..., OfflineInspection], tmp_path: Path
) -> None:
    run = inspection(folder=tmp_path / "one")
    run.run()
    with pytest.raises(InspectionError, match="another inspection, with other thresholds"):
        inspection(folder=tmp_path / "one", thresholds={PLACE: 9.0}).run()
    edited = inspection(folder=tmp_path / "two", thresholds={PLACE: 9.0})
    edited.run()
    with pytest.raises(InspectionError, match="another inspection, with other thresholds"):
        inspection(folder=tmp_path / "two").run()


def test_a_folder_of_another_inspection_is_refused_with_what_differs(
    inspection: Callable[..., OfflineInspection], tmp_path: Path
) -> None:
    inspection(folder=tmp_path / "mine").run()
    with pytest.raises(InspectionError, match="with other sampling: name another --out"):
        inspection(folder=tmp_path / "mine", lot=LotSettings(1.0)).run()


def test_an_image_that_was_exchanged_makes_another_inspection(parts: Path, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), plate(number)[0])
    settings = InspectSettings(model, engine="torch")
    OfflineInspection(FolderInputs(folder), settings, folder=tmp_path / "run").run()
    cv2.imwrite(str(folder / "1.png"), plate(9, scratched=True)[0])
    with pytest.raises(InspectionError, match="with other inputs"):
        OfflineInspection(FolderInputs(folder), settings, folder=tmp_path / "run").run()


def test_two_processes_do_not_write_into_one_inspection(
    inspection: Callable[..., OfflineInspection], tmp_path: Path
) -> None:
    run = inspection(folder=tmp_path / "one")
    with run._alone(), pytest.raises(InspectionError, match="another process is at work"):
        inspection(folder=tmp_path / "one").run()


def test_rows_that_a_kill_left_half_written_are_not_there(tmp_path: Path) -> None:
    parts = PartFiles(tmp_path / "parts")
    parts.add([Row(Origin(name, name), Unscored("no-image", "empty")) for name in ("a", "b")])
    parts.flush()
    (tmp_path / "parts/part-00000001.partial").write_bytes(b"PAR1 and then the power went")
    again = PartFiles(tmp_path / "parts")
    assert list(again.names()) == ["a", "b"]
    last = again.last()
    assert last is not None
    assert last.name == "b"
    again.add([Row(Origin("c", "c"), Unscored("no-image", "empty"))])
    again.join(tmp_path / "all.parquet", b"{}")
    assert [row["name"] for row in rows(tmp_path / "all.parquet")] == ["a", "b", "c"]


# Lots


def test_a_sample_is_drawn_by_its_seed_and_decides_the_lot(inspection: Callable[..., OfflineInspection]) -> None:
    run = inspection(lot=LotSettings(6.5, size=60, seed=3))
    results = run.run()
    plan = plan_for(60, 6.5)
    assert (plan.letter, plan.sample, plan.accept) == ("E", 13, 2)
    assert results.images == 13
    lot = results.lot
    assert lot is not None
    assert (lot.rejected, lot.unscored) == (results.rejected, results.unscored)
    assert lot.accepted is (results.rejected + results.unscored <= 2)
    same, other = inspection(lot=LotSettings(6.5, size=60, seed=3)), inspection(lot=LotSettings(6.5, size=60, seed=4))
    same.run()
    other.run()
    assert by_name(same.result) == nearly(by_name(run.result))
    assert by_name(other.result).keys() != by_name(run.result).keys()


def test_a_part_is_as_bad_as_its_worst_image_and_one_that_is_gone_counts_as_bad(tmp_path: Path) -> None:
    reference = ArtifactRef(name="m", version="1", digest=f"sha256:{0:064}")
    good = Opinion(reference, Judgement(0.5, 1.0, reject=False, reason=None, unsure=True))
    bad = Opinion(reference, Judgement(2.0, 1.0, reject=True, reason="anomaly", unsure=False))
    blind = Unscored("object-missing", "no image")
    parts = PartFiles(tmp_path / "parts")
    images = [("1", good), ("1", bad), ("2", blind), ("2", good), ("3", good), ("4", blind), ("4", bad), ("5", good)]
    parts.add([Row(Origin(f"{index}", part), verdict) for index, (part, verdict) in enumerate(images)])
    parts.join(tmp_path / "all.parquet", b"{}")
    lot = Results(tmp_path / "all.parquet", plan_for(6, 1.0), ["1", "2", "3", "4", "5", "6"]).lot
    assert lot is not None
    assert (lot.rejected, lot.unscored, lot.nonconforming) == (2, 2, 4)


def test_a_lot_smaller_than_its_parts_and_an_aql_that_is_none_are_refused(
    inspection: Callable[..., OfflineInspection],
) -> None:
    with pytest.raises(InspectionError, match="a lot of 20 cannot have the 26 parts"):
        inspection(lot=LotSettings(1.0, size=20)).run()
    with pytest.raises(LotError, match="3 is no AQL"):
        inspection(lot=LotSettings(3.0))
    with pytest.raises(LotError, match="needs 80 parts, and there are images of 26"):
        inspection(lot=LotSettings(1.0, size=1000)).run()


# Against what was known


@pytest.mark.parametrize(
    ("known", "now", "change"),
    [
        ("pass", "pass", Change.AGREE),
        ("unscored", "unscored", Change.AGREE),
        ("pass", "reject", Change.NEWLY_REJECTED),
        ("reject", "pass", Change.NEWLY_PASSED),
        ("unscored", "pass", Change.NEWLY_SCORED),
        ("reject", "unscored", Change.NEWLY_UNSCORED),
    ],
)
def test_changes_have_names(known: str, now: str, change: Change) -> None:
    assert change_from(Decision(known), Decision(now)) is change


def test_decisions_are_compared_with_an_earlier_inspection(
    inspection: Callable[..., OfflineInspection], tmp_path: Path
) -> None:
    first = inspection()
    first.run()
    known = known_from_file(first.result)
    # As if the model before had taken one good part for bad, let one scratch pass, and one image had come later.
    known["shift-2/001.png"] = replace(known["shift-2/001.png"], decision=Decision.REJECT)
    known["shift-1/camera/012.png"] = replace(known["shift-1/camera/012.png"], decision=Decision.PASS)
    del known["shift-2/003.png"]
    run = inspection(known=known, against="the model before")
    results = run.run()
    assert {change: count for change, count in results.changes.items() if count} == {
        Change.AGREE: 23,
        Change.NEWLY_REJECTED: 1,
        Change.NEWLY_PASSED: 1,
    }
    assert results.without_known == 1
    page = render(run, results)
    for title, name in (("Newly rejected", "shift-1/camera/012.png"), ("Newly passed", "shift-2/001.png")):
        gallery = page.partition(f"<h2>{title}</h2>")[2].partition("<h2>")[0]
        assert gallery.count("<figure>") == 1
        assert name in gallery
        assert gallery.count("data:image/jpeg;base64,") == 2


@pytest.mark.parametrize("body", [b"no parquet", None])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, body: bytes | None) -> None:
    path = tmp_path / "other.parquet"
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(InspectionError, match=r"cannot be read as an inspection's Parquet file"):
        known_from_file(path)


# The page


def test_the_report_needs_nothing_outside_itself_and_escapes_names(
    inspection: Callable[..., OfflineInspection],
) -> None:
    run = inspection(lot=LotSettings(1.0))
    results = run.run()
    page = write_inspection_report(run, results).read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "url(" not in page
    assert "<b>bomb" not in page
    assert "&lt;b&gt;bomb&amp;.png" in page
    assert "The lot is not accepted" in page
    assert "87.8 %" in page  # 0.99 ** 13: the chance at the AQL of a plan with 13 parts and Ac 0


def test_without_any_score_there_is_still_a_report(model: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"")
    settings = InspectSettings(model, engine="torch")
    run = OfflineInspection(FolderInputs(tmp_path / "pictures"), settings, folder=tmp_path / "run")
    assert "1 of 1 images have no score" in render(run, run.run())


# The command


def code_of(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line as a shell would, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_pipes_json_and_its_exit_code_is_the_lots(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: Path, model: Path, tmp_path: Path
) -> None:
    words = ("inspect", parts, "--artifact", model, "--engine", "torch")
    assert code_of(monkeypatch, *words, "--out", tmp_path / "all", "--json") == 0
    told = orjson.loads(capsys.readouterr().out)
    assert (told["images"], told["passed"], told["rejected"], told["unscored"]) == (26, 12, 8, 6)
    assert Path(told["report"]).is_file()
    again = (*words, "--out", tmp_path / "lot", "--aql", "1.0", "--against", told["result"])
    assert code_of(monkeypatch, *again) == 1
    said = capsys.readouterr().out
    assert "the lot is not accepted" in said
    assert "13 agree, 0 not known before" in said
    assert code_of(monkeypatch, *again) == 1
    assert "nothing was inspected again" in capsys.readouterr().out


def test_without_out_the_same_command_finds_its_own_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: Path, model: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("inspect", parts, "--artifact", model, "--engine", "torch")
    assert code_of(monkeypatch, *words) == 0
    assert code_of(monkeypatch, *words) == 0
    assert "done before" in capsys.readouterr().out
    assert len(list((tmp_path / "runs/inspect").iterdir())) == 1


def test_no_score_at_all_is_a_bad_result(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"")
    assert code_of(monkeypatch, "inspect", tmp_path / "pictures", "--artifact", model, "--out", tmp_path / "run") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["PARTS"], "name the model with --artifact"),
        (["--artifact", "MODEL"], "name a folder of images, or --kafka"),
        (["PARTS", "--artifact", "MODEL", "--kafka"], "and not both"),
        (["--artifact", "MODEL", "--kafka"], "--kafka needs the --plant file and --from"),
        (["PARTS", "--artifact", "MODEL", "--to", "2026-11-01"], "they go with --kafka"),
        (["PARTS", "--artifact", "MODEL", "--lot-size", "9"], "name its --aql too"),
        (["PARTS", "--artifact", "MODEL", "--against", "verdicts"], "verdicts are those of frames"),
        (["nowhere", "--artifact", "MODEL"], "there is no folder nowhere"),
        (["--artifact", "MODEL", "--kafka", "-p", "plant.yaml", "--from", "yesterday"], "'yesterday' is no instant"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parts: Path,
    model: Path,
    words: list[str],
    says: str,
) -> None:
    places = {"PARTS": str(parts), "MODEL": str(model)}
    assert code_of(monkeypatch, "inspect", *(places.get(word, word) for word in words)) == 2
    said = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert says in said
