"""How parts without an outline are found, learnt from pictures of good ones: what is alike in all of them."""

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.aligner import Aligner, AlignmentError, Image, searched_picture
from neverblink.vision.alignment.learning import LEAST_PICTURES, Learnt, learn_silhouette
from neverblink.vision.alignment.marks import MARKS_SEARCHED, ROOM, Marked, MarkTemplate, marked
from neverblink.vision.alignment.registration import Placed
from neverblink.vision.alignment.silhouette import Floats
from neverblink.vision.alignment.sliding import Slid, laid_upright
from neverblink.vision.alignment.spec import AlignmentSpec, Kind

MOST_MARKED = 100
"""Pictures of all the set that a template of marks is made from: the mean of more is the same."""

_FOUND = 0.95
_CANDIDATES, _ASKED = 4, 8
_SOME = 0.6
"""The first template is the picture with which most others share marks, and this share of them at least."""

_ROUNDS = 2

_SAME = 6.0
"""Pixels over which it is asked whether good parts look the same there."""

_IN_COMMON = 0.4
"""Where what is common makes up this share of all contrast, it is the part."""

_LEAST_COMMON = 1e-4
_LITTLE = 5, 5
_MUCH_SMALLER = 0.1

_SEEN = 0.99
_EDGE = 0.02
"""Share of a picture's length by which what all pictures show is narrowed: the next part lies a little further off."""

_ALL = 0.8
"""Marks that span so much of what is seen are those of a part that fills the picture."""

_LEAST_SHARE = 0.05
_TIGHTER = 0.95
_HALF_OF_A_QUARTER = 45.0

_FIT_SHARE = 0.7
_FIT_BETWEEN = (0.25, 0.7)
"""A part is found though a fifth of it is missing; another one fits by less than 0.2."""

_ORDINARY_FIT = 0.4
_TOLD_APART = 0.05
_LEAD_SHARE = 0.2


def learn(kind: Kind, pictures: Iterable[Image]) -> Learnt:
    """Learn from pictures of good parts, MOST_PICTURES at most, how they are found. Raises AlignmentError."""
    return learn_silhouette(pictures) if kind == "silhouette" else learn_template(islice(pictures, MOST_MARKED))


class _Mean(NamedTuple):
    """The (h, w) mean of contrasts of `pictures` laid upon one another, their variance, and what share shows each."""

    contrasts: Floats
    variance: Floats
    shown: Floats
    pictures: int


def learn_template(pictures: Iterable[Image]) -> Learnt:
    """Learn from (H, W, 3) uint8 RGB pictures of good parts how they are found by marks that all of them share.

    At most 100 pictures are worth giving. Raises AlignmentError where marks do not tell where parts lie.
    """
    shrink: float | None = None
    seen: list[Marked] = []
    for image in pictures:
        shrink = shrink or min(1.0, MARKS_SEARCHED / max(image.shape[:2]))
        seen.append(marked(searched_picture(image, shrink)))
    if len(seen) < LEAST_PICTURES or shrink is None:
        raise AlignmentError(f"{len(seen)} pictures are too few to learn how parts lie; give {LEAST_PICTURES} at least")
    # What is common to good parts shows on those that the mean does not hold: each looks like a mean with itself in it.
    known, fresh = seen[::2], seen[1::2]
    template = _template(known)
    turns, placed = _turns(template, fresh)
    both = [(one, template.placed(one, turns=turns)) for one in known] + list(zip(fresh, placed, strict=True))
    mean = _mean(template, [(one, _slid(pose)) for one, pose in both if pose is not None])
    template = _cropped(MarkTemplate(_judged(mean), mean.contrasts))
    # As they are found from now on.
    found = [pose for one in fresh if (pose := template.placed(one, turns=turns)) is not None]
    return Learnt(Aligner(_spec(template, shrink, turns, found), template.layers), tuple(found))


def _template(seen: Sequence[Marked]) -> MarkTemplate:
    """Return the mean of parts that lie alike: first like one of them, then like the mean."""
    first, placed = _first(seen)
    mean = _mean(first, placed)
    template = MarkTemplate(_judged(mean), mean.contrasts)
    for number in range(_ROUNDS):
        poses = [(one, pose) for one in seen if (pose := template.placed(one)) is not None]
        if len(poses) < _FOUND * len(seen):
            raise AlignmentError(
                f"in {len(poses)} of {len(seen)} pictures only the marks lie as in the others: parts cannot be found by"
                " them"
            )
        mean = _mean(template, [(one, _slid(pose)) for one, pose in poses])
        template = MarkTemplate(_judged(mean), mean.contrasts)
        if number == 0:
            template = _cropped(template)
    return template


