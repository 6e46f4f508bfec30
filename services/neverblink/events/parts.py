"""Values that several events share: decisions, reasons, times, defects."""

import statistics
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

import orjson
from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, StringConstraints, model_validator

from neverblink.events.envelope import Part, rfc3339

MAX_IDENTITY_BYTES = 2048
"""What an identity may take as JSON: it travels with every frame, as one header."""

_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the instant has no date in UTC") from error
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError("the instant must lie in the years 2 to 9998: next to the calendar's ends no time zone fits")
    return moment


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
"""An instant with a time zone, kept in UTC, written as RFC 3339 with microseconds; the years 2 to 9998."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""The name of a line, station or product: letters, digits, dot, underscore, hyphen; at most 64."""


class Decision(StrEnum):
    """What is decided about a part. Only `pass` releases it."""

    PASS = "pass"  # noqa: S105
    REJECT = "reject"
    UNSCORED = "unscored"


class Reason(StrEnum):
    """Why a frame was rejected or left unscored. Readers must accept words they do not know."""

    ANOMALY = "anomaly"
    DEFECT = "defect"
    LATE = "late"
    NO_IMAGE = "no-image"
    CORRUPT_IMAGE = "corrupt-image"
    IMAGE_TOO_LARGE = "image-too-large"
    WRONG_TYPE = "wrong-type"
    TOO_DARK = "too-dark"
    SATURATED = "saturated"
    BLURRED = "blurred"
    LOW_CONTRAST = "low-contrast"
    FROZEN = "frozen"
    WRONG_SIZE = "wrong-size"
    NOT_FOUND = "not-found"
    NO_MODEL = "no-model"
    WRONG_PRODUCT = "wrong-product"
    OBJECT_MISSING = "object-missing"
    DIGEST_MISMATCH = "digest-mismatch"
    BAD_EVENT = "bad-event"
    OVERLOAD = "overload"
    BROKER_AWAY = "broker-away"
    STORE_AWAY = "store-away"
    SCORER_ERROR = "scorer-error"


class Tracking(Part):
    """How the PLC knows the part."""

    epoch: int = Field(ge=0, le=0xFFFF, description="The PLC's Epoch when the part was triggered.")
    number: int = Field(ge=0, le=0xFFFFFFFF, description="The PLC's LastTriggered for this part.")


# What a PLC, an MES or a person calls something. Control characters are kept out here, once: a database refuses some of
# them, and a terminal obeys others.
Label = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
Reference = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="The reference part that a challenge is: its id among the plant's reference parts."),
]
_AttributeText = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Identity(Part):
    """What the plant calls a part and what it belongs to; at most 2 KiB as JSON. What nobody said is left out."""

    order: Label | None = Field(default=None, description="The production order.")
    lot: Label | None = Field(default=None, description="The lot or batch.")
    serial: Label | None = Field(default=None, description="The part's own serial number.")
    recipe: Label | None = Field(default=None, description="The recipe that the line runs.")
    carrier: Label | None = Field(default=None, description="The pallet, tray or carrier that the part lies on.")
    attributes: dict[AttributeName, _AttributeText] = Field(
        default_factory=dict, max_length=16, description="Whatever else the plant wants to find the part by."
    )

    @model_validator(mode="after")
    def _fits_one_header(self) -> Self:
        size = len(self.as_json())
        if size > MAX_IDENTITY_BYTES:
            raise ValueError(f"an identity of {size} bytes is over the bound of {MAX_IDENTITY_BYTES}")
        return self

    def as_json(self) -> bytes:
        """Return the identity as UTF-8 JSON, without what nobody said."""
        return orjson.dumps(self.model_dump(mode="json", exclude_defaults=True))

    def __hash__(self) -> int:
        return hash((self.order, self.lot, self.serial, self.recipe, self.carrier, frozenset(self.attributes.items())))

    def __bool__(self) -> bool:
        """Say whether anything is known at all."""
        return self != Identity()


class Quality(Part):
    """What the image itself looks like, before any model."""

    brightness: float = Field(ge=0, le=1, description="Mean luma, 0 black to 1 white.")
    contrast: float = Field(ge=0, le=1, description="Standard deviation of luma, as a share of full scale.")
    sharpness: float = Field(ge=0, description="Variance of the Laplacian of luma; compare only within a station.")
    saturation: float = Field(ge=0, le=1, description="Share of pixels clipped at full scale.")


class BoundingBox(Part):
    """An axis-aligned box in pixels of the original image."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Defect(Part):
    """One region that does not look right."""

    type: str = Field(
        description="Defect type; `anomaly` when only PatchCore saw it, `unknown` when the classifier knows no such"
        " type."
    )
    taxonomy: str | None = Field(
        default=None, description="surface, structural, dimensional, foreign-object or assembly."
    )
    bbox: BoundingBox
    area_px: int = Field(ge=1)
    area_mm2: float | None = Field(default=None, ge=0, description="Only where the station has a scale.")
    confidence: float | None = Field(default=None, ge=0, le=1, description="How sure the model is of the type.")
    peak: float | None = Field(default=None, ge=0, description="Highest anomaly value in the region.")
    source: str | None = Field(
        default=None, description="What gave the type: patchcore, unet, classifier, or presence of a named region."
    )
    seen_by: tuple[str, ...] = Field(default=(), description="Every model that marked the region.")
    region: str | None = Field(default=None, max_length=64, description="The named region that it lies in.")


class RegionScore(Part):
    """What one named region of a part says. All of a verdict's are in its model's unit, with one threshold."""

    name: str = Field(min_length=1, max_length=64, description="A person's; `rest` is what no polygon covers.")
    kind: str = Field(max_length=32, description="judged, or presence: something must be there.")
    score: float = Field(ge=0, description="In the unit of the verdict's score, which is the highest of them.")
    threshold: float = Field(gt=0, description="The verdict's.")
    ratio: float = Field(ge=0, description="score / threshold.")
    state: str | None = Field(
        default=None, max_length=32, description="Of a presence check: present, absent, wrong or turned."
    )


class ArtifactRef(Part):
    """Which model: its content digest is its identity."""

    name: str
    version: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


CALIBRATED_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


class CalibratedScores(Part):
    """What the good images of a model's calibration scored, those that pass, at the threshold in force."""

    count: int = Field(ge=2, description="How many images pass.")
    quantiles: tuple[float, ...] = Field(
        min_length=len(CALIBRATED_SHARES),
        max_length=len(CALIBRATED_SHARES),
        description="score / threshold that 5, 25, 50, 75 and 95 % of them do not exceed.",
    )

    @classmethod
    def of(cls, scores: Iterable[float], threshold: float, witnesses: int | None = None) -> Self | None:
        """Return what is said of these scores, None when fewer than two pass.

        Images of one item are not as many `witnesses` as they are: they count for at most so many.
        """
        ratios = [score / threshold for score in scores if score <= threshold]
        if len(ratios) < 2:
            return None
        steps = statistics.quantiles(ratios, n=20, method="inclusive")
        return cls(
            count=len(ratios) if witnesses is None else max(2, min(len(ratios), witnesses)),
            quantiles=tuple(round(steps[round(20 * share) - 1], 4) for share in CALIBRATED_SHARES),
        )


class Times(Part):
    """When a frame reached each stage."""

    captured: Instant
    published: Instant | None = None
    received: Instant | None = None
    batched: Instant | None = None
    scored: Instant | None = None
    emitted: Instant | None = None
