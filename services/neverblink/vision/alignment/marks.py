"""How a part without an outline lies: the marks that good parts share, matched, then slid to a fraction of a pixel."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.registration import Placed, apart
from neverblink.vision.alignment.silhouette import logarithms
from neverblink.vision.alignment.sliding import (
    Floats,
    Slid,
    Steps,
    laid_upright,
    shown_share,
    slid,
    steps_of,
    turned_by,
)

MARK_LAYERS: Final = 2
"""What is judged, and the contrasts of the mean of good parts."""

MARKS_SEARCHED = 320
"""Longer side of what is searched for marks."""

ROOM = 16
"""Pixels kept around what is judged: marks at its edge are described by what lies around them."""

_NEAR = 10.0
"""Pixels over which the light and a surface's own contrast are taken for even."""

_LEAST_CONTRAST = 0.03
_MOST_CONTRAST = 3.0
_WEIGHT = 0.3
"""What one deviation weighs: with it a slide takes the same differences for broken as it does of outlines."""

_SOFT = 0.8
_GREY = 40.0

_MARKS = 700
_EDGE = 16
_FAINT = 8
_UNLIKE = 80
"""Bits of 256 in which two descriptions of one mark may differ."""

_PAIRS = 4000
_TRIED_POSES = 400
_LONGER = 0.04
"""A distance between two marks is the same in both pictures: the camera does not zoom."""

_TURN_ERROR = 25.0
_FAR_APART = 0.12
_WITHIN = 3.0
"""Pixels within which a mark lies where a pose says."""

LEAST_MARKS = 12
"""Marks that agree by chance are fewer."""

_ALTERNATIVES = 3
_APART, _MOVED = 20.0, 0.1
"""Degrees, and share of the template's length, between poses that are two."""


class Matched(NamedTuple):
    """A pose by marks alone, and how many agree with it."""

    place: Slid
    marks: int


@dataclass(frozen=True, slots=True)
class Marked:
    """What is registered of a searched picture: (h, w) float32 contrasts, and its marks: places (n, 2) from the corner
    of the first pixel, degrees (n,) and ORB descriptions (n, 32) uint8.
    """

    contrasts: Floats
    places: Floats
    turns: Floats
    described: npt.NDArray[np.uint8]


def marked(image: npt.NDArray[np.uint8]) -> Marked:
    """Return what is registered of an (h, w, 3) uint8 RGB picture of some 320 pixels a side."""
    bright = np.ascontiguousarray(logarithms(image)[..., 0])
    rest = bright - cv2.GaussianBlur(bright, (0, 0), _NEAR)
    spread = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), _NEAR))
    deviations = np.clip(rest / np.maximum(spread, _LEAST_CONTRAST), -_MOST_CONTRAST, _MOST_CONTRAST)
    contrasts = _WEIGHT * cv2.GaussianBlur(deviations.astype(np.float32), (0, 0), _SOFT)
    return _described(np.asarray(contrasts, dtype=np.float32), None)


def _described(contrasts: Floats, within: npt.NDArray[np.uint8] | None) -> Marked:
    grey = np.clip(128 + _GREY / _WEIGHT * contrasts, 0, 255).astype(np.uint8)
    # Rublee et al., ICCV 2011. One a call: OpenCV does not say that it may be shared between threads.
    orb = cv2.ORB.create(nfeatures=_MARKS, scaleFactor=1.3, nlevels=3, edgeThreshold=_EDGE, fastThreshold=_FAINT)
    points, described = orb.detectAndCompute(grey, within)
    if len(points) == 0:
        none = np.zeros((0, 2), dtype=np.float32)
        return Marked(contrasts, none, none[:, 0], np.zeros((0, 32), dtype=np.uint8))
    places = np.array([point.pt for point in points], dtype=np.float32) + np.float32(0.5)
    turns = np.array([point.angle for point in points], dtype=np.float32)
    return Marked(contrasts, places, turns, np.asarray(described, dtype=np.uint8))


