"""The reference parts of a site: known parts that are sent down the line, and what is known of each."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from neverblink.events.parts import Label, Name, Reference
from neverblink.plant.parsing import read_section
from neverblink.plant.section import PlantError, Section, suggestion, unique

GOOD = "good"

_DefectType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]


def _as_answer(value: Any) -> Any:
    """A single type may be written without brackets."""
    return (value,) if isinstance(value, str) and value != GOOD else value


class ReferencePart(Section):
    """A part whose answer is known: a defective one must be rejected, a good one must pass."""

    id: Reference = Field(description="What the part is called.")
    product: Name = Field(description="Which product it is one of.")
    answer: Annotated[
        Literal["good"] | Annotated[tuple[_DefectType, ...], Field(min_length=1, max_length=16)],
        BeforeValidator(_as_answer),
    ] = Field(description="`good`, or the types of its defects.")
    pictures: tuple[Path, ...] = Field(
        default=(), max_length=16, description="Pictures of it, relative to this file, so that people know which it is."
    )
    serial: Label | None = Field(
        default=None, description="Its own serial number: where the line reads it, the part needs no announcement."
    )
    note: str | None = Field(default=None, max_length=500, description="Whatever people should know of it.")

    @property
    def is_good(self) -> bool:
        """Say whether it must pass."""
        return self.answer == GOOD

    @property
    def in_words(self) -> str:
        """Return the known answer as people say it: `good`, or its defects."""
        return self.answer if isinstance(self.answer, str) else ", ".join(self.answer)


class References(Section):
    """All reference parts of a site, each once."""

    references: tuple[ReferencePart, ...] = Field(
        description="The reference parts, each with its answer.", default=(), max_length=1000
    )

    @model_validator(mode="after")
    def _each_once(self) -> "References":
        unique("reference part", [one.id for one in self.references], "references", "id")
        unique("serial", [one.serial for one in self.references], "references", "serial")
        return self

    def get(self, name: str) -> ReferencePart | None:
        """Return the part of that id, None where there is none."""
        return next((one for one in self.references if one.id == name), None)

    def named(self, name: str) -> ReferencePart:
        """Return the part of that id. Raises PlantError when there is none."""
        found = self.get(name)
        if found is None:
            known = [one.id for one in self.references]
            raise PlantError(
                f"there is no reference part {name!r}{suggestion(name, known)}; `neverblink challenge add` adds one"
            )
        return found


def load_references(path: Path | None) -> References:
    """Read the site's reference parts: none where there is no file. Raises PlantError with every fault and its place.

    Paths of pictures come as seen from the file.
    """
    if path is None or not path.exists():
        return References()
    found = read_section(path, References, "reference")
    folder = path.parent.resolve()
    parts = (
        one.model_copy(update={"pictures": tuple(folder / picture for picture in one.pictures)})
        for one in found.references
    )
    return References.model_construct(references=tuple(parts))


class ReferenceFile:
    """The site's reference parts as their file says now; while it has mistakes, as it said before.

    For one caller at a time.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._known = References()
        self.fault: str | None = None
        """Why the file's present text cannot be used."""

    def read(self) -> References:
        """Return the reference parts, read anew where the file has changed."""
        try:
            state = None if self._path is None else self._path.stat()
        except OSError:
            state = None
        seen = None if state is None else (state.st_mtime_ns, state.st_size)
        if seen != self._seen:
            self._seen = seen
            try:
                self._known, self.fault = load_references(self._path), None
            except PlantError as error:
                self.fault = str(error)
        return self._known
