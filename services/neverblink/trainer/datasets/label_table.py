"""A table of labels: one image a row, comma, semicolon or tab between its columns."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neverblink.trainer.datasets.labelled_image import GOOD, DatasetError, LabelledImage

TABLES = ("labels.csv", "labels.tsv", "labels.txt")
"""Names of the table in a folder of images."""

MAX_BYTES = 64 * 1024 * 1024

_PATHS = ("path", "image", "file", "filename", "file_name", "image_path")
_LABELS = ("label", "class", "type", "defect", "category")
_MASKS = ("mask", "mask_path")
_SPLITS = ("split", "set", "subset")
_LEARN = ("train", "training", "fit")
_TEST = ("test", "testing", "val", "valid", "validation")
_NAMED = 20

GOOD_NAMES = frozenset(
    {
        *("good", "ok", "okay", "normal", "pass", "passed", "fine", "clean", "healthy", "gut", "io", "i.o.", "goed"),
        *("bon", "buono", "bueno", "no_defect", "no-defect", "nodefect", "defect_free", "defect-free", "defectfree"),
        *("non_defective", "non-defective", "anomaly_free", "anomaly-free", "without_defect"),
    }
)
"""What good parts are called, in small letters."""

_ZERO, _ONE = frozenset({"0", "false", "no"}), frozenset({"1", "true", "yes"})

Split = Literal["learn", "test", "both"]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """An image of the table, and whether it is to be learnt from, to be tested on, or both."""

    image: LabelledImage
    split: Split


def is_good(name: str) -> bool:
    """Say whether a folder's or label's name is one of good parts."""
    return name.casefold() in GOOD_NAMES


def table_in(folder: Path) -> Path | None:
    """Return the table of labels in a folder, None where there is none."""
    return next((path for name in TABLES if (path := folder / name).is_file()), None)


def read_label_table(path: Path) -> list[LabelRow]:
    """Read a table with the columns path and label, and mask and split where there are such.

    Paths are relative to the table's folder and stay in it. A label is a type of defect or a word for good parts;
    0 and 1 are good and `defect`. Raises DatasetError, naming every row that cannot be used.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} is larger than {MAX_BYTES} bytes, which no table of labels is")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no UTF-8 text: save the table as UTF-8") from error
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    between = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(lines, delimiter=between, strict=True))
    except csv.Error as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    columns = _columns([name.strip().casefold() for name in rows[0]] if rows else [], path)
    found: list[LabelRow] = []
    faults: list[str] = []
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row):
            try:
                found.append(_row([cell.strip() for cell in row], columns, path.parent))
            except DatasetError as error:
                faults.append(f"line {number}: {error}")
    twice = _twice([one.image.path for one in found])
    faults += [f"{one} is listed twice" for one in twice]
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults[:_NAMED])
        more = "" if len(faults) <= _NAMED else f"\n  and {len(faults) - _NAMED} more"
        raise DatasetError(f"{len(faults)} rows of {path} cannot be used:{listed}{more}")
    if not found:
        raise DatasetError(f"{path} lists no image: a row is a path and a label, such as parts/17.png{between}scratch")
    return found


def _columns(header: list[str], path: Path) -> dict[str, int]:
    found = {
        wanted: next((header.index(name) for name in names if name in header), -1)
        for wanted, names in (("path", _PATHS), ("label", _LABELS), ("mask", _MASKS), ("split", _SPLITS))
    }
    missing = [name for name in ("path", "label") if found[name] < 0]
    if missing:
        raise DatasetError(
            f"{path} has no column {' and '.join(missing)}; its columns are {', '.join(header) or 'none'}, and a table"
            " of labels has path, label and, where there are masks, mask"
        )
    return found


def _row(cells: list[str], columns: dict[str, int], folder: Path) -> LabelRow:
    def cell(name: str) -> str:
        place = columns[name]
        return cells[place] if 0 <= place < len(cells) else ""

    label, split = cell("label"), cell("split").casefold()
    if not label:
        raise DatasetError(f"{cell('path') or 'an image'} has no label")
    image = _inside(folder, cell("path"), "an image")
    mask = _inside(folder, cell("mask"), "the mask") if cell("mask") else None
    if split and split not in (*_LEARN, *_TEST):
        raise DatasetError(f"{cell('path')} belongs to the split {split!r}, which is neither train nor test")
    defect = None if is_good(label) or label.casefold() in _ZERO else "defect" if label.casefold() in _ONE else label
    named = LabelledImage(image, None if defect == GOOD else defect, mask)
    return LabelRow(named, "both" if not split else "learn" if split in _LEARN else "test")


def _inside(folder: Path, name: str, what: str) -> Path:
    if not name:
        raise DatasetError(f"{what} has no path")
    relative = Path(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts:
        raise DatasetError(f"{what} {name} lies outside the table's folder: give paths relative to it")
    path = folder / relative
    if not path.is_file():
        raise DatasetError(f"there is no file {name}")
    return path


def _twice(paths: list[Path]) -> list[Path]:
    seen: set[Path] = set()
    return sorted({path for path in paths if path in seen or seen.add(path)})  # type: ignore[func-returns-value]