class MarkTemplate:
    """What good parts share: (h, w) of what is judged, 0 to 1, and the (h, w) mean of their contrasts."""

    def __init__(self, judged: Floats, contrasts: Floats) -> None:
        self.judged = np.ascontiguousarray(judged, dtype=np.float32)
        self.height, self.width = judged.shape
        self._within = (judged > 0.5).astype(np.uint8)
        self._own = _described(np.ascontiguousarray(contrasts, dtype=np.float32), self._within)

    @classmethod
    def of_picture(cls, seen: Marked) -> "MarkTemplate":
        """Return a template of one picture, all of it."""
        return cls(np.ones_like(seen.contrasts), seen.contrasts)

    @property
    def layers(self) -> Floats:
        """Return (2, h, w) float32: what is judged, and contrasts."""
        return np.stack([self.judged, self._own.contrasts])

    @property
    def length(self) -> float:
        """Return the geometric mean of the sides, in pixels."""
        return math.sqrt(self.height * self.width)

    def placed(self, seen: Marked, *, turns: int = 1) -> Placed | None:
        """Return the best pose, None where too few marks agree on one.

        A part that looks alike in so many `turns` may lie in either: such poses are not others.
        """
        found = self.matched(seen)
        if not found:
            return None
        poses = [self._slid(seen, found[0].place)]
        poses += [self._slid(seen, one.place) for one in found[1:] if 2 * one.marks >= found[0].marks]
        poses.sort(key=lambda one: -one.rank)
        best = poses[0]
        others = [one.rank for one in poses[1:] if self._is_another(one, best, turns)]
        return best._replace(lead=best.rank - max(others, default=best.rank - 1.0))

    def at(self, seen: Marked, place: Slid) -> tuple[Floats, Floats]:
        """Return (h, w) contrasts of a picture where a part lies so, upright, and which of them the picture shows."""
        shown = laid_upright(np.ones_like(seen.contrasts), place, self.height, self.width)
        return laid_upright(seen.contrasts, place, self.height, self.width), shown

    def shown(self, place: Slid, size: tuple[int, int]) -> float:
        """Return the share of what is judged that a picture of `size` (h, w) shows."""
        return shown_share(self.judged, place, size)

    def covered(self, place: Slid, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return the (h, w) pixels of a picture that are judged."""
        turn = np.array([turned_by(place.angle, 1, 0), turned_by(place.angle, 0, 1)]).T
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        shift = np.array([place.x - 0.5, place.y - 0.5]) - turn @ middle
        return np.asarray(
            cv2.warpAffine(self.judged, np.column_stack([turn, shift]), (size[1], size[0])) > 0.5, dtype=np.bool_
        )

    def _is_another(self, one: Placed, best: Placed, turns: int) -> bool:
        period = 360 / turns
        turned = abs((one.angle - best.angle + period / 2) % period - period / 2)
        moved = math.hypot(one.x - best.x, one.y - best.y)
        return turned > _APART or moved > _MOVED * self.length

    def matched(self, seen: Marked) -> list[Matched]:
        """Return poses by marks alone, that with most of them first; none: []."""
        own, there = self._matches(seen)
        if len(own) < LEAST_MARKS:
            return []
        angles, shifts = self._tried(seen, own, there)
        before, after = self._own.places[own], seen.places[there]
        cosines, sines = np.cos(angles)[:, None], np.sin(angles)[:, None]
        x = cosines * before[:, 0] - sines * before[:, 1] + shifts[:, :1] - after[:, 0]
        y = sines * before[:, 0] + cosines * before[:, 1] + shifts[:, 1:] - after[:, 1]
        agree = x * x + y * y < _WITHIN**2
        counts = agree.sum(axis=1)
        half = self.width / 2, self.height / 2
        chosen: list[tuple[float, float, float, int]] = []
        for number in np.argsort(-counts, kind="stable"):
            if counts[number] < LEAST_MARKS or len(chosen) == _ALTERNATIVES:
                break
            degrees = math.degrees(float(angles[number]))
            middle = np.array(turned_by(degrees, *half)) + shifts[number]
            if all(
                apart(degrees, one[2]) > _APART
                or math.hypot(middle[0] - one[0], middle[1] - one[1]) > _MOVED * self.length
                for one in chosen
            ):
                chosen.append((float(middle[0]), float(middle[1]), degrees, int(number)))
        return [Matched(self._fitted(before, after, agree[one[3]]), int(counts[one[3]])) for one in chosen]

    def _matches(self, seen: Marked) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the numbers of own marks and of those in the picture that look like them, two of each at most."""
        if len(self._own.described) == 0 or len(seen.described) == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(self._own.described, seen.described, k=2)
        like = [(one.queryIdx, one.trainIdx) for both in pairs for one in both if one.distance <= _UNLIKE]
        numbers = np.array(like, dtype=np.int64).reshape(-1, 2)
        return numbers[:, 0], numbers[:, 1]

    def _tried(self, seen: Marked, own: npt.NDArray[np.int64], there: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return turns (n,) in radians and shifts (n, 2) that two marks each agree on, the same ones for a picture
        whenever it is asked.
        """
        one, other = np.random.default_rng(0).integers(0, len(own), (2, _PAIRS))
        before = self._own.places[own[other]] - self._own.places[own[one]]
        after = seen.places[there[other]] - seen.places[there[one]]
        lengths = np.hypot(before[:, 0], before[:, 1]), np.hypot(after[:, 0], after[:, 1])
        turn = np.arctan2(after[:, 1], after[:, 0]) - np.arctan2(before[:, 1], before[:, 0])
        good = (lengths[0] > _FAR_APART * self.length) & (np.abs(lengths[1] - lengths[0]) < _LONGER * lengths[0])
        for which in (one, other):
            said = seen.turns[there[which]] - self._own.turns[own[which]]
            good &= np.abs((np.degrees(turn) - said + 180) % 360 - 180) < _TURN_ERROR
        chosen = np.flatnonzero(good)[:_TRIED_POSES]
        angles = turn[chosen]
        middle = (self._own.places[own[one[chosen]]] + self._own.places[own[other[chosen]]]) / 2
        place = (seen.places[there[one[chosen]]] + seen.places[there[other[chosen]]]) / 2
        cosines, sines = np.cos(angles), np.sin(angles)
        turned = np.stack(
            [cosines * middle[:, 0] - sines * middle[:, 1], sines * middle[:, 0] + cosines * middle[:, 1]], axis=1
        )
        return angles.astype(np.float32), (place - turned).astype(np.float32)

    def _fitted(self, before: Floats, after: Floats, agree: npt.NDArray[np.bool_]) -> Slid:
        """Return the pose that brings marks nearest to where they lie (Kabsch, in the plane)."""
        for _ in range(2):
            own, there = before[agree].astype(np.float64), after[agree].astype(np.float64)
            a, b = own - own.mean(axis=0), there - there.mean(axis=0)
            angle = math.atan2(
                float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()),
                float((a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1]).sum()),
            )
            degrees = math.degrees(angle)
            shift = there.mean(axis=0) - np.array(turned_by(degrees, *own.mean(axis=0)))
            turned = np.stack(turned_by(degrees, before[:, 0], before[:, 1]), axis=1) + shift  # type: ignore[arg-type]
            nearer = np.hypot(*(turned - after).T) < _WITHIN
            if nearer.sum() < LEAST_MARKS:
                break
            agree = nearer
        x, y = shift + np.array(turned_by(degrees, self.width / 2, self.height / 2))
        return Slid(float(x), float(y), degrees)

    def _slid(self, seen: Marked, start: Slid) -> Placed:
        target = self._own.contrasts

        def warped(place: Slid) -> Floats:
            found, shown = self.at(seen, place)
            # What the picture does not show says nothing.
            return np.where(shown > 0.5, found, target)

        began = self._rated(seen, start)
        ended = self._rated(seen, slid(warped, target, self._steps, start, reach=self.length / 2))
        near = apart(ended.angle, began.angle) < _APART / 2
        return ended if near and ended.rank >= began.rank else began

    def _rated(self, seen: Marked, place: Slid) -> Placed:
        found, shown = self.at(seen, place)
        weight = self.judged * shown
        own = self._own.contrasts
        length = math.sqrt(float((weight * own * own).sum()) * float((weight * found * found).sum()))
        alike = float((weight * own * found).sum()) / length if length > 1e-6 else 0.0
        return Placed(place.x, place.y, place.angle, max(0.0, alike), alike, 1.0)

    @cached_property
    def _steps(self) -> Steps:
        return steps_of(self._own.contrasts[..., None], self.judged)
