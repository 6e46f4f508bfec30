"""A backup made while the ledger writes is of one instant, and restored answers the same; damage is told before use."""

import threading
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from kept_parts import NOON, all_events, events_of, made_parts
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.ledger.backup import BackupError, back_up, manifest_in
from neverblink.ledger.restore import restore
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, Plant, load_plant
from neverblink.records.columns import Table
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow, PartRow
from neverblink.records.questions.figures import Figures, figures
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import Part, parts
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.reading import ReadOnlyRecords
from neverblink.records.tables import VerdictRow

PICTURES = (b"one picture", b"another picture")


def plant_in(folder: Path, ledger: str | None = None) -> Plant:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plant.yaml").write_text(EXAMPLE)
    plant = load_plant(folder / "plant.yaml")
    if ledger is None:
        return plant
    return plant.model_copy(update={"storage": plant.storage.model_copy(update={"ledger": ledger})})


def fill(plant: Plant, count: int = 40) -> Database:
    database = Database(plant.storage.ledger, create=True)
    keep(database, all_events(made_parts(count)), NOON)
    store = EvidenceStore(str(plant.records.evidence.store))
    with Session(database.session().get_bind()) as session, session.begin():
        for number, picture in enumerate(PICTURES):
            session.execute(insert(EvidenceFileRow), [_file(number, store.put(picture), len(picture))])
    model = plant.storage.artifacts / "pcb-3"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text("{}")
    (model / "bank.safetensors").write_bytes(b"bank" * 1000)
    return database


def _file(number: int, digest: str, size: int) -> dict[str, object]:
    columns = EvidenceFileRow.__table__.columns
    row: dict[str, object] = {
        column.name: None if column.nullable else NOON if "captured" in column.name or column.name == "kept" else "x"
        for column in columns
        if column.server_default is None
    }
    return {**row, "id": f"e{number}", "digest": digest, "bytes": size, "deleted": None}


def answers(plant: Plant) -> tuple[tuple[Part, ...], Figures]:
    records = ReadOnlyRecords(plant.storage.ledger, answer_s=10.0)
    with records.asking() as session:
        found = parts(session, PartFilter(), limit=1000).parts, figures(session, RollupFilter())
    records.close()
    return found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def plants(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Plant, Plant]:
    """The plant that is backed up, and another one to restore to; PostgreSQL is one database, emptied in between."""
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    return plant_in(tmp_path / "a", url), plant_in(tmp_path / "b", url)


def test_what_was_restored_answers_the_same(plants: tuple[Plant, Plant], tmp_path: Path) -> None:
    plant, other = plants
    database = fill(plant)
    before = answers(plant)
    _, held = back_up(plant, tmp_path / "backup", NOON)
    assert {file.of for file in held.files} >= {"evidence", "artifact"}
    if plant.storage.ledger == other.storage.ledger:
        with pytest.raises(BackupError, match="--force"):
            restore(other, tmp_path / "backup")
        Table.metadata.drop_all(database.session().get_bind())
        database.session().get_bind().dispose()  # type: ignore[union-attr]
    database.close()
    restore(other, tmp_path / "backup")
    assert answers(other) == before
    store = EvidenceStore(str(other.records.evidence.store))
    assert [store.get(sha256(picture).hexdigest()) for picture in PICTURES] == list(PICTURES)
    assert (other.storage.artifacts / "pcb-3" / "bank.safetensors").read_bytes() == b"bank" * 1000
    again = Database(other.storage.ledger, create=True)
    keep(again, [event for part in made_parts(43)[40:] for event in events_of(part)], NOON)
    assert len(answers(other)[0]) == 43
    if plant.storage.ledger == other.storage.ledger:
        Table.metadata.drop_all(again.session().get_bind())
    again.close()


