"""Which jobs a new product's steps are, and what its page shows of each. Nothing here waits for anybody."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

from neverblink.console.onboarding.canvas import kept_alignment
from neverblink.console.onboarding.named import PLACE
from neverblink.console.onboarding.products import MOST_LEFT_OUT, NewProduct, OnboardingError
from neverblink.console.onboarding.told import (
    Judged,
    LookedOver,
    LostPart,
    Model,
    SeenPicture,
    Tried,
    judged_of,
    looked_over,
    model_of,
    tried_of,
)
from neverblink.console.runs.book import Run, Runs, Wish
from neverblink.console.runs.run_folder import RunFolderError
from neverblink.vision.alignment.spec import Align
from neverblink.vision.calibration import tightest_promise
from neverblink.vision.region_of_interest import RegionOfInterest

SIZES: Final = (128, 192, 256, 320, 384, 512)
USUAL_SIZE: Final = 256
GROUPS: Final = ("", "folder", "minute")
PER_PAGE: Final = 120
GALLERY: Final = "gallery"
ALIGNS: Final[tuple[str, ...]] = get_args(Align)
_MOST_POINTS: Final = 200
_LONGEST_SETTINGS: Final = 200 * 1024


@dataclass(frozen=True, slots=True)
class Card:
    """A picture to be looked at: its number among those that were looked over, and whether it is left out."""

    number: int
    seen: SeenPicture
    out: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a new product is: the runs that were started for it, and what they came to.

    `stale` says that pictures or region changed since the model was made.
    """

    product: NewProduct
    running: Run | None
    look: Run | None
    looked: LookedOver | None
    made: Run | None
    fit: Run | None
    model: Model | None
    fitted: Model | None
    golden: Run | None
    judged: Judged | None
    stale: bool
    trial: Run | None = None
    tried: Tried | None = None

    @property
    def odd(self) -> list[Card]:
        """Return the pictures that a person should look at."""
        return [card for card in self.cards if card.seen.odd or card.seen.copy_of or card.out]

    @property
    def cards(self) -> list[Card]:
        """Return all pictures that can be used."""
        if self.looked is None:
            return []
        out = set(self.product.left_out)
        return [Card(number, seen, seen.path in out) for number, seen in enumerate(self.looked.pictures)]

    @property
    def stay(self) -> int:
        """Return how many pictures are learnt from."""
        return sum(not card.out for card in self.cards)

    @property
    def witnesses(self) -> int:
        """Return how many count in a promise, as far as it is known before a fit: copies count once."""
        if self.looked is None:
            return 0
        if self.product.group_by:
            return self.looked.witnesses
        return sum(not card.out and card.seen.copy_of is None for card in self.cards)

    @property
    def lost(self) -> list[LostPart]:
        """Return the pictures without a part that a line would leave unscored; what is left out is none of them."""
        if self.looked is None or self.looked.parts is None:
            return []
        out = set(self.product.left_out)
        return [one for one in self.looked.parts.lost if one.path not in out]

    @property
    def promise(self) -> float | None:
        """Return the tightest share of false rejects that so many may promise."""
        return tightest_promise(self.witnesses) if self.witnesses > 1 else None


def progress_of(product: NewProduct, runs: Runs) -> Progress:
    """Return how far a new product is; it reads files."""
    look = _found(runs, product.looked)
    made = [run for name in product.models if (run := runs.find(name)) is not None]
    models = [(run, model) for run in made if (model := model_of(run)) is not None]
    fits = [(run, model) for run, model in models if run.asked.job == "fit"]
    last, model = models[-1] if models else (made[-1] if made else None, None)
    golden = _found(runs, product.golden)
    judged = judged_of(golden)
    trial = _found(runs, product.tried)
    everything = [run for run in (look, golden, trial, *made) if run is not None]
    return Progress(
        product=product,
        running=next((run for run in everything if run.running), None),
        look=look,
        looked=looked_over(look),
        made=made[-1] if made else last,
        fit=fits[-1][0] if fits else None,
        model=model,
        fitted=fits[-1][1] if fits else None,
        golden=golden,
        judged=judged if judged is not None and model is not None and judged.artifact == model.digest else None,
        trial=trial,
        tried=tried_of(trial),
        stale=bool(fits) and _of(fits[-1][0]) != _learnt(product),
    )


def look_wish(product: NewProduct, folder: Path, /, **more: Any) -> Wish:
    """Return the job that looks the pictures over; `more` says which frames are taken first. Raises OnboardingError.

    `folder` is the product's own. Where something was drawn on an upright picture, parts stay as they were then.
    """
    settings = {
        "images": _images(product),
        "gallery": GALLERY,
        "group_by": product.group_by or None,
        # What is not aligned is looked at all the same: how parts lie is to be known.
        "align": "auto" if product.align == "none" else product.align,
        "apart": product.left_out,
        **({"alignment": str(kept_alignment(folder))} if product.drawn_on == "upright" else {}),
        **more,
    }
    return _wish("look-over", product, settings)