def _first(seen: Sequence[Marked]) -> tuple[MarkTemplate, list[tuple[Marked, Slid]]]:
    """Return the picture that shares marks with most others as a template, and where its part lies in them."""
    best: MarkTemplate | None = None
    most = 0
    asked = seen[:: max(1, len(seen) // _ASKED)]
    for candidate in seen[:: max(1, len(seen) // _CANDIDATES)][:_CANDIDATES]:
        template = MarkTemplate.of_picture(candidate)
        count = sum(bool(template.matched(one)) for one in asked)
        if count > most:
            best, most = template, count
    if best is None or most < max(2, _SOME * len(asked)):
        raise AlignmentError("the pictures share no marks that say where a part lies")
    return best, [(one, found[0].place) for one in seen if (found := best.matched(one))]


def _mean(template: MarkTemplate, placed: Sequence[tuple[Marked, Slid]]) -> _Mean:
    total, squares, count = (np.zeros((template.height, template.width)) for _ in range(3))
    for one, place in placed:
        contrasts, shown = template.at(one, place)
        inside = shown > 0.99
        total[inside] += contrasts[inside]
        squares[inside] += np.square(contrasts[inside])
        count += inside
    mean = total / np.maximum(count, 1)
    variance = np.maximum(squares / np.maximum(count, 1) - mean**2, 0)
    shown = (count / len(placed)).astype(np.float32)
    return _Mean(mean.astype(np.float32), variance.astype(np.float32), shown, len(placed))


def _judged(mean: _Mean) -> Floats:
    """Return the (h, w) pixels, 0 or 1, that belong to parts and that nearly all pictures show."""
    shown = mean.shown >= _SEEN
    reach = max(2, round(_EDGE * max(shown.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    # Beyond a picture's edge nothing is shown either.
    shown = cv2.erode(shown.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    # Chance alone leaves something of the variance in a mean.
    own = np.square(mean.contrasts) - mean.variance / max(1, mean.pictures - 1)
    common, other = (cv2.GaussianBlur(one, (0, 0), _SAME) for one in (own, mean.variance))
    alike = (common > _IN_COMMON * (common + other)) & (common > _LEAST_COMMON) & shown
    kept = _large_pieces(cv2.erode(alike.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, _LITTLE)) > 0)
    if kept.mean() < _LEAST_SHARE:
        raise AlignmentError("the pictures have too little in common to say where a part lies")
    hull = cv2.fillConvexPoly(np.zeros(shown.shape, np.uint8), cv2.convexHull(cv2.findNonZero(kept)), 1) > 0
    hull &= shown
    return (shown if hull.sum() >= _ALL * shown.sum() else hull).astype(np.float32)


def _large_pieces(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the largest piece of an (h, w) mask and what is not much smaller: chance makes small ones."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    large = 1 + np.flatnonzero(areas >= _MUCH_SMALLER * areas.max(initial=0))
    return np.isin(pieces, large).astype(np.uint8)


def _cropped(template: MarkTemplate) -> MarkTemplate:
    """Return a template of what is judged and a little room around it, turned so that its box is small."""
    points = cv2.findNonZero((template.judged > 0.5).astype(np.uint8))
    left, top, width, height = (float(one) for one in cv2.boundingRect(points))
    middle, angle = (left + width / 2, top + height / 2), 0.0
    (x, y), (wide, high), turn = cv2.minAreaRect(points)
    if (wide + 1) * (high + 1) < _TIGHTER * width * height:
        # OpenCV measures between the middles of pixels. The box is turned by 45° at most.
        middle, width, height, angle = (x + 0.5, y + 0.5), wide + 1, high + 1, turn
        while abs(angle) > _HALF_OF_A_QUARTER:
            width, height, angle = height, width, angle - math.copysign(2 * _HALF_OF_A_QUARTER, angle)
    size = round(height) + 2 * ROOM, round(width) + 2 * ROOM
    layers = np.ascontiguousarray(np.moveaxis(template.layers, 0, 2))
    laid = laid_upright(layers, Slid(*middle, angle), *size)
    return MarkTemplate((laid[..., 0] > 0.5).astype(np.float32), laid[..., 1])


def _turns(template: MarkTemplate, seen: Sequence[Marked]) -> tuple[int, list[Placed | None]]:
    """Return in how many ways a part looks alike, one or two, and the poses."""
    leads: float = 0.0
    for turns in (1, 2):
        placed = [template.placed(one, turns=turns) for one in seen]
        found = [one for one in placed if one is not None]
        if len(found) < _FOUND * len(seen):
            raise AlignmentError(
                f"in {len(found)} of {len(seen)} pictures only the marks lie as in the others: parts cannot be found by"
                " them"
            )
        leads = float(np.quantile([one.lead for one in found], 0.05))
        if leads >= _TOLD_APART:
            return turns, placed
    raise AlignmentError(
        f"the marks repeat themselves: one place fits better than another by {leads:.3f} only, so that it cannot be"
        " told where a part lies"
    )


def _slid(pose: Placed) -> Slid:
    return Slid(pose.x, pose.y, pose.angle)


def _spec(template: MarkTemplate, shrink: float, turns: int, placed: Sequence[Placed]) -> AlignmentSpec:
    fit, lead = (float(np.quantile([getattr(one, name) for one in placed], 0.01)) for name in ("fit", "lead"))
    if fit < _ORDINARY_FIT:
        raise AlignmentError(f"marks fit in good pictures by {fit:.2f} only: parts cannot be found by them")
    return AlignmentSpec(
        kind="template",
        height=max(8, round((template.height - 2 * ROOM) / shrink)),
        width=max(8, round((template.width - 2 * ROOM) / shrink)),
        shrink=shrink,
        template=(template.height, template.width),
        turns=turns,
        least_fit=float(np.clip(_FIT_SHARE * fit, *_FIT_BETWEEN)),
        least_lead=max(0.0, _LEAD_SHARE * lead),
    )
