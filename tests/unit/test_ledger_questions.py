"""The commands that question the records: tables for people, JSON for programs, files that are whole."""

import csv
import json
import stat
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kept_parts import NOON, all_events, made_parts
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE
from neverblink.records.database import Database
from neverblink.records.part_files import COLUMNS, ExportError, FileFormat, begun_until, export_parts
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import Part, PartsPage
from neverblink.records.reading import ReadOnlyRecords

MADE = made_parts(90, seed=5)
END = NOON + timedelta(days=1)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plant file beside a ledger with MADE in it."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "plant.yaml").write_text(EXAMPLE)
    database = Database(f"sqlite:///{folder / 'ledger.db'}", create=True)
    keep(database, all_events(MADE), NOON)
    database.close()
    return folder / "plant.yaml"


def told(plant: Path, *words: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, ["ledger", words[0], "--plant", str(plant), *words[1:]])
    assert ran.exit_code == code, ran.output
    return ran.stdout


def test_parts_are_a_table_whose_pages_lead_on(plant: Path) -> None:
    first = told(plant, "parts", "--lot", "lot-2", "--limit", "10", "--order-by", "oldest")
    assert "SN-000030" in first
    assert "SN-000040" not in first
    cursor = first.rsplit("--cursor ", 1)[1].strip()
    rest = told(plant, "parts", "--lot", "lot-2", "--limit", "10", "--order-by", "oldest", "--cursor", cursor)
    assert "SN-000044" in rest
    assert "--cursor" not in rest
    assert told(plant, "parts", "--lot", "none") == "No part fits.\n"


def test_parts_as_json_say_instants_with_a_zone(plant: Path) -> None:
    page = json.loads(told(plant, "parts", "--json", "--limit", "3", "--decision", "reject", "--line", "line-1"))
    assert {part["decision"] for part in page["parts"]} == {"reject"}
    assert page["parts"][0]["triggered"].endswith("Z")
    since = (NOON + timedelta(minutes=30)).isoformat()
    page = json.loads(told(plant, "parts", "--json", "--limit", "1", "--from", since, "--order-by", "oldest"))
    assert datetime.fromisoformat(page["parts"][0]["triggered"]) >= NOON + timedelta(minutes=30)


def test_everything_about_a_part_is_told_by_its_serial_number(plant: Path) -> None:
    one = next(one for one in MADE if one.judgement and one.defects)
    said = told(plant, "part", "--serial", one.serial)
    for word in (one.serial, one.lot, one.order, one.carrier, "tool", *one.defects, "gate", "told", "ann found"):
        assert word in said
    story = json.loads(told(plant, "part", "--serial", one.serial, "--json"))[0]
    assert json.loads(told(plant, "part", str(story["part"]["id"]), "--json")) == story
    told(plant, "part", "--serial", "none", code=1)
    told(plant, "part", code=2)


def test_counts_are_tables_or_json(plant: Path) -> None:
    assert "line-1" in told(plant, "yield")
    groups = json.loads(told(plant, "yield", "--by", "lot", "--json"))
    assert sum(group["parts"] for group in groups) == len(MADE)
    assert "scratch" in told(plant, "pareto")
    assert "late" in told(plant, "pareto", "--of", "reasons", "--decision", "unscored")
    assert "false rejects" in told(plant, "figures", "--line", "line-1")
    assert json.loads(told(plant, "figures", "--json"))["parts"] == len(MADE)
    assert "2026-03-02 13" in told(plant, "yield", "--by", "hour").replace("T", " ")


def test_an_instant_that_is_none_is_refused(plant: Path) -> None:
    ran = CliRunner().invoke(app, ["ledger", "parts", "--plant", str(plant), "--from", "yesterday"])
    assert ran.exit_code == 2
    assert "is no instant" in ran.stderr.replace("\n", " ")


class Ask:
    """Answers pages, and dies before one of them when told to."""

    def __init__(self, plant: Path, dies_before: int | None = None) -> None:
        self.records = ReadOnlyRecords(f"sqlite:///{plant.with_name('ledger.db')}", answer_s=10.0)
        self.dies_before = dies_before
        self.asked = 0

    def __call__(self, question: Callable[[Session], PartsPage]) -> PartsPage:
        if self.asked == self.dies_before:
            raise KeyboardInterrupt
        self.asked += 1
        with self.records.asking() as session:
            return question(session)


def rows_of(path: Path, kind: FileFormat) -> list[dict[str, object]]:
    if kind == "csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    if kind == "json":
        found: list[dict[str, object]] = json.loads(path.read_text())
        return found
    from pyarrow import parquet

    rows: list[dict[str, object]] = parquet.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
