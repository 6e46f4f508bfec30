"""What an inspection goes through: images one after another, in an order that is the same every time."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import orjson

from neverblink.storage.listing import files_in
from neverblink.trainer.datasets.labelled_image import PICTURES
from neverblink.trainer.datasets.mask_search import without_mask_folders
from neverblink.vision.decode import SUFFIXES, Image, read_image
from neverblink.vision.errors import VisionError


class InspectionError(VisionError):
    """An inspection that cannot be made, or gone on with; the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an image comes from. `partition` and `offset` are those of its frame, None for a file."""

    name: str
    part: str
    line: str | None = None
    station: str | None = None
    product: str | None = None
    captured: datetime | None = None
    partition: int | None = None
    offset: int | None = None


Frozen = dict[str, object]
"""What the first run of an inspection found out about its inputs, as plain values; every later run goes by it."""


class UnreadableError(VisionError):
    """An input that is no usable image; `reason` is the word that its row carries."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Input:
    """One image to come. `read` gives its (H, W, 3) uint8 RGB pixels and raises UnreadableError or ImageError.

    `position` is how far the inputs are gone through once this one is done; `trace` came with its frame, None where it
    is no frame of a part.
    """

    origin: Origin
    position: int
    read: Callable[[], Image]
    trace: Mapping[str, str] | None = None


class Inputs(Protocol):
    """Images in an order that is the same every time."""

    @property
    def subject(self) -> str:
        """What these are, for people."""
        ...

    @property
    def identity(self) -> dict[str, object]:
        """What makes them these inputs and no others, as plain values."""
        ...

    @property
    def total(self) -> int:
        """The last input's position."""
        ...

    def freeze(self, frozen: Frozen | None) -> Frozen:
        """Fix what can change between two runs, or take it over from the first run. Comes before all that follows."""
        ...

    def go_through(self, after: Origin | None = None, parts: Collection[str] | None = None) -> Iterator[Input]:
        """Yield the inputs that come after one that is done, of all parts or of these."""
        ...

    def again(self, origins: Collection[Origin]) -> Iterator[Input]:
        """Yield these inputs once more, in any order, without those that are gone."""
        ...

    def nothing(self) -> str:
        """Return the sentence for a person whose inputs turned out to be none."""
        ...


class FolderInputs:
    """The images of a folder and its sub-folders, in order of their paths; each shows a part of its own.

    `station` (LINE/STATION) is where they come from and `product` what they show, where that is known.
    """

    def __init__(
        self, folder: Path, *, station: str | None = None, product: str | None = None, depth: int | None = None
    ) -> None:
        """`depth` are the bits that values of 16-bit pictures use. Raises InspectionError when there are none."""
        if not folder.is_dir():
            raise InspectionError(f"there is no folder {folder}")
        self._folder = folder
        self.masks_left_out = 0
        # Pictures that nobody here can decode, and links that lead nowhere, become rows that say so.
        found = files_in(folder, PICTURES, deep=True)
        paths = without_mask_folders(folder, found)
        if not paths:
            raise InspectionError(self.nothing())
        self.masks_left_out = len(found) - len(paths)
        self._names = sorted(path.relative_to(folder).as_posix() for path in paths)
        self._product = product
        self._depth = depth
        self._line: str | None = None
        self._station: str | None = None
        if station is not None:
            self._line, _, self._station = station.partition("/")

    @property
    def subject(self) -> str:
        """Return the folder's name."""
        return self._folder.resolve().name

    @property
    def identity(self) -> dict[str, object]:
        """Return the folder, and every file's size and time: an image that was exchanged makes another inspection."""
        states = [_state(self._folder / name) for name in self._names]
        files = [(name, state.st_size, state.st_mtime_ns) for name, state in zip(self._names, states, strict=True)]
        stated = {} if self._depth is None else {"depth": self._depth}
        return {
            "folder": str(self._folder.resolve()),
            "files": hashlib.sha256(orjson.dumps(files)).hexdigest(),
            **stated,
        }

    @property
    def total(self) -> int:
        """Return how many images there are."""
        return len(self._names)

    def freeze(self, frozen: Frozen | None) -> Frozen:
        """Nothing can change: the files' sizes and times are part of the identity."""
        return frozen or {}

    def go_through(self, after: Origin | None = None, parts: Collection[str] | None = None) -> Iterator[Input]:
        """Yield the images that come after one that is done, all or only these parts."""
        for position, name in enumerate(self._names, start=1):
            if (after is None or name > after.name) and (parts is None or name in parts):
                yield self._input(name, position)

    def again(self, origins: Collection[Origin]) -> Iterator[Input]:
        """Yield these images once more."""
        for origin in origins:
            yield self._input(origin.name, 0)

    def nothing(self) -> str:
        """Return the sentence for a folder without images."""
        return f"{self._folder} and its sub-folders have no images ({', '.join(sorted(SUFFIXES))})"

    def _input(self, name: str, position: int) -> Input:
        origin = Origin(name, name, line=self._line, station=self._station, product=self._product)
        return Input(origin, position, partial(read_image, self._folder / name, depth=self._depth))


def _state(path: Path) -> os.stat_result:
    """Return a file's state, a link's own where it leads nowhere."""
    try:
        return path.stat()
    except FileNotFoundError:
        return path.lstat()
