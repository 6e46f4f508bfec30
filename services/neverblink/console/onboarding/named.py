"""Named regions as an engineer draws them on a page: rows of a form, checked as a fit checks them, kept as its file."""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import ValidationError

from neverblink.console.onboarding.canvas import Canvas
from neverblink.console.onboarding.products import OnboardingError
from neverblink.errors import reason_of
from neverblink.storage.whole_file import write_whole
from neverblink.vision.named_regions.spec import (
    MOST_REGIONS,
    REST,
    Kind,
    NamedRegion,
    RegionsError,
    RegionsFile,
    State,
    load_regions,
)
from neverblink.vision.plain_name import plain

KINDS: Final[tuple[str, ...]] = get_args(Kind)
STATES: Final[tuple[str, ...]] = get_args(State)
PLACE: Final = "regions"
EXAMPLES: Final = "examples"
_MOST_CORNERS: Final = 200
_MOST_OF_ALL: Final = 2000
_LONGEST_POLYGON: Final = 4000
_CORNER = re.compile(r"-?\d+(?:\.\d+)?,-?\d+(?:\.\d+)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FILE = re.compile(r"regions-[0-9a-f]{12}\.yaml")


@dataclass(slots=True)
class Row:
    """A region as its row of the form has it. `was` is its name before, `faults` what is wrong, by field."""

    name: str = ""
    kind: str = "judged"
    share: str = ""
    polygon: str = ""
    was: str = ""
    faults: dict[str, OnboardingError | str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Say whether nothing was written into it."""
        return not (self.name or self.polygon or self.share)


@dataclass(slots=True)
class Draft:
    """All rows of a form, what becomes of the rest, and what is wrong with them together."""

    rows: list[Row] = field(default_factory=list)
    rest: str = "judged"
    fault: OnboardingError | str | None = None

    @property
    def wrong(self) -> bool:
        """Say whether anything is wrong."""
        return self.fault is not None or any(row.faults for row in self.rows)


def draft_from(get: Callable[[str, int], str]) -> Draft:
    """Return what a form's fields say: `name-0`, `kind-0`, `share-0`, `polygon-0` and so on. Raises RefusedError."""
    rows = []
    for number in range(MOST_REGIONS):
        row = Row(
            get(f"name-{number}", 80),
            get(f"kind-{number}", 16) or "judged",
            get(f"share-{number}", 12).replace(",", "."),
            " ".join(get(f"polygon-{number}", _LONGEST_POLYGON).split()),
            get(f"was-{number}", 80),
        )
        if not row.empty and not get(f"remove-{number}", 8):
            rows.append(row)
    return Draft(rows, get("rest", 16) or "judged")


def draft_of(regions: RegionsFile | None) -> Draft:
    """Return the rows of regions that are kept."""
    if regions is None:
        return Draft()
    rows = [
        Row(
            one.name,
            one.kind,
            "" if one.share is None else f"{one.share * 100:g}",
            " ".join(f"{x:g},{y:g}" for x, y in one.polygon),
            one.name,
        )
        for one in regions.regions
    ]
    return Draft(rows, regions.rest)


def checked(draft: Draft, canvas: Canvas) -> RegionsFile | None:
    """Return the regions of a draft; None where it has none, or where its faults are now beside its fields."""
    seen: set[str] = set()
    corners = 0
    values = []
    for row in draft.rows:
        values.append(_of_row(row, canvas, seen))
        corners += len(values[-1]["polygon"])
    if corners > _MOST_OF_ALL:
        draft.fault = OnboardingError("more than %(most)s corners: draw simpler shapes", most=_MOST_OF_ALL)
    if draft.wrong or not values:
        return None
    try:
        return RegionsFile.model_validate(
            {"width": canvas.width, "height": canvas.height, "regions": values, "rest": draft.rest}
        )
    except ValidationError as error:
        _say(draft, error)
        return None


def _of_row(row: Row, canvas: Canvas, seen: set[str]) -> dict[str, Any]:
    """Return a row's values, and put what is wrong with them beside its fields."""
    try:
        plain(row.name)
    except ValueError:
        row.faults["name"] = OnboardingError(
            "letters, digits, dots, dashes and underscores make a name, 64 at most, the first no sign"
        )
    if row.name == REST:
        row.faults["name"] = OnboardingError("“rest” is what no region covers: choose another name")
    if row.name in seen:
        row.faults["name"] = OnboardingError("another region has this name already")
    seen.add(row.name)
    share = None
    if row.share:
        share = float(row.share) / 100 if _NUMBER.fullmatch(row.share) else None
        if share is None or not 0 < share <= 1:
            row.faults["share"] = OnboardingError("a share lies between 0 and 100 percent, or is empty")
        elif row.kind == "ignored":
            row.faults["share"] = OnboardingError("what is ignored rejects nothing: it has no share")
    pairs = row.polygon.split()
    if not all(_CORNER.fullmatch(pair) for pair in pairs):
        row.faults["polygon"] = OnboardingError("corners are written x,y in pixels, with spaces between them")
        pairs = []
    elif not 3 <= len(pairs) <= _MOST_CORNERS:
        row.faults["polygon"] = OnboardingError("a region has 3 to %(most)s corners", most=_MOST_CORNERS)
    polygon = [tuple(map(float, pair.split(","))) for pair in pairs]
    if any(not (0 <= x <= canvas.width and 0 <= y <= canvas.height) for x, y in polygon):
        row.faults["polygon"] = OnboardingError(
            "a corner lies outside the picture of %(width)s × %(height)s pixels", width=canvas.width,
            height=canvas.height,
        )  # fmt: skip
    given = {} if share is None else {"share": share}
    return {"name": row.name, "kind": row.kind, **given, "polygon": polygon}


def _say(draft: Draft, error: ValidationError) -> None:
    """Put what the regions' own model says beside the field that it is about, else above them all."""
    for one in error.errors():
        match one["loc"]:
            case ("regions", int(number), *place) if number < len(draft.rows):
                name = place[0] if place and place[0] in {"name", "kind", "share", "polygon"} else "polygon"
                draft.rows[number].faults.setdefault(str(name), reason_of(one))
            case _:
                draft.fault = draft.fault or reason_of(one)


def keep(folder: Path, regions: RegionsFile | None, renamed: Mapping[str, str], before: str | None) -> str | None:
    """Write the regions into a product's folder, and return their file's name: another one for other regions.

    The file `before` stays until the next time: it is in force until it is known that there is another. Folders of
    examples follow their regions' names (`renamed` is the new name by the old one); those of regions that are gone are
    deleted. Raises OnboardingError.
    """
    place = folder / PLACE
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        _follow(place / EXAMPLES, regions, renamed)
        name = None
        if regions is not None:
            values = as_written(regions, place)
            content = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120).encode()
            name = f"regions-{hashlib.sha256(content + _listed(place)).hexdigest()[:12]}.yaml"
            write_whole(place / name, content, mode=0o600, forced=False)
        for old in place.iterdir():
            if _FILE.fullmatch(old.name) and old.name not in {name, before}:
                old.unlink()
    except OSError as error:
        raise OnboardingError("the regions cannot be written: %(reason)s", reason=error.strerror or error) from error
    return name


def as_written(regions: RegionsFile, place: Path) -> dict[str, Any]:
    """Return what stands in the file: the regions, with the folders that hold examples below `place`."""
    found = regions.model_dump(mode="json", exclude_defaults=True, exclude={"regions"})
    listed = []
    for one in regions.regions:
        values = one.model_dump(mode="json", exclude_none=True, exclude={"examples"})
        examples = {state: f"{EXAMPLES}/{one.name}/{state}" for state in STATES} if one.kind == "presence" else {}
        there = {state: path for state, path in examples.items() if pictures_in(place / path)}
        listed.append({**values, **({"examples": there} if there else {})})
    return {**found, "regions": listed}


def kept(folder: Path, name: str | None) -> RegionsFile | None:
    """Return the regions that were kept under a name; None where there are none, or what is there is damaged."""
    if name is None or not _FILE.fullmatch(name):
        return None
    with suppress(RegionsError):
        return load_regions(folder / PLACE / name)
    return None


def said(draft: Draft, words: Callable[[str], str]) -> Draft:
    """Return a draft whose faults are in the language of whoever reads them, as far as they are the console's own."""

    def one(fault: OnboardingError | str) -> str:
        return fault.in_words(words) if isinstance(fault, OnboardingError) else fault

    rows = [replace(row, faults={name: one(fault) for name, fault in row.faults.items()}) for row in draft.rows]
    return Draft(rows, draft.rest, None if draft.fault is None else one(draft.fault))


def examples_of(folder: Path, regions: RegionsFile | None) -> dict[str, dict[str, list[str]]]:
    """Return the names of the pictures that each presence check has, by region and state."""
    place = folder / PLACE / EXAMPLES
    return {
        one.name: {state: pictures_in(place / one.name / state) for state in STATES} for one in presence_of(regions)
    }


def presence_of(regions: RegionsFile | None) -> list[NamedRegion]:
    """Return the regions that are looked at for what must be there."""
    return [] if regions is None else [one for one in regions.regions if one.kind == "presence"]


def pictures_in(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder."""
    try:
        return sorted(one.name for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _follow(examples: Path, regions: RegionsFile | None, renamed: Mapping[str, str]) -> None:
    """Let folders of examples follow their regions, all at once: two may have taken each other's name."""
    names = {one.name for one in presence_of(regions)}
    moved = []
    for old, new in renamed.items():
        if old != new and (examples / old).is_dir():
            aside = examples / f".{old}"
            (examples / old).rename(aside)
            moved.append((aside, examples / new))
    if examples.is_dir():
        for one in list(examples.iterdir()):
            if one.name not in names and one not in [aside for aside, _ in moved]:
                shutil.rmtree(one)
    for aside, target in moved:
        if target.name in names and not target.exists():
            aside.rename(target)
        else:
            shutil.rmtree(aside)


def _listed(place: Path) -> bytes:
    """Return which examples there are: a model that learnt from others is another one."""
    found: Sequence[Path] = sorted(path for path in (place / EXAMPLES).rglob("*") if path.is_file())
    return "\n".join(f"{path.relative_to(place)} {path.stat().st_size}" for path in found).encode()
