"""Pictures that an engineer chooses: examples of a presence check, and those that a model is tried on."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neverblink.console.onboarding.named import EXAMPLES, PLACE, STATES, pictures_in, presence_of
from neverblink.console.onboarding.products import NewProduct, OnboardingError
from neverblink.console.onboarding.sources import plain_path
from neverblink.console.onboarding.told import LookedOver
from neverblink.vision.named_regions.spec import RegionsFile

TRIES: Final = "tries"
MOST: Final = 200
"""Pictures in one place: few examples are enough, and a person looks at what was tried."""

_OFFERED: Final = 24
_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"), (b"BM", "image/bmp"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """A picture that may be chosen: its path below the product's pictures, its small one, what it shows."""

    number: int
    path: str
    picture: str | None
    defect: str | None = None


def offers(product: NewProduct, looked: LookedOver | None) -> list[Offer]:
    """Return what there is to choose from: labelled defects, odd pictures and those that are left out, some others."""
    if looked is None:
        return []
    out = set(product.left_out)
    found: list[tuple[str, str | None, str | None]] = [(one.path, one.picture, one.defect) for one in looked.labelled]
    odd = [one for one in looked.pictures if one.odd or one.path in out]
    found += [(one.path, one.picture, None) for one in odd]
    usual = [one for one in looked.pictures if not one.odd and one.path not in out and one.copy_of is None]
    found += [(one.path, one.picture, None) for one in usual[:: max(1, len(usual) // _OFFERED)][:_OFFERED]]
    return [Offer(number, *one) for number, one in enumerate(found)]


def place_of(folder: Path, regions: RegionsFile | None, into: str) -> Path:
    """Return the folder that a form or an address names: `tries`, or `REGION/STATE` of a presence check.

    Raises OnboardingError.
    """
    if into == TRIES:
        return folder / TRIES
    name, _, state = into.partition("/")
    if state in STATES and name in {one.name for one in presence_of(regions)}:
        return folder / PLACE / EXAMPLES / name / state
    raise OnboardingError("there is no presence check of that name: load the page again")


def check_room(place: Path, more: int) -> None:
    """Raise OnboardingError when so many more pictures are too many for a place."""
    if len(pictures_in(place)) + more > MOST:
        raise OnboardingError("%(most)s pictures are the most in one place: take some away first", most=MOST)


def take(product: NewProduct, chosen: Sequence[Offer], place: Path, room: int) -> None:
    """Copy pictures of the product to a place; `room` are the bytes that there is room for. Raises OnboardingError."""
    check_room(place, len(chosen))
    base = Path(product.folder or "/nowhere").resolve()
    try:
        place.mkdir(parents=True, mode=0o700, exist_ok=True)
        for one in chosen:
            source = (base / one.path).resolve()
            if not source.is_relative_to(base) or not source.is_file():
                raise OnboardingError("the picture %(name)s is no longer there", name=one.path[-100:])
            room -= source.stat().st_size
            if room < 0:
                raise OnboardingError(
                    "there is no more room for pictures of new products (console.onboarding.disk_gib, or the disk):"
                    " remove some"
                )
            shutil.copyfile(source, place / _name(one.path))
    except OSError as error:
        raise OnboardingError("the pictures cannot be copied: %(reason)s", reason=error.strerror or error) from error


def remove(place: Path, names: Sequence[str]) -> None:
    """Delete pictures of a place; names of others are passed over. Raises OnboardingError."""
    try:
        for name in set(names) & set(pictures_in(place)):
            (place / name).unlink(missing_ok=True)
    except OSError as error:
        raise OnboardingError("the pictures cannot be deleted: %(reason)s", reason=error.strerror or error) from error


def shown_as(content: bytes) -> str | None:
    """Return the kind of picture that browsers show, by how its file begins; None for others."""
    return next((kind for sign, kind in _KINDS if content.startswith(sign)), None)


def _name(path: str) -> str:
    """Return a plain name that keeps the folders apart: two pictures may be called alike."""
    plain = plain_path(path)
    stem = "picture.png" if plain is None else plain.name
    return f"{hashlib.sha256(path.encode()).hexdigest()[:8]}-{stem[-80:]}"