def test_a_backup_made_while_the_ledger_writes_is_of_one_instant(tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "a")
    database = fill(plant, 10)
    more = made_parts(400)[10:]
    enough = threading.Event()

    def write() -> None:
        for part in more:
            if enough.is_set():
                return
            keep(database, list(events_of(part)), NOON)

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(4):
        back_up(plant, tmp_path / "backup", NOON + timedelta(seconds=number))
    enough.set()
    writer.join(60)
    database.close()
    for number in range(4):
        other = plant_in(tmp_path / f"b{number}")
        restore(other, tmp_path / "backup", f"2026-03-02T12000{number}Z")
        found, counted = answers(other)
        assert counted.parts == len(found) >= 10
        records = ReadOnlyRecords(other.storage.ledger, answer_s=10.0)
        with records.asking() as session:
            part_ids = session.scalar(select(func.count(func.distinct(VerdictRow.part_id))))
            assert part_ids == len(found)
            assert session.scalar(select(func.max(PartRow.revision))) is not None
        records.close()


def test_the_next_backup_copies_only_what_is_new(tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "a")
    fill(plant).close()
    back_up(plant, tmp_path / "backup", NOON)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "backup/files").rglob("*") if path.is_file()}
    back_up(plant, tmp_path / "backup", NOON + timedelta(hours=1))
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "backup/files").rglob("*") if path.is_file()}
    assert {path: after[path] for path in files} == files
    assert len(after) - len(files) <= 1  # the database's copy, should its bytes differ
    with pytest.raises(BackupError, match="never overwritten"):
        back_up(plant, tmp_path / "backup", NOON)


def test_nothing_is_put_back_from_a_damaged_backup(tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "a")
    fill(plant).close()
    back_up(plant, tmp_path / "backup", NOON)
    digest = sha256(PICTURES[1]).hexdigest()
    kept = tmp_path / "backup/files" / digest[:2] / digest
    kept.write_bytes(b"another pictura")
    other = plant_in(tmp_path / "b")
    with pytest.raises(BackupError, match=r"1 of 5 files .* are missing or damaged"):
        restore(other, tmp_path / "backup")
    assert not (tmp_path / "b/ledger.db").exists()
    assert not other.storage.artifacts.exists()
    kept.unlink()
    back_up(plant, tmp_path / "backup", NOON + timedelta(hours=1))
    restore(other, tmp_path / "backup")
    assert answers(other) == answers(plant)


def test_nothing_is_overwritten_without_force_and_never_under_a_running_ledger(tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "a")
    database = fill(plant)
    before = answers(plant)
    back_up(plant, tmp_path / "backup", NOON)
    keep(database, list(events_of(made_parts(41)[40])), NOON)
    with pytest.raises(BackupError, match=r"there is a ledger at .*--force"):
        restore(plant, tmp_path / "backup")
    (plant.storage.artifacts / "pcb-3" / "manifest.json").write_text("changed")
    with pytest.raises(BackupError, match="differs from the backup's"):
        restore(plant, tmp_path / "backup")
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE last_revision SET revision = revision")
        with pytest.raises(BackupError, match="stop `neverblink ledger run` first"):
            restore(plant, tmp_path / "backup", force=True)
    database.close()
    restore(plant, tmp_path / "backup", force=True)
    assert answers(plant) == before


def test_the_commands_say_what_was_copied_and_put_back(tmp_path: Path) -> None:
    fill(plant_in(tmp_path / "a")).close()
    plant_in(tmp_path / "b")
    run = CliRunner().invoke
    made = run(app, ["ledger", "backup", str(tmp_path / "backup"), "--plant", str(tmp_path / "a/plant.yaml")])
    assert made.exit_code == 0, made.output
    assert "5 files" in made.stdout
    assert manifest_in(tmp_path / "backup", None)[1].site == "plant-1"
    back = run(app, ["ledger", "restore", str(tmp_path / "backup"), "--plant", str(tmp_path / "b/plant.yaml")])
    assert "restored what plant-1 was at" in back.stdout
    with pytest.raises(BackupError, match="there is no backup x"):
        manifest_in(tmp_path / "backup", "x")
