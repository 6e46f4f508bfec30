"""Pictures into a golden set and out of it. It prints nothing."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from neverblink.events import BoundingBox
from neverblink.model_registry.golden_set import (
    GOLDEN,
    MAX_PICTURE_BYTES,
    GoldenError,
    GoldenPart,
    GoldenPlace,
    GoldenSet,
    as_file,
)
from neverblink.plant import Plant
from neverblink.storage.listing import files_in, folders_in
from neverblink.vision.decode import SUFFIXES, ImageError, decode
from neverblink.vision.plain_name import plain

GOOD = "good"
_DEFECTS = "defects"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a picture: the `type` of its defect, None for a good part, and what a model must say of it."""

    type: str | None
    region: BoundingBox | None = None
    named: bool = False
    station: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A set after a change: the pictures that came or went, and those that it had already."""

    golden: GoldenSet
    pictures: tuple[str, ...]
    known: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Editor:
    """Who changes a golden set, why and when."""

    by: str
    why: str | None
    at: datetime


def add(plant: Plant, product: str, pictures: Sequence[Path], answer: Answer | None, editor: Editor) -> Changed:
    """Copy pictures into a product's golden set. Without an `answer` folders are named, with `good` and folders by
    types of defects in them (or in `defects`), and each picture's folder says it.

    A picture that the set has already with that answer stays as it is. Raises GoldenError, PlantError.
    """
    place = GoldenPlace.of(plant, product)
    before = place.read()
    _known_station(plant, product, answer)
    wanted = [one for path in pictures for one in _answered(path, answer)]
    if not wanted:
        raise GoldenError(f"{', '.join(map(str, pictures))} has no pictures ({', '.join(sorted(SUFFIXES))})")
    parts = {part.sha256: part for part in before.parts}
    names = {part.picture for part in before.parts}
    fresh: list[str] = []
    known: list[Path] = []
    for path, says in wanted:
        content = _read(path, plant, product, says)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        part = _part(path, digest, says, names)
        old = parts.get(digest)
        if old is not None:
            if old.answer() | {"picture": ""} != part.answer() | {"picture": ""}:
                raise GoldenError(
                    f"{path} is in the golden set of {product} as {old.picture}, with another answer: remove that one"
                    " first, or leave this one"
                )
            known.append(path)
            continue
        # Before the list that names it: whoever reads the list finds every picture.
        place.put(part.picture, content)
        parts[digest] = part
        names.add(part.picture)
        fresh.append(part.picture)
    return _written(place, before, tuple(parts.values()), fresh, editor, tuple(known))


def remove(plant: Plant, product: str, pictures: Sequence[str], editor: Editor) -> Changed:
    """Take pictures, named as in the set, out of it. Raises GoldenError, PlantError."""
    place = GoldenPlace.of(plant, product)
    before = place.read()
    missing = set(pictures) - {part.picture for part in before.parts}
    if missing:
        raise GoldenError(
            f"the golden set of {product} has no {', '.join(sorted(missing))}; `neverblink golden list --pictures`"
            " names what it has"
        )
    left = tuple(part for part in before.parts if part.picture not in pictures)
    done = _written(place, before, left, list(dict.fromkeys(pictures)), editor)
    # After the list that named it.
    for picture in done.pictures:
        place.remove(picture)
    return done


def _written(
    place: GoldenPlace,
    before: GoldenSet,
    parts: tuple[GoldenPart, ...],
    pictures: list[str],
    editor: Editor,
    known: tuple[Path, ...] = (),
) -> Changed:
    if not pictures:
        return Changed(before, (), known)
    after = before.changed(parts, editor.by, editor.why, editor.at)
    if place.read() != before:
        raise GoldenError(f"somebody else changes the golden set of {place.product} at this moment: try again")
    place.put(GOLDEN, as_file(after))
    return Changed(after, tuple(pictures), known)


def _answered(path: Path, answer: Answer | None) -> list[tuple[Path, Answer]]:
    """Return the pictures that are named, each with its answer."""
    try:
        if answer is not None:
            found = files_in(path, SUFFIXES) if path.is_dir() else [path]
            return [(one, answer) for one in found]
        if not path.is_dir():
            raise GoldenError(f"say what {path} shows: --good, or --defect TYPE")
        folders = folders_in(path)
        if (path / _DEFECTS).is_dir():
            folders = [one for one in folders if one.name != _DEFECTS] + folders_in(path / _DEFECTS)
        if not any(one.name == GOOD for one in folders) and not (path / _DEFECTS).is_dir():
            raise GoldenError(
                f"{path} has neither a folder `good` nor a folder `defects`: name pictures with --good or --defect TYPE"
            )
        return [
            (file, Answer(None if folder.name == GOOD else _type(folder.name)))
            for folder in folders
            for file in files_in(folder, SUFFIXES)
        ]
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}") from error


def _read(path: Path, plant: Plant, product: str, answer: Answer) -> bytes:
    """Return a picture's bytes, which must be one that the station's models can be shown."""
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise GoldenError(f"{path} has more than {MAX_PICTURE_BYTES} bytes, the bound for a golden picture")
        content = path.read_bytes()
        decode(content, depth=_depth(plant, product, answer) or 16)
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise GoldenError(f"{path} is no picture that a model can be shown: {error}") from error
    return content


def _depth(plant: Plant, product: str, answer: Answer) -> int | None:
    if answer.station is None:
        return plant.product(product).depth
    line, _, station = answer.station.partition("/")
    return plant.depth(plant.line(line).station(station))


def _known_station(plant: Plant, product: str, answer: Answer | None) -> None:
    station = None if answer is None else answer.station
    inspect = [f"{line.name}/{one.name}" for line, one in plant.stations() if one.product == product]
    if station is not None and station not in inspect:
        raise GoldenError(
            f"no station {station} inspects product {product}; its stations are {', '.join(inspect) or 'none'}"
        )


def _part(path: Path, digest: str, answer: Answer, taken: set[str]) -> GoldenPart:
    folder = GOOD if answer.type is None else f"{_DEFECTS}/{_type(answer.type)}"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.")[:120] or "picture"
    picture = f"{folder}/{stem}{path.suffix.lower()}"
    if picture in taken:
        picture = f"{folder}/{stem}-{digest[7:15]}{path.suffix.lower()}"
    return GoldenPart(
        picture=picture,
        sha256=digest,
        type=answer.type,
        region=answer.region,
        named=answer.named,
        station=answer.station,
    )


def _type(name: str) -> str:
    try:
        return plain(name)
    except ValueError as error:
        raise GoldenError(f"{name!r} is no name of a defect type: {error}") from error
