"""How differently the parts of some pictures lie: quickly, before anything is learnt."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from neverblink.vision.alignment.aligner import SEARCHED, Image, first_sight, searched_picture
from neverblink.vision.alignment.marks import MARKS_SEARCHED, Marked, MarkTemplate, marked
from neverblink.vision.alignment.registration import apart

_A_FIXED_CAMERAS_MOVE = 0.04
"""Share of its length that a part on a fixture may move from picture to picture."""

_A_FIXED_CAMERAS_TURN = 4.0
_LONG = 1.15
"""An outline that is longer than wide by this factor says how the part is turned."""

_ALIKE = (0.7, 1.4)
"""Areas as a share of the median: outlines that differ more are not those of one product."""

_LARGEST = 0.7
_FEWEST = 4
_SHARING = 0.6
"""Of the other pictures must share marks with the first, or marks say nothing."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far parts are `moved`, as a share of their length, and `turned`, in degrees (0 to 90): the widest of most."""

    pictures: int
    moved: float
    turned: float

    @property
    def wide(self) -> bool:
        """Say whether parts lie more differently than a fixed camera and a fixture let them."""
        return self.moved > _A_FIXED_CAMERAS_MOVE or self.turned > _A_FIXED_CAMERAS_TURN

    def sentence(self) -> str:
        """Return the same in words."""
        turned = f" and are turned by up to {self.turned:.0f}°" if self.turned > _A_FIXED_CAMERAS_TURN else ""
        return f"the parts of {self.pictures} pictures lie up to {self.moved:.0%} of their length apart{turned}"


def spread_of(pictures: Iterable[Image]) -> Spread | None:
    """Return how differently the parts in (H, W, 3) uint8 RGB pictures lie, None where no outline says it."""
    middles, axes, areas, lengths = [], [], [], []
    total = 0
    for image in pictures:
        total += 1
        shrink = min(1.0, SEARCHED / max(image.shape[:2]))
        searched = searched_picture(image, shrink)
        seen = first_sight(searched)
        if seen is None or seen.silhouette.area > _LARGEST * searched.shape[0] * searched.shape[1]:
            return None
        mask = seen.silhouette.mask
        if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
            # What is cut off by the picture's edge says nothing of where it lies.
            return None
        axis, longer = seen.silhouette.axis()
        middles.append(np.array(seen.silhouette.middle) / shrink)
        axes.append((axis, longer))
        areas.append(seen.silhouette.area / shrink**2)
        lengths.append(np.sqrt(areas[-1]))
    if total < _FEWEST:
        return None
    shares = np.array(areas) / np.median(areas)
    if shares.min() < _ALIKE[0] or shares.max() > _ALIKE[1]:
        return None
    apart = np.linalg.norm(np.array(middles) - np.median(middles, axis=0), axis=1)
    moved = float(np.quantile(apart, 0.9) / np.median(lengths))
    turned = 0.0
    if min(longer for _, longer in axes) >= _LONG:
        doubled = np.exp(2j * np.radians([axis for axis, _ in axes]))
        # An axis has no ends: it is turned by 90 degrees at most.
        away = np.abs(np.degrees(np.angle(doubled / doubled.mean()))) / 2
        turned = float(np.quantile(away, 0.9))
    return Spread(total, moved, turned)


def spread_of_marks(pictures: Iterable[Image]) -> Spread | None:
    """Return how differently parts without an outline lie in (H, W, 3) uint8 RGB pictures, by the marks that they share
    with the first, None where they share none.
    """
    template: MarkTemplate | None = None
    away: list[tuple[float, float]] = []
    total = 0
    for image in pictures:
        total += 1
        seen: Marked = marked(searched_picture(image, min(1.0, MARKS_SEARCHED / max(image.shape[:2]))))
        if template is None:
            template = MarkTemplate.of_picture(seen)
            continue
        for one in template.matched(seen)[:1]:
            middle = template.width / 2, template.height / 2
            moved = math.hypot(one.place.x - middle[0], one.place.y - middle[1]) / template.length
            away.append((moved, min(90.0, apart(one.place.angle, 0))))
    if total < _FEWEST or len(away) < _SHARING * (total - 1):
        return None
    moved, turned = np.quantile(np.array(away), 0.9, axis=0)
    return Spread(total, float(moved), float(turned))
