"""What the jobs of a new product came to, as far as its page shows it. Jobs only ever add fields."""

from pydantic import BaseModel, ConfigDict, ValidationError

from neverblink.console.runs.book import Run
from neverblink.console.runs.run_folder import RunFolderError


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SeenPicture(_Told):
    """A picture that can be used, as `look-over` tells it."""

    path: str
    picture: str | None = None
    odd: tuple[str, ...] = ()
    copy_of: str | None = None
    near: bool = False


class UnusablePicture(_Told):
    """A picture that cannot be used."""

    path: str
    reason: str


class PlacedPart(_Told):
    """Where the part lies in a picture: its middle in pixels, and by how many degrees it is turned from upright."""

    path: str
    x: float
    y: float
    angle: float
    fit: float
    lies: str | None = None
    upright: str | None = None


class LostPart(_Told):
    """A picture in which no part is found."""

    path: str
    why: str
    picture: str | None = None


class PartsLie(_Told):
    """How parts lie, and what alignment makes of it."""

    asked: str
    called_for: bool = False
    spread: str | None = None
    kind: str | None = None
    told: str | None = None
    refused: str | None = None
    found: int = 0
    not_found: int = 0
    width: int | None = None
    height: int | None = None
    examples: tuple[PlacedPart, ...] = ()
    lost: tuple[LostPart, ...] = ()
    upright: str | None = None
    alignment: str | None = None


class LabelledPicture(_Told):
    """A picture of a defective part."""

    path: str
    defect: str
    picture: str


class LookedOver(_Told):
    """What `look-over` came to."""

    layout: str
    pictures: tuple[SeenPicture, ...]
    unusable: tuple[UnusablePicture, ...] = ()
    witnesses: int
    false_reject: float | None = None
    defects: dict[str, int] = {}
    width: int
    height: int
    sample: str | None = None
    labelled: tuple[LabelledPicture, ...] = ()
    parts: PartsLie | None = None
    taken: int | None = None
    frames: int | None = None
    notes: tuple[str, ...] = ()


class Suspicious(_Told):
    """A picture that stands out among those that were learnt."""

    path: str
    score: float
    threshold_without: float | None = None
    left_out: bool = False
    picture: str | None = None
    heat: str | None = None


class Least(_Told):
    """One of the tried defects that stand out least."""

    name: str
    kind: str
    of_threshold: float
    picture: str
    heat: str


class PromiseRow(_Told):
    """A promise, and what it does to what was tried."""

    promise: float
    of_threshold: float
    in_force: bool
    found: int
    defective: int
    recall: float
    recall_interval: tuple[float, float]


class Promises(_Told):
    """What promises cost, the tightest first. `defects` says whether they are real or drawn."""

    defects: str
    rows: tuple[PromiseRow, ...]


class Model(_Told):
    """What `fit` or `calibrate` came to."""

    artifact: str
    version: str
    product: str
    digest: str
    threshold: float
    promise: str
    images: int | None = None
    suspicious: tuple[Suspicious, ...] = ()
    least: tuple[Least, ...] = ()
    promises: Promises | None = None
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Judged(_Told):
    """What `qualify` came to."""

    passed: bool
    refused: str | None = None
    artifact: str
    good: int
    good_rejected: int
    defects: int
    escaped: int


class TriedDefect(_Told):
    """A defect that was found."""

    type: str
    taxonomy: str | None = None
    region: str | None = None
    source: str | None = None


class TriedRegion(_Told):
    """What a named region says."""

    name: str
    kind: str
    score: float
    threshold: float
    ratio: float
    state: str | None = None


class TriedPicture(_Told):
    """A picture that a model was tried on."""

    path: str
    picture: str | None = None
    decision: str
    reason: str | None = None
    detail: str | None = None
    unsure: bool = False
    ratio: float | None = None
    defects: tuple[TriedDefect, ...] = ()
    regions: tuple[TriedRegion, ...] = ()


class Tried(_Told):
    """What `inspect` came to."""

    artifact: str
    pictures: tuple[TriedPicture, ...]


def told(run: Run | None, kind: type[_Told]) -> object | None:
    """Return what a run that was done came to, None where there is nothing to tell."""
    if run is None or run.state.status not in {"done", "bad"}:
        return None
    try:
        result = run.result()
        return None if result is None else kind.model_validate(result)
    except (RunFolderError, ValidationError):
        return None  # damaged, or of another job: the page offers the step again


def looked_over(run: Run | None) -> LookedOver | None:
    """Return what looking pictures over came to."""
    found = told(run, LookedOver)
    return found if isinstance(found, LookedOver) else None


def model_of(run: Run | None) -> Model | None:
    """Return the model that a run made."""
    found = told(run, Model)
    return found if isinstance(found, Model) else None


def tried_of(run: Run | None) -> Tried | None:
    """Return what came of trying a model."""
    found = told(run, Tried)
    return found if isinstance(found, Tried) else None


def judged_of(run: Run | None) -> Judged | None:
    """Return what came of the golden set."""
    found = told(run, Judged)
    return found if isinstance(found, Judged) else None
