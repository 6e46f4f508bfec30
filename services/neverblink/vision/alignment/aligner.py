"""Where a part lies in a picture, or that it is not to be found there."""

from collections.abc import Mapping
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.marks import MARK_LAYERS, ROOM, MarkTemplate, marked
from neverblink.vision.alignment.registration import LAYERS, Placed, Sight, Template, sight
from neverblink.vision.alignment.silhouette import Silhouette, silhouettes
from neverblink.vision.alignment.sliding import Slid
from neverblink.vision.alignment.spec import AlignmentSpec
from neverblink.vision.alignment.view import MAX_SIDE, Pose, View
from neverblink.vision.errors import VisionError

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

PART: Final = "alignment"
TEMPLATES: Final = "templates"
SEARCHED = 208
"""Longer side of what is searched for a part; finer than a hundredth of a part's length by registration."""


class NotFoundError(VisionError):
    """A picture in which no part lies where and as one should: it is never judged. The message says what was seen."""


class AlignmentError(VisionError):
    """Pictures from which it cannot be learnt how parts lie, or templates that do not fit their description."""


class Aligner:
    """Finds the parts of one product; any thread may ask."""

    def __init__(self, spec: AlignmentSpec, templates: Floats) -> None:
        """`templates` (4, h, w) float32, of marks (2, h, w), are what good parts look like. Raises AlignmentError."""
        wanted = (LAYERS if spec.kind == "silhouette" else MARK_LAYERS, *spec.template)
        if templates.shape != wanted or not np.isfinite(templates).all():
            raise AlignmentError(f"the templates of an alignment are {wanted} finite numbers, not {templates.shape}")
        self.spec = spec
        self.templates = templates
        self._outlined: Template | None = None
        self._marked: MarkTemplate | None = None
        if spec.kind == "silhouette":
            self._outlined = Template(np.moveaxis(templates, 0, 2))
        else:
            if min(spec.template) <= 2 * ROOM:
                raise AlignmentError(f"templates of {spec.template} pixels leave no room for what is judged")
            self._marked = MarkTemplate(*templates)

    @classmethod
    def of_parts(cls, spec: AlignmentSpec | None, tensors: Mapping[str, Floats] | None) -> Self | None:
        """Return what finds the parts of an artifact, by its own `tensors`; None where they are not looked for.

        Raises AlignmentError.
        """
        if spec is None:
            return None
        return cls(spec, (tensors or {}).get(TEMPLATES, np.empty(0, dtype=np.float32)))

    @property
    def tensors(self) -> dict[str, Floats]:
        """Return the tensors that an artifact keeps."""
        return {TEMPLATES: np.ascontiguousarray(self.templates, dtype=np.float32)}

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) of the upright picture."""
        return self.spec.height, self.spec.width

    def view(self, image: Image) -> View[np.uint8]:
        """Return the upright picture of the part in an (H, W, 3) uint8 RGB image. Raises NotFoundError."""
        return self.placed(image, self.find(image))

    def placed(self, image: Image, pose: Pose) -> View[np.uint8]:
        """Return the upright picture of a part whose pose is known."""
        return View(image, pose.matrix(*self.size), *self.size)

    def find(self, image: Image) -> Pose:
        """Return where the part lies in an (H, W, 3) uint8 RGB image. Raises NotFoundError."""
        searched = searched_picture(image, self.spec.shrink)
        placed = self._placed(searched)
        across, down = image.shape[1] / searched.shape[1], image.shape[0] / searched.shape[0]
        return Pose(placed.x * across, placed.y * down, (placed.angle + 180) % 360 - 180, min(1.0, placed.fit))

    def covered(self, image: Image) -> npt.NDArray[np.bool_]:
        """Return the (H, W) bool pixels of an (H, W, 3) uint8 RGB image that the part covers. Raises NotFoundError."""
        searched = searched_picture(image, self.spec.shrink)
        if self._marked is None:
            return enlarged(self._outline(searched).mask, image.shape[:2])
        placed = self._placed(searched)
        mask = self._marked.covered(Slid(placed.x, placed.y, placed.angle), (searched.shape[0], searched.shape[1]))
        return enlarged(mask, image.shape[:2])

    def ground(self) -> npt.NDArray[np.bool_]:
        """Return the (h, w) bool share of the upright picture that belongs to parts, with a narrow seam around them."""
        belongs = self.templates[0] > (_EVER if self._marked is None else 0.5)
        reach = max(1, round(_SEAM * max(belongs.shape)))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        wider = np.asarray(cv2.dilate(belongs.astype(np.uint8), disc) > 0)
        return wider if self._marked is None else wider[ROOM:-ROOM, ROOM:-ROOM]

    def _placed(self, searched: Image) -> Placed:
        if self._outlined is not None:
            return self._by_outline(self._outlined, searched)
        assert self._marked is not None
        return self._by_marks(self._marked, searched)

    def _by_outline(self, template: Template, searched: Image) -> Placed:
        placed = template.placed(sight(searched, self._outline(searched)), turned=self.spec.turns > 0)
        if placed.fit < self.spec.least_fit:
            raise NotFoundError(
                f"what lies there fits a good part's outline by {placed.fit:.2f}, and {self.spec.least_fit:.2f} is the"
                " least: another part, half of one, or several"
            )
        if placed.lead < self.spec.least_lead:
            raise NotFoundError(
                f"it cannot be told which way round the part lies: one way is better than another by {placed.lead:.3f},"
                f" and {self.spec.least_lead:.3f} is the least"
            )
        place = Slid(placed.x, placed.y, placed.angle)
        _check_shown(template.shown(place, (searched.shape[0], searched.shape[1])))
        return placed

    def _by_marks(self, template: MarkTemplate, searched: Image) -> Placed:
        placed = template.placed(marked(searched), turns=self.spec.turns)
        if placed is None:
            raise NotFoundError("the marks of a good part are not there: another part, or none")
        if placed.fit < self.spec.least_fit:
            raise NotFoundError(
                f"what lies there fits a good part's marks by {placed.fit:.2f}, and {self.spec.least_fit:.2f} is the"
                " least: another part, or half of one"
            )
        if placed.lead < self.spec.least_lead:
            raise NotFoundError(
                f"the part could lie in two places: one fits better than another by {placed.lead:.3f}, and"
                f" {self.spec.least_lead:.3f} is the least"
            )
        place = Slid(placed.x, placed.y, placed.angle)
        _check_shown(template.shown(place, (searched.shape[0], searched.shape[1])))
        return placed

    def _outline(self, searched: Image) -> Silhouette:
        found = silhouettes(searched)
        if not found:
            raise NotFoundError("no part stands out from the ground")
        least, most = self.spec.area
        first = found[0]
        if not least <= first.area <= most:
            raise NotFoundError(
                f"the largest outline has {first.area:.0f} of the searched pixels, and parts have {least:.0f} to"
                f" {most:.0f}: another part, half of one, or several that touch"
            )
        if first.beside > self.spec.most_beside:
            raise NotFoundError(
                f"a second outline has {first.beside:.0%} of the area of the first: more than one part lies there"
            )
        return first


_EVER = 0.02
"""An outline that this share of good parts fill belongs to parts."""

_MOST_BEYOND = 0.03
"""Of what is judged: more would be judged unseen."""

_SEAM = 0.03
"""Of the upright picture's longer side: what sticks out of a part begins at its edge."""


def _check_shown(share: float) -> None:
    beyond = 1 - share
    if beyond > _MOST_BEYOND:
        raise NotFoundError(f"{beyond:.0%} of what is judged lies beyond the picture's edge")


def searched_picture(image: Image, shrink: float) -> Image:
    """Return an (H, W, 3) uint8 RGB image as it is searched. Raises NotFoundError for one that is far too large."""
    height, width = image.shape[:2]
    size = max(8, round(width * shrink)), max(8, round(height * shrink))
    if max(height, width) > MAX_SIDE or max(size) > 8 * SEARCHED:
        raise NotFoundError(f"a picture of {width} × {height} pixels is far larger than those that were learnt from")
    if size == (width, height):
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def enlarged(mask: npt.NDArray[np.bool_], size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return an (h, w) mask at the `size` (H, W) of the picture that was searched."""
    shares = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(shares > 0.5, dtype=np.bool_)


def first_sight(searched: Image) -> Sight | None:
    """Return what is registered of a picture of which nothing is known, None where nothing stands out."""
    found = silhouettes(searched)
    return sight(searched, found[0]) if found else None
