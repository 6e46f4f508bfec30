"""What a model is made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from neverblink.trainer.datasets.images import DatasetError, LabelledImage
from neverblink.trainer.datasets.yaml_file import read_yaml
from neverblink.vision.artifact_manifest import Plain
from neverblink.vision.colour import Clahe
from neverblink.vision.errors import VisionError, reason_of
from neverblink.vision.network_names import DEFAULT_MODEL, EngineName
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.tiling import TilePlan

_GIB = 1024**3
_PROGRAM_GIB = 1.0
"""What the program, its network and a batch need besides features: 0.7 GiB with ResNet-18 at 256 px, and some air."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a model is made with; the defaults are what `neverblink fit` uses."""

    product: Plain
    name: Plain
    version: Plain = "1"
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    levels: tuple[int, ...] | None = None
    """Feature levels; None: what suits the network."""
    dimension: int | None = None
    """Numbers per patch after pooling, 1024 in the official code; None: the channels of all levels."""
    size: int = 256
    crop: int | None = None
    keep_aspect: bool = False
    """Pad the images to a square instead of stretching them; their aspect is the first training image's."""
    white_balance: tuple[float, float, float] | None = None
    clahe: Clahe | None = None
    tiling: TilePlan | None = None
    region: RegionOfInterest | Path | None = None
    """What is judged: polygons, or a mask image over the camera's image."""
    brightness: tuple[float, ...] = (1.0,)
    """Each training image goes into the bank once a factor."""
    ratio: float = 0.01
    projection: int = 64
    """On magnetic tiles 64 dimensions give the AUROC of all 152 (0.872, 0.873) in 0.4 of the coreset's time."""
    neighbours: int = 0
    top: int = 1
    """An image's score is the mean of so many highest patches; 1 is the paper's maximum."""
    folds: int = 5
    false_reject: float | None = None
    seed: int = 0
    starts: int = 1
    """Random starting points of the coreset; the official code has 10."""
    memory_gib: float = 4.0
    """What the job may hold in memory; features beyond that go to a file in `scratch`."""
    scratch: Path | None = None
    device: str = "cpu"
    engine: EngineName | Literal["auto"] = "auto"
    labelled: Sequence[LabelledImage] = ()
    """Images that bf16 and int8 are tried on; without them only the scores of good images are compared."""

    @property
    def room(self) -> int:
        """Return the bytes left for features. Raises DatasetError when the limit does not even hold the program."""
        if self.memory_gib < _PROGRAM_GIB + 0.25:
            raise DatasetError(
                f"{self.memory_gib:g} GiB of memory do not hold the network and a batch; allow {_PROGRAM_GIB + 0.25:g}"
            )
        return int((self.memory_gib - _PROGRAM_GIB) * _GIB)


class SettingsError(VisionError):
    """A setting of a fit that cannot be used; the message names it."""


def settings_from(values: Mapping[str, object]) -> FitSettings:
    """Check settings that come from outside: a command line, a file of configurations.

    A `region` that names a YAML file is read as polygons. Raises SettingsError in one sentence.
    """
    region = values.get("region")
    if isinstance(region, Path) and region.suffix.lower() in {".yaml", ".yml", ".json"}:
        values = {**values, "region": read_yaml(region, "region", SettingsError)}
    try:
        return TypeAdapter(FitSettings).validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        given = f" (it is {fault['input']!r})" if isinstance(fault["input"], str | int | float) else ""
        # A union's branch is named in brackets, which says nothing to a person.
        place = ".".join(str(part) for part in fault["loc"] if "[" not in str(part))
        raise SettingsError(f"{place}: {reason_of(fault)}{given}") from error
