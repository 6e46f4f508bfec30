"""How parts of a product are found, learnt from pictures of good ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from neverblink.vision.alignment.aligner import (
    SEARCHED,
    Aligner,
    AlignmentError,
    Image,
    first_sight,
    searched_picture,
)
from neverblink.vision.alignment.registration import LAYERS, Placed, Sight, Template, apart
from neverblink.vision.alignment.spec import AlignmentSpec

LEAST_PICTURES = 4
MOST_PICTURES = 100
"""Pictures of all the set that a template is made from: the mean of more is the same."""

_FOUND = 0.95
"""Of the pictures must show an outline, or it is not by outlines that parts can be found."""

_ALIKE = (0.5, 2.0)
"""Areas as a share of the median from which a template is made."""

_UNLIKE = 0.85
"""Outlines that fit worse than this share of the median are no part of a template: one picture of two parts that touch
would widen the upright picture of all.
"""

_ROUNDS = 3
_ROOM = 1.25

_SLACK = 0.15
_FIT_BETWEEN = (0.5, 0.8)
"""A part is found though a fifth of it is missing; half of one is not."""

_AREA_SLACK = 0.08
_LEAST_AREA, _MOST_AREA = 0.75, 1.33
"""Shares of the median that are always allowed."""

_LEAST_BESIDE = 0.4
_LEAD_SHARE = 0.1

_TOLD_APART = 0.03
_NEARLY_ALL = 0.05
"""A turn is told apart when it lowers the rank of all but 5 % of good parts by as much."""

_CLEARLY = 0.5
_TRIED = 24
_SLID_BACK = 10.0
_SMALL_TURNS = (30.0, 50.0)
"""Where these are not told apart, no angle is: the part is round, or no two have the same shape."""

_TURNS = (2, 3, 4, 6, 8)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What finds parts, and where they lay in the pictures that it was learnt from: of `searched` pixels."""

    aligner: Aligner
    placed: tuple[Placed, ...]


def learn_silhouette(pictures: Iterable[Image]) -> Learnt:
    """Learn from (H, W, 3) uint8 RGB pictures of good parts how they are found by their outlines.

    At most 100 pictures are worth giving. Raises AlignmentError where outlines do not tell where parts lie.
    """
    shrink: float | None = None
    seen: list[Sight] = []
    total = 0
    for image in pictures:
        shrink = shrink or min(1.0, SEARCHED / max(image.shape[:2]))
        total += 1
        found = first_sight(searched_picture(image, shrink))
        if found is not None:
            seen.append(found)
    if total < LEAST_PICTURES or shrink is None:
        raise AlignmentError(f"{total} pictures are too few to learn how parts lie; give {LEAST_PICTURES} at least")
    if len(seen) < _FOUND * total:
        raise AlignmentError(
            f"a part stands out from the ground in {len(seen)} of {total} pictures only: parts cannot be found by their"
            " outline"
        )
    areas = np.array([one.silhouette.area for one in seen])
    median = float(np.median(areas))
    ordinary = [one for one in seen if _ALIKE[0] <= one.silhouette.area / median <= _ALIKE[1]]
    if len(ordinary) < _FOUND * total:
        raise AlignmentError(
            f"the outlines in {total - len(ordinary)} of {total} pictures are half or twice as large as most: parts"
            " cannot be found by their outline"
        )
    # What is common to good parts shows on those that the mean does not hold: each looks like a mean with itself in it.
    known, fresh = ordinary[::2], ordinary[1::2]
    template = _cropped(_template(known))
    turns = _turns(template, fresh)
    placed = [template.placed(one, turned=turns > 0) for one in fresh]
    template = _mean(template, [*known, *fresh], [*(template.placed(one, turned=turns > 0) for one in known), *placed])
    spec = _spec(template, shrink, turns, ordinary, placed)
    return Learnt(Aligner(spec, np.moveaxis(template.layers, 2, 0)), tuple(placed))


def _template(seen: Sequence[Sight]) -> Template:
    """Return the mean of parts that are turned alike: first like an ordinary one, then like the mean."""
    areas = np.array([one.silhouette.area for one in seen])
    first = seen[int(np.argmin(np.abs(areas - np.median(areas))))]
    axis, longer = first.silhouette.axis()
    upright = axis if longer >= 1.08 else 0.0
    reach = max(_reach(one) for one in seen) * _ROOM
    side = 2 * int(np.ceil(reach)) + 1
    blank = Template(np.zeros((side, side, LAYERS), dtype=np.float32))
    x, y = first.silhouette.middle
    template = Template(blank.at(first, Placed(x, y, upright, 1, 1, 1)))
    for _ in range(_ROUNDS):
        template = _mean(template, seen, [template.placed(one) for one in seen])
    return template