@pytest.mark.parametrize("dies_before", [0, 1, 4, 12])
def test_a_file_that_was_broken_off_is_gone_on_with_and_then_the_same(
    plant: Path, tmp_path: Path, kind: FileFormat, dies_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neverblink.records.part_files.PARQUET_ROWS", 16)
    wanted, whole, broken = PartFilter(until=END), tmp_path / f"whole.{kind}", tmp_path / f"broken.{kind}"
    export_parts(Ask(plant), wanted, whole, kind, page_rows=7)
    with pytest.raises(KeyboardInterrupt):
        export_parts(Ask(plant, dies_before), wanted, broken, kind, page_rows=7)
    if kind != "parquet" and broken.exists():
        broken.write_bytes(broken.read_bytes() + b"half a li")  # what a killed run wrote behind its mark
    done = export_parts(Ask(plant), wanted, broken, kind, page_rows=7, resume=True)
    assert done.rows == len(MADE)
    assert rows_of(broken, kind) == rows_of(whole, kind)
    assert [row["serial"] for row in rows_of(broken, kind)] == [one.serial for one in MADE]
    assert not broken.with_name(f"{broken.name}.cursor").exists()


def test_cells_are_as_other_programs_read_them(plant: Path, tmp_path: Path) -> None:
    file = tmp_path / "parts.csv"
    export_parts(Ask(plant), PartFilter(until=END, decision="pass"), file, "csv")
    rows = rows_of(file, "csv")
    assert list(rows[0]) == [field.name for field in fields(Part)]
    assert str(rows[0]["triggered"]).endswith("Z")
    assert (rows[0]["late"], rows[0]["reason"]) == ("false", "")
    assert json.loads(str(rows[0]["attributes"]))["tool"] in {"0", "1", "2"}
    folder = tmp_path / "parts.parquet"
    export_parts(Ask(plant), PartFilter(until=END), folder, "parquet")
    first = rows_of(folder, "parquet")[0]
    assert isinstance(first["triggered"], datetime)
    assert first["triggered"] == MADE[0].triggered
    nothing = tmp_path / "none.json"
    export_parts(Ask(plant), PartFilter(until=END, lot="none"), nothing, "json")
    assert json.loads(nothing.read_text()) == []


def test_a_row_ends_with_the_named_regions_of_its_defects(plant: Path, tmp_path: Path) -> None:
    files: dict[FileFormat, Path] = {kind: tmp_path / f"parts.{kind}" for kind in ("csv", "json", "parquet")}
    for kind, file in files.items():
        export_parts(Ask(plant), PartFilter(until=END), file, kind)
    assert list(rows_of(files["csv"], "csv")[0])[-2:] == ["revision", "regions"]
    for row, other, table, made in zip(*(rows_of(file, kind) for kind, file in files.items()), MADE, strict=True):
        known = ["label"] if made.defects else []
        assert (row["regions"], other["regions"], table["regions"]) == ('["label"]' if known else "", known, known)


def test_a_file_that_was_begun_with_other_columns_is_not_gone_on_with(
    plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "parts.csv"
    monkeypatch.setattr("neverblink.records.part_files.COLUMNS", COLUMNS[:-1])
    with pytest.raises(KeyboardInterrupt):
        export_parts(Ask(plant, 2), PartFilter(until=END), file, "csv", page_rows=7)
    monkeypatch.undo()
    with pytest.raises(ExportError, match="another question or format"):
        export_parts(Ask(plant), PartFilter(until=END), file, "csv", resume=True)


def test_nothing_is_overwritten_and_another_question_does_not_go_on(plant: Path, tmp_path: Path) -> None:
    file = tmp_path / "parts.json"
    with pytest.raises(KeyboardInterrupt):
        export_parts(Ask(plant, 2), PartFilter(until=END), file, "json", page_rows=7)
    assert begun_until(file) == END
    with pytest.raises(ExportError, match="is there already"):
        export_parts(Ask(plant), PartFilter(until=END), file, "json")
    with pytest.raises(ExportError, match="another question"):
        export_parts(Ask(plant), PartFilter(until=END, lot="lot-1"), file, "json", resume=True)
    file.write_bytes(b"[")
    with pytest.raises(ExportError, match="shorter than it was"):
        export_parts(Ask(plant), PartFilter(until=END), file, "json", resume=True)


def test_the_command_exports_by_the_name_of_the_file(plant: Path, tmp_path: Path) -> None:
    out = tmp_path / "lot.csv"
    assert f"15 parts in {out}" in told(plant, "export", str(out), "--lot", "lot-1")
    assert len(rows_of(out, "csv")) == 15
    told(plant, "export", str(tmp_path / "lot.xls"), code=2)


def test_a_token_is_printed_once_and_can_be_taken_away(plant: Path) -> None:
    token = told(plant, "token", "mes", "--line", "line-1").splitlines()[0]
    file = plant.with_name("ledger-tokens.json")
    assert token.startswith("nbl_")
    assert token not in file.read_text()
    assert json.loads(file.read_text())["tokens"][0]["lines"] == ["line-1"]
    assert "refused from now on" in told(plant, "token", "mes", "--remove")
    assert json.loads(file.read_text())["tokens"] == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
