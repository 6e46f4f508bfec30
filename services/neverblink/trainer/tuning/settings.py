"""What `neverblink tune` is asked to do. Nothing heavy is imported."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from neverblink.job_life.settings import JobSettings, Spelling, unit
from neverblink.trainer.datasets.settings import PictureSettings
from neverblink.trainer.fitting.settings import FitSettings, ModelSettings
from neverblink.vision.plain_name import Plain, product_of

_TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")

LONGEST_S = 7 * 24 * 3600


def seconds_of(text: str) -> int:
    """Return the seconds that `10m`, `1h30m`, `90s` or `90` mean. Raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in (found.groups() if found and text.strip() else (0, 0, 0)))
    total = 3600 * hours + 60 * minutes + seconds
    if not 1 <= total <= LONGEST_S:
        raise ValueError("a time is written as 10m, 1h30m or 90s, and is a week at most")
    return total


def _checked(text: str) -> str:
    seconds_of(text)
    return text


def _text(value: object) -> object:
    # A number alone is seconds, in a file too.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Budget = Annotated[str, BeforeValidator(_text), AfterValidator(_checked)]


class _Tried(JobSettings):
    images: Annotated[Path, Spelling(argument=True)] = Field(
        description="Folder of good parts, best with test/DEFECT folders beside them: MVTec layout."
    )
    product: Plain | None = Field(default=None, description="Name of the product. Default: the folder's.")
    out: Annotated[Path | None, Spelling(short="-o")] = Field(
        default=None,
        description="Folder for the settings file, the report and what was tried. Default: tuning/PRODUCT.",
    )
    budget: Annotated[Budget, Spelling(metavar="TIME")] = Field(
        default="10m", description="Time to try in: 10m, 1h30m, 90s. Trials of an interrupted run count."
    )
    max_ms: float | None = Field(
        default=None,
        gt=0,
        description="Take nothing that needs more time an image on this machine, without decoding.",
        json_schema_extra=unit("ms"),
    )
    network: Annotated[tuple[str, ...], Spelling(metavar="NAME[=WEIGHTS]")] = Field(
        default=(), max_length=16, description="Try this network too, its weights from a file; may be given again."
    )
    exclude: Annotated[tuple[str, ...], Spelling(metavar="FILE|GLOB")] = Field(
        default=(),
        max_length=10_000,
        description="Leave this picture out, or those that a pattern such as 'lot7/*' names.",
    )
    replace: bool = Field(default=False, description="Forget what was tried in the folder, and begin anew.")


class TuneJob(ModelSettings, PictureSettings, _Tried):
    """What `neverblink tune` is asked to do. A setting of the model that is given stays as it is given."""

    @property
    def name(self) -> str:
        """Return the product's name."""
        return self.product or product_of(self.images)

    @property
    def folder(self) -> Path:
        """Return where everything goes."""
        return self.out or Path("tuning") / self.name

    @property
    def budget_s(self) -> int:
        """Return the budget in seconds."""
        return seconds_of(self.budget)

    @property
    def fixed(self) -> frozenset[str]:
        """Return the settings of the model that were given: they are not varied."""
        return frozenset(self.model_fields_set & ModelSettings.model_fields.keys())

    @property
    def default(self) -> FitSettings:
        """Return what is tried first: a fit's defaults, and what was given instead of them."""
        values = {name: getattr(self, name) for name in ModelSettings.model_fields}
        return FitSettings(product=self.name, name=self.name, **values)
