"""Parts as files for other programs: CSV, JSON or Parquet, a page at a time, going on where an earlier run ended.

Beside the file lies its mark (`.cursor`): up to where the rows are whole. What a killed run wrote behind it is cut off
by the next one, so no row is missing and none is twice. The mark is taken away when the file is whole.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session

from neverblink.errors import NeverblinkError
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import Part, PartsPage, parts
from neverblink.storage.whole_file import whole_file, write_whole

FileFormat = Literal["csv", "json", "parquet"]
PAGE_ROWS = 5000
PARQUET_ROWS = 100_000
"""Rows of one Parquet file: a folder of them is one table to every reader of Parquet."""

COLUMNS = tuple(field.name for field in fields(Part))
_MARK = ".cursor"
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class ExportError(NeverblinkError, OSError):
    """A file that cannot be written or gone on with; the message says what to do."""


class _Mark(BaseModel):
    """Up to where a file is whole: so many bytes (of a folder: files) and rows, and the cursor behind them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    size: int
    rows: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: all rows of the file, and those of them that an earlier run had written."""

    rows: int
    before: int


class _Writer(Protocol):
    def open(self, size: int) -> None:
        """Begin, or go on behind `size`."""

    def write(self, rows: Sequence[Part]) -> int:
        """Write rows for good and return the new size."""

    def end(self) -> None:
        """Make the file whole."""


def export_parts(
    ask: Callable[[Callable[[Session], PartsPage]], PartsPage],
    wanted: PartFilter,
    path: Path,
    kind: FileFormat,
    *,
    resume: bool = False,
    tell: Callable[[int], None] = lambda _: None,
    page_rows: int = PAGE_ROWS,
) -> Exported:
    """Write every part that fits, oldest first; `tell` is given the rows so far. `ask` answers one question.

    `wanted.until` should be set: a file of a line that runs has no end otherwise. Memory holds a page, for Parquet
    `PARQUET_ROWS`. Raises ExportError when the path is taken, or is not what an earlier run of this question left.
    """
    mark_file = path.with_name(f"{path.name}{_MARK}")
    asked = orjson.dumps([kind, wanted.asked(), COLUMNS], option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z).decode()
    mark = _mark_at(path, mark_file, asked, resume)
    writer: _Writer = _ParquetFolder(path) if kind == "parquet" else _TextFile(path, kind)
    batch_rows = PARQUET_ROWS if kind == "parquet" else page_rows
    rows, before = mark.rows, mark.rows
    try:
        # The mark is there before the first byte: whatever is found beside one may be gone on with.
        write_whole(mark_file, mark.model_dump_json().encode())
        writer.open(mark.size)
        for batch, cursor in _batches(ask, wanted, mark.cursor, batch_rows, page_rows):
            size = writer.write(batch)
            rows += len(batch)
            held = _Mark(asked=asked, size=size, rows=rows, cursor=cursor)
            write_whole(mark_file, held.model_dump_json().encode())
            tell(rows)
        writer.end()
        mark_file.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, NeverblinkError):
            raise
        raise ExportError(f"{path} cannot be written: {error.strerror or error}; --resume goes on") from error
    return Exported(rows, before)


def begun_until(path: Path) -> datetime | None:
    """Return the end of the time that an unfinished file at that path is of, None when there is none."""
    try:
        mark = _Mark.model_validate_json(path.with_name(f"{path.name}{_MARK}").read_bytes())
        return datetime.fromisoformat(orjson.loads(mark.asked)[1]["until"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _mark_at(path: Path, mark_file: Path, asked: str, resume: bool) -> _Mark:
    start = _Mark(asked=asked, size=0, rows=0, cursor=None)
    if not resume:
        if path.exists() or mark_file.exists():
            raise ExportError(f"{path} is there already: name another file, or go on with it by --resume")
        return start
    if not mark_file.exists():
        if path.exists():
            raise ExportError(f"{path} is whole, or was not written by an export: there is nothing to resume")
        return start
    try:
        mark = _Mark.model_validate_json(mark_file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ExportError(f"{mark_file} cannot be read: delete it and {path}, and begin anew") from error
    if mark.asked != asked:
        raise ExportError(f"{path} was begun with another question or format: repeat it, --to too, or begin anew")
    return mark


def _batches(
    ask: Callable[[Callable[[Session], PartsPage]], PartsPage],
    wanted: PartFilter,
    cursor: str | None,
    batch_rows: int,
    page_rows: int,
) -> Iterator[tuple[list[Part], str | None]]:
    batch: list[Part] = []
    last = cursor
    while True:
        behind = last
        page = ask(lambda session: parts(session, wanted, order="oldest", limit=page_rows, cursor=behind))  # noqa: B023 - asked at once
        batch += page.parts
        last = page.next or last
        if batch and (page.next is None or len(batch) >= batch_rows):
            yield batch, last
            batch = []
        if page.next is None:
            return


class _TextFile:
    """CSV with a header, or one JSON array with a row a line."""

    def __init__(self, path: Path, kind: FileFormat) -> None:
        self._path = path
        self._kind = kind
        self._size = 0

    def open(self, size: int) -> None:
        self._size = size
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if size == 0:
            self._append(f"{','.join(COLUMNS)}\r\n".encode() if self._kind == "csv" else b"[")
            self._begun = False
        else:
            self._begun = True
            with self._path.open("r+b") as file:
                if file.seek(0, io.SEEK_END) < size:
                    raise ExportError(f"{self._path} is shorter than it was: delete it and its mark, and begin anew")
                file.truncate(size)

    def write(self, rows: Sequence[Part]) -> int:
        if self._kind == "csv":
            self._append(csv_rows(rows))
        else:
            lines = b",\n".join(orjson.dumps(row, option=orjson.OPT_UTC_Z) for row in rows)
            self._append((b",\n" if self._begun else b"\n") + lines)
        self._begun = True
        return self._size

    def end(self) -> None:
        if self._kind == "json":
            self._append(b"\n]\n")

    def _append(self, content: bytes) -> None:
        with self._path.open("r+b" if self._size else "wb") as file:
            file.seek(self._size)
            file.write(content)
        self._size += len(content)


class _ParquetFolder:
    """A folder of Parquet files, each whole or not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = 0

    def open(self, size: int) -> None:
        self._files = size
        self._path.mkdir(parents=True, exist_ok=True)
        for file in self._path.glob("part-*.parquet"):
            if int(file.stem.removeprefix("part-")) >= size:
                file.unlink()

    def write(self, rows: Sequence[Part]) -> int:
        from pyarrow import parquet

        table = part_table(rows)
        with whole_file(self._path / f"part-{self._files:05d}.parquet") as partial:
            parquet.write_table(table, partial, compression="zstd")
        self._files += 1
        return self._files

    def end(self) -> None:
        if not self._files:
            self.write(())


