"""What a reviewer says about parts, from a command's words or from a file of many."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from neverblink.errors import NeverblinkError
from neverblink.events import BoundingBox, Judgement

MOST_ANSWERS = 10_000
MOST_BYTES = 8 * 1024 * 1024
MOST_REGIONS = 64
_COLUMNS = ("verdict", "part", "serial", "station", "judgement", "type", "region", "comment")
_NAMES = ("verdict", "part", "serial")


class ReviewError(NeverblinkError, ValueError):
    """A claim or an answer that cannot be made; the message says which, why, and what to do.

    `kind` is `held` where another reviewer has the verdict, `raced` where somebody was faster, `refused` where answers
    of this reviewer would not count, `nothing` where there is no answer to take back, `unheld` where there is no part
    to put back, `absent` where the records do not know the part; empty for all else. `why` says of answers that would
    not count: `unlisted`, `over` or `elsewhere`. A page has sentences of its own for them.
    """

    def __init__(self, sentence: str, kind: str = "", why: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.why = why


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reviewer says about one verdict. `named` is its id, its part's serial number or its part's name.

    `station` (LINE/STATION, or the station's name) tells the verdicts of one part apart.
    """

    named: str
    judgement: Judgement
    defect_type: str | None = None
    regions: tuple[BoundingBox, ...] = ()
    comment: str | None = None
    station: str | None = None

    def __post_init__(self) -> None:
        """Raise ReviewError for what contradicts itself or is too long."""
        if self.judgement is not Judgement.DEFECT and (self.defect_type or self.regions):
            raise ReviewError(f"{self.named} is judged {self.judgement}, and a type or region is of a defect alone")
        if len(self.regions) > MOST_REGIONS:
            raise ReviewError(f"{self.named} has {len(self.regions)} regions; {MOST_REGIONS} are the most")
        if self.defect_type is not None and len(self.defect_type) > 64:
            raise ReviewError(f"the defect type of {self.named} is longer than 64 characters")
        if self.comment is not None and len(self.comment) > 2000:
            raise ReviewError(f"the comment on {self.named} is longer than 2000 characters")


def judgement_in(text: str) -> Judgement:
    """Return the judgement that a word names, however it is written. Raises ReviewError."""
    try:
        return Judgement(text.strip().lower())
    except ValueError as error:
        known = ", ".join(one.value.upper() for one in Judgement)
        raise ReviewError(f"{text[:40]!r} is no judgement: write {known}") from error


def region_of(text: str) -> BoundingBox:
    """Return the box of `x,y,width,height` in pixels. Raises ReviewError."""
    try:
        x, y, width, height = (int(word) for word in text.split(","))
        return BoundingBox(x=x, y=y, width=width, height=height)
    except ValueError as error:
        raise ReviewError(
            f"{text[:60]!r} is no region: write x,y,width,height in pixels of the image, such as 310,116,70,25"
        ) from error


def answers_in(path: Path) -> tuple[Answer, ...]:
    """Return the answers that a CSV or JSON file holds, one a row. Raises ReviewError, naming every row that is wrong.

    Columns or keys: one of verdict, serial or part; judgement; and as wanted station, type, region, comment. Regions
    are x,y,width,height, several with a semicolon between them, or in JSON as lists of four.
    """
    rows = _rows_of(path)
    if len(rows) > MOST_ANSWERS:
        raise ReviewError(f"{path} has {len(rows)} answers; {MOST_ANSWERS} are the most at once: split it")
    found: list[Answer] = []
    faults: list[str] = []
    for number, row in rows:
        try:
            found.append(_answer(row))
        except ReviewError as error:
            faults.append(f"row {number}: {error}")
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ReviewError(f"{path}: {'; '.join(faults[:5])}{more}. Nothing was sent")
    return tuple(found)


def _rows_of(path: Path) -> Sequence[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise ReviewError(f"{path} is larger than {MOST_BYTES // 1024 // 1024} MiB: split it")
    if path.suffix.lower() == ".json":
        return _json_rows(path, raw)
    try:
        # A spreadsheet writes a mark of its own before the first column, and a semicolon where commas are decimals.
        text = raw.decode("utf-8-sig")
        head = text.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in head else ",", strict=True)
        rows = [(number, row) for number, row in enumerate(reader, start=2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReviewError(f"{path} is no CSV in UTF-8: {error}") from error
    return rows


def _json_rows(path: Path, raw: bytes) -> Sequence[tuple[int, Mapping[str, Any]]]:
    try:
        rows = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ReviewError(f"{path} is no JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReviewError(f"{path} is no list of objects, one an answer")
    return list(enumerate(rows, start=1))


def _answer(row: Mapping[Any, Any]) -> Answer:
    if None in row:  # where the csv module puts what has no column
        raise ReviewError("the row has more cells than the file has columns")
    unknown = [str(name)[:40] for name in row if name not in _COLUMNS]
    if unknown:
        raise ReviewError(f"there is no column {unknown[0]!r}; known are {', '.join(_COLUMNS)}")
    words = {name: _text(name, value) for name, value in row.items() if name != "region"}
    named = [words[name] for name in _NAMES if words.get(name)]
    if len(named) != 1:
        raise ReviewError("name one of verdict, serial or part")
    if not words.get("judgement"):
        raise ReviewError("judgement is missing")
    return Answer(
        named[0],
        judgement_in(words["judgement"]),
        words.get("type") or None,
        _regions(row.get("region")),
        words.get("comment") or None,
        words.get("station") or None,
    )


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ReviewError(f"{name} is {str(value)[:40]!r}, which is no text")
    return value.strip()


def _regions(value: Any) -> tuple[BoundingBox, ...]:
    if value in (None, ""):
        return ()
    if isinstance(value, str):
        return tuple(region_of(text) for text in value.split(";") if text.strip())
    if isinstance(value, list) and all(isinstance(box, list) for box in value):
        return tuple(region_of(",".join(map(str, box))) for box in value)
    raise ReviewError("region is neither x,y,width,height nor a list of lists of four")
