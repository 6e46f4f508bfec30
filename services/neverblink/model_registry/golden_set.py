"""A product's golden set: which pictures it holds, what is known of each, and the digest of it all.

The pictures lie beside `golden.json`, which lists them with their digests. Whoever only asks which set is in force, as
a scorer does, reads that file alone.
"""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from neverblink.errors import NeverblinkError, reason_of
from neverblink.events import BoundingBox
from neverblink.events.parts import Instant, Name
from neverblink.plant import Plant
from neverblink.storage.file_root import FileRoot, FileRootError, shortened

GOLDEN: Final = "golden.json"
MAX_GOLDEN_BYTES: Final = 8 * 1024 * 1024
MAX_PARTS: Final = 10_000
MAX_PICTURE_BYTES: Final = 256 * 1024 * 1024

_EARLIER: Final = 200
"""Earlier states that a set remembers; a model that was judged by an older one is judged anew."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
_PICTURE = re.compile(r"^(good|defects/[A-Za-z0-9][A-Za-z0-9._-]{0,63})/[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")


class GoldenError(NeverblinkError, ValueError):
    """A golden set that cannot be used; the message says where it lies and what is wrong."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GoldenPart(_Kept):
    """One picture with its known answer. `picture` is its path in the set: `good/NAME`, or `defects/TYPE/NAME`."""

    picture: str = Field(max_length=300)
    sha256: Digest
    type: Name | None = Field(default=None, description="The known defect; null: a good part.")
    region: BoundingBox | None = Field(
        default=None, description="Where a defect must be found, pixels; null: anywhere."
    )
    named: bool = Field(default=False, description="A defect of that very type must be found.")
    station: str | None = Field(
        default=None, max_length=129, description="LINE/STATION that took it: its scale and depth; null: the product's."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not _PICTURE.match(self.picture):
            raise ValueError(f"{self.picture!r} is no path in a golden set: good/NAME or defects/TYPE/NAME")
        if self.picture.split("/")[:-1] != (["good"] if self.type is None else ["defects", self.type]):
            raise ValueError(f"{self.picture} lies in another folder than its answer, {self.type or 'good'}, says")
        if self.type is None and (self.region is not None or self.named):
            raise ValueError(f"{self.picture} is good: it has no region and no name of a defect")
        return self

    def answer(self) -> dict[str, Any]:
        """Return what is known, as it counts for the set's digest."""
        return self.model_dump(mode="json", exclude_defaults=True)


class EarlierSet(_Kept):
    """A state that the set had until an instant, and who changed it why."""

    digest: Digest
    until: Instant
    by: str = Field(max_length=128)
    why: str | None = Field(default=None, max_length=2000)


class GoldenSet(_Kept):
    """All of a product's golden parts. Its digest is that of product, pictures and answers."""

    version: Literal[1] = 1
    product: Name
    parts: tuple[GoldenPart, ...] = Field(default=(), max_length=MAX_PARTS)
    earlier: tuple[EarlierSet, ...] = Field(default=(), max_length=_EARLIER)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what in ("picture", "sha256"):
            found = [getattr(part, what) for part in self.parts]
            if len(set(found)) < len(found):
                twice = next(one for one in found if found.count(one) > 1)
                raise ValueError(f"{twice} is listed twice")
        return self

    @property
    def digest(self) -> str:
        """Return the identity of what is asked: the order of the parts and the set's history do not count."""
        answers = sorted((part.answer() for part in self.parts), key=lambda one: str(one["picture"]))
        says = orjson.dumps({"product": self.product, "parts": answers}, option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(says).hexdigest()}"

    @property
    def good(self) -> int:
        """Return how many parts are good."""
        return sum(part.type is None for part in self.parts)

    @property
    def defects(self) -> int:
        """Return how many parts are defective."""
        return len(self.parts) - self.good

    def was(self, digest: str) -> bool:
        """Say whether the set had that digest before."""
        return any(one.digest == digest for one in self.earlier)

    def changed(self, parts: tuple[GoldenPart, ...], by: str, why: str | None, at: datetime) -> "GoldenSet":
        """Return the set with other parts, which remembers what it was. Raises GoldenError."""
        then = EarlierSet(digest=self.digest, until=at, by=by, why=why)
        try:
            return GoldenSet(product=self.product, parts=parts, earlier=(*self.earlier, then)[-_EARLIER:])
        except ValidationError as error:
            raise GoldenError(f"the golden set of {self.product}: {reason_of(error.errors()[0])}") from error


class GoldenPlace:
    """Where a product's golden set lies. Its methods block, and raise GoldenError."""

    def __init__(self, product: str, location: str) -> None:
        self.product, self.location = product, location
        try:
            self._root = FileRoot.at(location)
        except FileRootError as error:
            raise GoldenError(f"the golden set of {product} at {location} cannot be used: {error}") from error

    @classmethod
    def of(cls, plant: Plant, product: str) -> Self:
        """Return where a product's set lies. Raises GoldenError when it has none."""
        location = plant.proof.golden.sets.get(product)
        if location is None:
            raise GoldenError(
                f"product {product} has no golden set: name its folder in the plant file, proof: golden: sets:"
                f" {{{product}: golden/{product}}}"
            )
        return cls(product, location)

    def read(self) -> GoldenSet:
        """Return the set, an empty one where nothing lies there yet."""
        content = self._content(GOLDEN, MAX_GOLDEN_BYTES)
        if content is None:
            return GoldenSet(product=self.product)
        return parsed(content, self.product, f"{self.location}/{GOLDEN}")

    def picture(self, part: GoldenPart) -> bytes:
        """Return a part's picture, which must be the one that was added."""
        content = self._content(part.picture, MAX_PICTURE_BYTES)
        if content is None:
            raise GoldenError(
                f"the golden set of {self.product} lists {part.picture}, which is not in {self.location}: put it back,"
                " or take it out with `neverblink golden remove`"
            )
        if (found := f"sha256:{hashlib.sha256(content).hexdigest()}") != part.sha256:
            raise GoldenError(
                f"the golden picture {part.picture} of {self.product} was altered in {self.location}: its digest is"
                f" {found[:19]}…, and it was added as {part.sha256[:19]}…"
            )
        return content

    def put(self, path: str, content: bytes) -> None:
        """Write a picture, or `golden.json`; it has its name when it is whole."""
        place = f"{self._root.path}/{path}"
        try:
            self._root.filesystem.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._root.write(place, content)
        except Exception as error:  # each kind of store raises errors of its own
            raise GoldenError(f"{path} cannot be written to {self.location}: {shortened(error)}") from error

    def remove(self, path: str) -> None:
        """Delete a picture; one that is gone is gone."""
        try:
            self._root.filesystem.rm_file(f"{self._root.path}/{path}")
        except FileNotFoundError:
            return
        except Exception as error:  # each kind of store raises errors of its own
            raise GoldenError(f"{path} cannot be deleted from {self.location}: {shortened(error)}") from error

    def _content(self, path: str, limit: int) -> bytes | None:
        place = f"{self._root.path}/{path}"
        try:
            self._root.filesystem.invalidate_cache(place.rpartition("/")[0])
            if self._root.filesystem.info(place).get("type") != "file":
                raise GoldenError(f"{self.location}/{path} is no regular file")
            with self._root.filesystem.open(place, "rb") as file:
                content = bytes(file.read(limit + 1))
        except FileNotFoundError:
            return None
        except GoldenError:
            raise
        except Exception as error:  # each kind of store raises errors of its own
            raise GoldenError(f"{self.location}/{path} cannot be read: {shortened(error)}") from error
        if len(content) > limit:
            raise GoldenError(f"{self.location}/{path} has more than {limit} bytes, the bound for it")
        return content


def parsed(content: bytes, product: str, shown: str) -> GoldenSet:
    """Return the set that a `golden.json` holds; messages name it as `shown`. Raises GoldenError."""
    try:
        found = GoldenSet.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise GoldenError(f"{shown} is not what `neverblink golden add` writes: {where}: {reason_of(fault)}") from error
    if found.product != product:
        raise GoldenError(f"{shown} is the golden set of product {found.product}, and the plant file says {product}")
    return found


def as_file(golden: GoldenSet) -> bytes:
    """Return the content of a set's `golden.json`."""
    return orjson.dumps(golden.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