def _mean(template: Template, seen: Sequence[Sight], placed: Sequence[Placed]) -> Template:
    """Return the mean of the parts whose outlines are alike."""
    least = _UNLIKE * float(np.median([pose.fit for pose in placed]))
    alike = [(one, pose) for one, pose in zip(seen, placed, strict=True) if pose.fit >= least]
    total = np.zeros(template.layers.shape)
    for one, pose in alike:
        total += template.at(one, pose)
    return Template((total / len(alike)).astype(np.float32))


def _reach(seen: Sight) -> float:
    (x, y), mask = seen.silhouette.middle, seen.silhouette.mask
    rows, columns = np.nonzero(mask)
    return float(np.hypot(columns + 0.5 - x, rows + 0.5 - y).max())


def _turns(template: Template, seen: Sequence[Sight]) -> int:
    """Return how often in a full circle a part looks the same, 0 where no angle can be told from others."""
    some = seen[:: max(1, len(seen) // _TRIED)]
    best = [template.placed(one) for one in some]
    loss: dict[float, list[float]] = {}

    def told_apart(turn: float, *, clearly: bool = True) -> bool:
        if turn not in loss:
            others = [template.placed(one, angles=[own.angle + turn]) for one, own in zip(some, best, strict=True)]
            # One that slides back to where it was is no other pose.
            loss[turn] = [
                own.rank - other.rank
                for own, other in zip(best, others, strict=True)
                if apart(other.angle, own.angle) > _SLID_BACK
            ]
        lost = loss[turn]
        return not lost or (float(np.quantile(lost, _NEARLY_ALL)) >= _TOLD_APART and (not clearly or _bimodal(lost)))

    if not all(told_apart(turn, clearly=False) for turn in _SMALL_TURNS):
        return 0
    alike = [n for n in _TURNS if not any(told_apart(360 * k / n) for k in range(1, n))]
    return max(alike, default=1)


def _bimodal(lost: Sequence[float]) -> bool:
    """Say whether parts prefer their own turn for what they have in common, and not each for what it has alone: that
    gives leads of any size, down to none.
    """
    return float(np.quantile(lost, _NEARLY_ALL)) >= _CLEARLY * float(np.median(lost))


def _cropped(template: Template) -> Template:
    """Return a template of which little more than the part is left."""
    rows, columns = np.nonzero(template.layers[..., 0] > 0.01)
    room = 2 + round(0.03 * max(np.ptp(rows), np.ptp(columns)))
    top, left = max(0, rows.min() - room), max(0, columns.min() - room)
    return Template(template.layers[top : rows.max() + room + 1, left : columns.max() + room + 1])


def _spec(
    template: Template, shrink: float, turns: int, seen: Sequence[Sight], placed: Sequence[Placed]
) -> AlignmentSpec:
    areas = np.array([one.silhouette.area for one in seen])
    beside = np.array([one.silhouette.beside for one in seen])
    fits = np.array([one.fit for one in placed])
    leads = np.array([one.lead for one in placed])
    median = float(np.median(areas))
    least = float(np.clip(np.quantile(fits, 0.01) - _SLACK, *_FIT_BETWEEN))
    return AlignmentSpec(
        kind="silhouette",
        height=max(8, round(template.height / shrink)),
        width=max(8, round(template.width / shrink)),
        shrink=shrink,
        template=(template.height, template.width),
        turns=turns,
        least_fit=least,
        least_lead=max(0.0, _LEAD_SHARE * float(np.quantile(leads, 0.01))) if turns == 1 else 0.0,
        area=(
            min((1 - _AREA_SLACK) * float(np.quantile(areas, 0.01)), _LEAST_AREA * median),
            max((1 + _AREA_SLACK) * float(np.quantile(areas, 0.99)), _MOST_AREA * median),
        ),
        most_beside=max(_LEAST_BESIDE, 1.5 * float(np.quantile(beside, 0.99))),
    )


def shown(aligner: Aligner) -> Image:
    """Return the mean outline and looks of good parts as a grey (h, w, 3) uint8 picture, for a person."""
    outline, bright = aligner.templates[0], aligner.templates[1]
    grey = np.clip(128 * outline + 180 * bright, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
