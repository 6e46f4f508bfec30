"""New products on their way to a line: each a folder of the console's work, with its pictures and what was decided."""

import re
import secrets
import shutil
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neverblink.console.access.said import SaidError
from neverblink.console.runs.run_folder import RunFolderError, read_json, write_json
from neverblink.storage.whole_file import UnwritableError
from neverblink.vision.alignment.spec import Align
from neverblink.vision.plain_name import plain
from neverblink.vision.region_of_interest import RegionOfInterest

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
MOST: Final = 200
MOST_LEFT_OUT: Final = 1000
_STATE = "product.json"

Source = Literal["folder", "upload", "line"]
DrawnOn = Literal["camera", "upright"]
"""Of which picture regions are: the camera's, or that of the part turned upright."""


class OnboardingError(SaidError):
    """A step of a new product that cannot be taken; the message says why and what would do."""


class NewProduct(BaseModel):
    """What is known of a new product so far.

    `folder` are its pictures, on this machine or uploaded; `left_out` are pictures by their paths below it. `looked`,
    `models` and `golden` are runs: the last that looked them over, those that made a model, the last that judged it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    product: str
    line: str
    made: datetime
    made_by: str
    source: Source | None = None
    folder: str | None = None
    group_by: str | None = None
    left_out: tuple[str, ...] = Field(default=(), max_length=MOST_LEFT_OUT)
    align: Align = "none"
    """How parts that lie anyhow are found. Products that were begun before there was a choice are not aligned."""
    region: RegionOfInterest | None = None
    regions: str | None = None
    """File of its named regions."""
    drawn_on: DrawnOn | None = None
    looked: str | None = None
    models: tuple[str, ...] = ()
    golden: str | None = None
    tried: str | None = None
    """The run that tried a model on chosen pictures last."""
    active: str | None = None
    """Digest of the model that was activated last from here."""
    active_at: datetime | None = None

    @property
    def draws(self) -> bool:
        """Say whether anything is drawn on its pictures."""
        return self.region is not None or self.regions is not None


class NewProducts:
    """The folder `new-products` of the console's work. Its methods block; they may be called from any thread."""

    def __init__(self, work: Path) -> None:
        self.place = work / "new-products"
        self._lock = threading.Lock()

    def folder(self, name: str) -> Path:
        """Return a new product's folder."""
        return self.place / name

    def pictures(self, name: str) -> Path:
        """Return where its uploaded and taken pictures go."""
        return self.place / name / "pictures"

    def make(self, product: str, line: str, who: str, now: datetime) -> NewProduct:
        """Begin with a new product. Raises OnboardingError."""
        try:
            plain(product)
        except ValueError as error:
            raise OnboardingError(
                "a product's name is made of letters, digits, dots, dashes and underscores, 64 at most, the first no"
                " sign"
            ) from error
        with self._lock:
            if len(self._names()) >= MOST:
                raise OnboardingError(
                    "there are %(most)s new products, as many as there may be: remove some", most=MOST
                )
            name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
            made = NewProduct(id=name, product=product, line=line, made=now, made_by=who, align="auto")
            try:
                self.pictures(name).mkdir(parents=True, mode=0o700)
                write_json(self.place / name / _STATE, made)
            except OSError as error:
                raise _unwritable(self.place, error) from error
        return made

    def find(self, name: str) -> NewProduct | None:
        """Return a new product, None where there is none (any more)."""
        if not ID.fullmatch(name):
            return None
        try:
            found = read_json(self.place / name / _STATE)
            return None if found is None else NewProduct.model_validate(found)
        except (RunFolderError, ValidationError):
            return None

    def newest(self) -> list[NewProduct]:
        """Return all, the newest first."""
        return [found for name in reversed(self._names()) if (found := self.find(name)) is not None]

    def change(self, name: str, change: Callable[[NewProduct], dict[str, object]]) -> NewProduct:
        """Set what `change` returns of a new product, whoever else changes it. Raises OnboardingError."""
        with self._lock:
            before = self.find(name)
            if before is None:
                raise OnboardingError("this new product is no longer there")
            try:
                after = NewProduct.model_validate({**dict(before), **change(before)})
                write_json(self.place / name / _STATE, after)
            except UnwritableError as error:
                raise _unwritable(self.place, error) from error
        return after

    def remove(self, name: str) -> None:
        """Delete a new product with its uploaded pictures; models that were made stay. Raises OnboardingError."""
        with self._lock:
            try:
                shutil.rmtree(self.place / name)
            except OSError as error:
                raise _unwritable(self.place, error) from error

    def _names(self) -> list[str]:
        try:
            return sorted(one.name for one in self.place.iterdir() if ID.fullmatch(one.name))
        except FileNotFoundError:
            return []


def _unwritable(place: Path, error: OSError) -> OnboardingError:
    return OnboardingError(
        "the folder of new products %(folder)s cannot be written: %(reason)s",
        folder=place,
        reason=error.strerror or error,
    )
