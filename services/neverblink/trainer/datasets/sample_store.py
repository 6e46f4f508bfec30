"""What a U-Net learns from, in its own resolution: kept in memory while there is room, else read again each time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.images import DatasetError
from neverblink.vision.alignment.aligner import Aligner, NotFoundError
from neverblink.vision.alignment.view import View
from neverblink.vision.decode import Image, read_image
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan
from neverblink.vision.tiling import cut

BINARY: Final = ("defect",)
"""The one class of a U-Net that finds defects and does not tell their types apart."""

Mask = npt.NDArray[np.bool_]

# Areas are sums of single-precision numbers: a pixel that is half inside may come out at 0.4999999.
_HALF = 0.5 - 1e-4


class Targets(NamedTuple):
    """`masks` (K, side, side) bool, and `known` (K,) bool: false where nobody marked what a class's defect covers."""

    masks: Mask
    known: Mask


@dataclass(frozen=True, slots=True)
class Sample:
    """One network input: `pixels` (side, side, 3) uint8, a (side, side) mask for every type that it shows.

    Of the types in `unmarked` the image has a defect that its mask does not hold.
    """

    pixels: Image
    masks: Mapping[str, Mask]
    unmarked: frozenset[str]

    def targets(self, classes: Sequence[str]) -> Targets:
        """Return what a U-Net of some classes should say; one that tells no types apart, for all of them at once."""
        masks = np.zeros((len(classes), *self.pixels.shape[:2]), dtype=np.bool_)
        if tuple(classes) == BINARY:
            for mask in self.masks.values():
                masks[0] |= mask
            return Targets(masks, np.array([not self.unmarked]))
        for channel, name in enumerate(classes):
            if name in self.masks:
                masks[channel] = self.masks[name]
        return Targets(masks, np.array([name not in self.unmarked for name in classes]))


class SampleStore:
    """The samples of images: one an image, or one a tile where images are cut."""

    def __init__(
        self, preprocess: Preprocess, tiling: TilePlan | None, *, in_memory: int, aligner: Aligner | None = None
    ) -> None:
        """At most `in_memory` bytes of pixels and masks are kept; samples beyond that are read again each time.

        With an `aligner` images and masks are turned as the model's parts are.
        """
        self._aligner = aligner
        self._preprocess = preprocess
        self._tiling = tiling
        self._room = in_memory
        self._kept: dict[Path, tuple[Sample, ...]] = {}

    @property
    def kept(self) -> int:
        """Return how many images are in memory."""
        return len(self._kept)

    def samples(self, image: DefectImage) -> tuple[Sample, ...]:
        """Return an image's samples, its tiles row by row.

        Raises ImageError for a file that is no image, DatasetError when image and mask differ in size or no part is
        found.
        """
        if image.path in self._kept:
            return self._kept[image.path]
        found = self._read(image)
        size = sum(sample.pixels.nbytes + sum(mask.nbytes for mask in sample.masks.values()) for sample in found)
        if size <= self._room:
            self._room -= size
            self._kept[image.path] = found
        return found

    def _read(self, image: DefectImage) -> tuple[Sample, ...]:
        pixels = read_image(image.path, depth=self._preprocess.depth)
        masks = image.masks(*pixels.shape[:2]) if image.defective else {}
        unmarked = frozenset(name for name in image.types if name not in masks or not masks[name].any())
        view = self._view(image.path, pixels)
        plan, seen = self._tiling, pixels if view is None else view
        # Interpolated as the part is, once.
        marked = {name: mask if view is None else view.of(mask) for name, mask in masks.items() if mask.any()}
        tiles = [seen] if plan is None else cut(seen, plan)
        tiles_of = {name: [mask] if plan is None else cut(mask, plan) for name, mask in marked.items()}
        return tuple(
            Sample(
                self._preprocess.apply(tile),
                {name: mask for name, own in tiles_of.items() if (mask := shrunk(own[number], self._preprocess)).any()},
                unmarked,
            )
            for number, tile in enumerate(tiles)
        )

    def _view(self, path: Path, pixels: Image) -> View[np.uint8] | None:
        """Return the part upright, None where parts are not looked for."""
        try:
            return None if self._aligner is None else self._aligner.view(pixels)
        except NotFoundError as error:
            raise DatasetError(f"{path}: {error}") from error


def shrunk(mask: Mask | View[np.bool_], preprocess: Preprocess) -> Mask:
    """Bring an (H, W) mask over the whole image to the network's resolution: (side, side) bool.

    A pixel belongs to a defect that covers half of it; a defect that covers half of none, as hair-fine scratches
    and pinholes do, keeps all that it touches.
    """
    shares = preprocess.apply_to_mask(mask)
    marked = shares >= _HALF
    _, labels = cv2.connectedComponents((shares > 0).astype(np.uint8), connectivity=8)
    lost = np.setdiff1d(labels, labels[marked])
    return np.asarray(marked | ((shares > 0) & np.isin(labels, lost)), dtype=np.bool_)