def fit_wish(product: NewProduct, folder: Path, out: Path, size: int, false_reject: float | None) -> Wish:
    """Return the job that makes a model; `folder` is the product's own, `out` the model's. Raises OnboardingError."""
    settings = {
        "images": _images(product),
        "product": product.product,
        "out": str(out),
        "model_version": f"{product.made:%Y%m%d}.{len(product.models) + 1}",
        "size": size,
        "false_reject": false_reject,
        "group_by": product.group_by or None,
        "skip_unusable": True,
        "gallery": GALLERY,
        "alignment": str(kept_alignment(folder)) if product.drawn_on == "upright" else None,
        **_learnt(product),
        "regions": None if product.regions is None else str(folder / PLACE / product.regions),
    }
    if sum(map(len, product.left_out)) + len(product.left_out) * len(settings["images"]) > _LONGEST_SETTINGS:
        raise OnboardingError("so many pictures are left out that it is simpler to take them out of the folder")
    return _wish("fit", product, {key: value for key, value in settings.items() if value is not None})


def threshold_wish(product: NewProduct, model: Model, out: Path, false_reject: float) -> Wish:
    """Return the job that gives a model the threshold of another promise."""
    return _wish("calibrate", product, {"artifact": model.artifact, "out": str(out), "false_reject": false_reject})


def golden_wish(product: NewProduct, model: Model, plant: Path, who: str) -> Wish:
    """Return the job that lets a model judge the product's golden set."""
    settings = {"artifact": model.artifact, "product": product.product, "plant": str(plant), "by": who}
    return _wish("qualify", product, settings)


def try_wish(product: NewProduct, model: Model, images: Path, station: str | None, plant: Path | None) -> Wish:
    """Return the job that tries a model on chosen pictures, by the rules of a station where one is known."""
    settings: dict[str, Any] = {
        "images": str(images), "artifact": model.artifact, "gallery": GALLERY, "out": "inspection",
    }  # fmt: skip
    if plant is not None and station is not None:
        settings |= {"plant": str(plant), "station": station}
    return _wish("inspect", product, settings)


def frames_wanted(station: str, since: datetime, count: int, plant: Path) -> dict[str, Any]:
    """Return what makes looking over take frames of the line first."""
    return {"station": station, "from": since.isoformat(), "take": count, "plant": str(plant)}


def left_out(before: Sequence[str], shown: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    """Return which pictures are left out when of the `shown` ones the `chosen` are. Raises OnboardingError."""
    kept = dict.fromkeys([*(path for path in before if path not in set(shown)), *chosen])
    if len(kept) > MOST_LEFT_OUT:
        raise OnboardingError(
            "%(most)s pictures are the most that can be left out here: take them out of the folder", most=MOST_LEFT_OUT
        )
    return tuple(kept)


_SHAPE = re.compile(r"^(in|out):\s*((?:-?\d+(?:\.\d+)?,-?\d+(?:\.\d+)?\s*)+)$")


def region_of(text: str) -> RegionOfInterest | None:
    """Return the region that a form's lines draw, `in: 10,10 90,10 90,90` in percent; None: all of the picture.

    Raises OnboardingError.
    """
    shapes: dict[str, list[tuple[tuple[float, float], ...]]] = {"in": [], "out": []}
    points = 0
    for line in filter(None, (one.strip() for one in text.splitlines())):
        found = _SHAPE.match(line)
        if found is None:
            raise OnboardingError(
                "%(line)s is no region: write in: or out: and corners x,y in percent", line=repr(line[:80])
            )
        corners = [tuple(float(value) / 100 for value in pair.split(",")) for pair in found[2].split()]
        points += len(corners)
        shapes[found[1]].append(tuple((min(1.0, max(0.0, x)), min(1.0, max(0.0, y))) for x, y in corners))
    if not points:
        return None
    if points > _MOST_POINTS:
        raise OnboardingError("a region of more than %(most)s corners: draw it simpler", most=_MOST_POINTS)
    try:
        return RegionOfInterest(inside=tuple(shapes["in"]), outside=tuple(shapes["out"]))
    except ValueError as error:
        raise OnboardingError("a region needs three corners and an area") from error


def region_text(region: RegionOfInterest | None) -> str:
    """Return the lines that draw a region."""
    if region is None:
        return ""
    shapes = [("in", polygon) for polygon in region.inside] + [("out", polygon) for polygon in region.outside]
    return "\n".join(f"{kind}: {' '.join(f'{x * 100:g},{y * 100:g}' for x, y in polygon)}" for kind, polygon in shapes)


def _wish(job: str, product: NewProduct, settings: dict[str, Any]) -> Wish:
    return Wish(job, settings, product.product, (product.line,), f"/onboarding/{product.id}")


def _images(product: NewProduct) -> str:
    if product.folder is None:
        raise OnboardingError("first say where the pictures come from")
    return product.folder


def _learnt(product: NewProduct) -> dict[str, Any]:
    """Return what of a fit's settings says which pictures, and what of them, is learnt."""
    folder = Path(product.folder or "")
    region = product.region
    return {
        "exclude": [str(folder / path) for path in product.left_out],
        # What is drawn on the camera's picture is of no other.
        "align": "none" if product.drawn_on == "camera" else product.align,
        "region": None if region is None else region.model_dump(mode="json"),
        "regions": product.regions,
    }


def _of(run: Run) -> dict[str, Any]:
    try:
        settings = run.settings()
    except RunFolderError:
        settings = {}
    return {
        "exclude": settings.get("exclude", []),
        "align": settings.get("align", "none"),
        "region": settings.get("region"),
        "regions": None if settings.get("regions") is None else Path(settings["regions"]).name,
    }


def _found(runs: Runs, name: str | None) -> Run | None:
    return None if name is None else runs.find(name)
