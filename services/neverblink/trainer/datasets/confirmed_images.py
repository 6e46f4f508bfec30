"""Images that a person has judged: normals to learn from, known defects and challenge parts to be tried on."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from neverblink.errors import reason_of
from neverblink.events import Judgement
from neverblink.storage.listing import folders_in
from neverblink.trainer.datasets.images import DatasetError, file_digest, images_in, labelled_images

INDEX: Final = "index"
"""Name of the file beside the images that says what they are, with one of `INDEX_SUFFIXES`."""

INDEX_SUFFIXES: Final = (".jsonl", ".csv", ".parquet")

DEFECT: Final = "defect"
"""Type of a defect that nobody has named."""

_MAX_INDEX_BYTES = 256 * 1024 * 1024


class IndexRow(BaseModel):
    """One image of an index, by its path below the folder. Other columns are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    image: str = Field(min_length=1, max_length=1024)
    captured: AwareDatetime | None = Field(default=None, description="ISO 8601 with its zone.")
    judgement: Judgement = Judgement.NORMAL
    source: str = Field(default="confirmed", max_length=64, description="Who or what confirmed it: see the guide.")
    type: str | None = Field(default=None, max_length=64, description="Type of its defect.")
    shift: str | None = Field(default=None, max_length=64, description="Default: from the hour of `captured`.")
    station: str | None = Field(default=None, max_length=128, description="LINE/STATION.")
    challenge: bool = Field(default=False, description="A known defective part that was sent to prove the system.")


@dataclass(frozen=True, slots=True)
class ConfirmedImage:
    """A part that a person found normal; `digest` is its file's, `captured` None where nobody wrote it down."""

    path: Path
    digest: str
    captured: datetime | None = None
    source: str = "confirmed"
    shift: str | None = None


@dataclass(frozen=True, slots=True)
class KnownPart:
    """A part that must be rejected, and the type of its defect."""

    path: Path
    type: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a folder holds; `inconclusive` images are of no use."""

    normals: tuple[ConfirmedImage, ...]
    defects: tuple[KnownPart, ...] = ()
    challenge: tuple[KnownPart, ...] = ()
    inconclusive: int = 0


def confirmed_images(folder: Path, stations: Sequence[str] = ()) -> Confirmed:
    """Return what a folder's index says of its images, or all its images as undated normals where it has none.

    `stations` (LINE/STATION) are those that are wanted; rows that name none are taken. Raises DatasetError.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    index = index_of(folder)
    if index is None:
        normals = tuple(ConfirmedImage(path, file_digest(path)) for path in images_in(folder))
        if not normals:
            raise DatasetError(f"{folder} has neither images nor an index of some: put confirmed good parts there")
        return Confirmed(normals)
    rows = [row for row in read_index(index) if not stations or row.station is None or row.station in stations]
    paths = {row.image: _inside(folder, row.image, index) for row in rows}
    return Confirmed(
        normals=tuple(
            ConfirmedImage(paths[row.image], file_digest(paths[row.image]), row.captured, row.source, row.shift)
            for row in rows
            if row.judgement is Judgement.NORMAL and not row.challenge
        ),
        defects=_known((row for row in rows if row.judgement is Judgement.DEFECT and not row.challenge), paths),
        challenge=_known((row for row in rows if row.judgement is Judgement.DEFECT and row.challenge), paths),
        inconclusive=sum(row.judgement is Judgement.INCONCLUSIVE for row in rows),
    )


def known_parts(folder: Path) -> tuple[KnownPart, ...]:
    """Return a folder's parts with defects: of its index, its `test/TYPE` or `TYPE` folders, or all its images.

    Raises DatasetError when there are none.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    if index_of(folder) is not None:
        found = confirmed_images(folder)
        parts = found.defects + found.challenge
    elif (folder / "test").is_dir():
        parts = tuple(KnownPart(image.path, image.defect) for image in labelled_images(folder) if image.defect)
    else:
        parts = tuple(KnownPart(path, DEFECT) for path in images_in(folder)) + tuple(
            KnownPart(path, place.name) for place in folders_in(folder) for path in images_in(place)
        )
    if not parts:
        raise DatasetError(f"{folder} has no images of defects")
    return parts


def index_of(folder: Path) -> Path | None:
    """Return the index of a folder, None where it has none."""
    return next((path for suffix in INDEX_SUFFIXES if (path := folder / f"{INDEX}{suffix}").is_file()), None)


def read_index(path: Path) -> list[IndexRow]:
    """Read an index in CSV, JSON lines or Parquet. Raises DatasetError with the row that is wrong."""
    rows: list[IndexRow] = []
    for number, values in enumerate(_plain_rows(path), start=1):
        # What a CSV leaves empty is not there.
        given = {name: value for name, value in values.items() if value not in (None, "")}
        try:
            rows.append(IndexRow.model_validate(given))
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise DatasetError(f"{path}, row {number}, {where}: {reason_of(fault)}") from error
    return rows


def _plain_rows(path: Path) -> Iterable[dict[str, Any]]:
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise DatasetError(f"the index {path} is larger than {_MAX_INDEX_BYTES} bytes")
        if path.suffix == ".parquet":
            found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return found
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(text.splitlines()))
        return [orjson.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, csv.Error, orjson.JSONDecodeError, pa.ArrowInvalid) as error:
        raise DatasetError(f"the index {path} cannot be read: {error}") from error


def _known(rows: Iterable[IndexRow], paths: Mapping[str, Path]) -> tuple[KnownPart, ...]:
    return tuple(KnownPart(paths[row.image], row.type or DEFECT) for row in rows)


def _inside(folder: Path, name: str, index: Path) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"{index} names {name!r}, which does not lie in {folder}")
    if not path.is_file():
        raise DatasetError(f"{index} names {name!r}, and there is no such image in {folder}")
    return path