def csv_rows(rows: Sequence[Part], columns: Sequence[str] = COLUMNS, *, for_a_spreadsheet: bool = False) -> bytes:
    """Return parts as lines of CSV, without a header; instants are RFC 3339.

    `for_a_spreadsheet` puts an apostrophe before text that a spreadsheet would take for a formula.
    """
    plain = _careful if for_a_spreadsheet else _cell
    text = io.StringIO()
    csv.writer(text).writerows([plain(getattr(row, name)) for name in columns] for row in rows)
    return text.getvalue().encode()


def part_table(rows: Sequence[Part], columns: Sequence[str] = COLUMNS) -> Any:
    """Return parts as a table of pyarrow, which is loaded for it."""
    import pyarrow as pa

    values = {name: [_plain(getattr(row, name)) for row in rows] for name in columns}
    return pa.table(values, schema=_schema(pa, columns))


def _schema(pyarrow: Any, columns: Sequence[str]) -> Any:
    kinds: list[tuple[Any, Any]] = [
        (bool, pyarrow.bool_()),
        (int, pyarrow.int64()),
        (float, pyarrow.float64()),
        (datetime, pyarrow.timestamp("us", tz="UTC")),
        (tuple[str, ...], pyarrow.list_(pyarrow.string())),
    ]
    found = []
    for field in fields(Part):
        if field.name not in columns:
            continue
        kind = next((made for known, made in kinds if field.type in {known, known | None}), pyarrow.string())
        found.append(pyarrow.field(field.name, kind))
    return pyarrow.schema(found)


def _plain(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return orjson.dumps(value).decode() if value else ""
    return _plain(value)


def _careful(value: Any) -> Any:
    found = _cell(value)
    return f"'{found}" if isinstance(value, str) and found.startswith(_FORMULAS) else found
