"""Training images as a fit sees them: preprocessed, in several lights, within a region."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.alignment.aligner import Aligner
from neverblink.vision.alignment.view import Pose, View
from neverblink.vision.augmentation import Lighting
from neverblink.vision.copies import Groups
from neverblink.vision.decode import read_image
from neverblink.vision.inspection import Anomaly
from neverblink.vision.inspector import Image, joined, prepared
from neverblink.vision.named_regions.places import Drawn, Grid, Places, places_of
from neverblink.vision.named_regions.spec import REST, FittedRegion, RegionsFile, check_size
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.region import Mask, patch_region, read_mask, tiled_patch_region
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.tiling import merge


class Views:
    """The network inputs of the training images: each once a brightness, and in tiles where images are cut.

    Inputs of one image follow one another, tiles within brightness. `region` (R, h, w) bool is what is judged.
    """

    def __init__(
        self,
        images: Sequence[Path],
        extractor: FeatureExtractor,
        settings: FitSettings,
        judged: Mask | None,
        group: Groups | None = None,
        aligner: Aligner | None = None,
        poses: Mapping[Path, Pose] = MappingProxyType({}),
        named: Places | None = None,
    ) -> None:
        """`group` (n,) int64 counts images that are copies as one; None: none are. With an `aligner` parts are seen
        upright; where it finds them need not be known by `poses`. `named` are another model's named regions, in place
        of those of the settings.
        """
        self._depth = settings.depth
        self.aligner, self._poses = aligner, poses
        self.images = images
        self.group = np.arange(len(images)) if group is None else group
        self.size = read_image(images[0], depth=settings.depth).shape[:2] if aligner is None else aligner.size
        self.plan = settings.tiling
        self._extractor = extractor
        self._lighting = Lighting(brightness=settings.brightness)
        self.tiles = 1 if self.plan is None else len(self.plan.tiles(*self.size))
        self.an_image = self.tiles * len(settings.brightness)
        self._as_it_is = self.tiles * settings.brightness.index(1.0)
        self.region = region_of(settings, extractor, self.size, aligner) if judged is None else judged
        self.places = named
        if named is None and isinstance(settings.regions, RegionsFile):
            self.places = self._places(settings.regions, extractor)
        if self.places is not None:
            self.region = self.places.labels.reshape(-1, *extractor.grid) >= 0

    def _places(self, drawn: RegionsFile, extractor: FeatureExtractor) -> Places:
        """Return which patches named regions are. Raises RegionsError."""
        height, width = self.size
        check_size((drawn.width, drawn.height), (width, height))
        regions: list[Drawn] = list(drawn.regions)
        if drawn.rest == "judged":
            regions.append(FittedRegion(name=REST, kind="judged", polygon=()))
        grid = Grid((height, width), extractor.spec.preprocess, extractor.grid, self.plan)
        return places_of(regions, (drawn.width, drawn.height), grid, self.region)

    def of(self, path: Path) -> list[Image]:
        """Return an image's inputs. Raises DatasetError when it is cut and has another size than the first."""
        image = read_image(path, depth=self._depth)
        view = self._view(path, image)
        if view is None and self.plan is not None and not self.plan.alike(image.shape[:2], self.size):
            (height, width), (first_height, first_width) = image.shape[:2], self.size
            raise DatasetError(
                f"{path} has {width} × {height} pixels and {self.images[0]} has {first_width} × {first_height}: images"
                " that are cut into tiles must be of one size, within 3 % a side, and give as many tiles"
            )
        variants = self._lighting.variants(image)
        seen = variants if view is None else [view.of(variant) for variant in variants]
        return [part for one in seen for part in prepared(one, self._extractor, self.plan)]

    def _view(self, path: Path, image: Image) -> View[np.uint8] | None:
        if self.aligner is None:
            return None
        known = self._poses.get(path)
        return self.aligner.view(image) if known is None else self.aligner.placed(image, known)

    def seen(self, image: Image) -> Image | View[np.uint8]:
        """Return what of an (H, W, 3) uint8 RGB image goes to the network. Raises NotFoundError."""
        return image if self.aligner is None else self.aligner.view(image)

    def judged(self, image: int) -> range:
        """Return the rows of an image as it is: what its score comes from."""
        start = image * self.an_image + self._as_it_is
        return range(start, start + self.tiles)

    def some(self, count: int) -> list[Image]:
        """Return about `count` inputs, those of whole images spread over all, as they are."""
        wanted = max(1, count // self.tiles)
        paths = self.images[:: max(1, len(self.images) // wanted)][:wanted]
        shown = (self.seen(read_image(path, depth=self._depth)) for path in paths)
        return [part for image in shown for part in prepared(image, self._extractor, self.plan)]

    def whole(self, tiles: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return an image's map from those of its inputs."""
        height, width = self.size
        return tiles[0] if self.plan is None else merge(tiles, self.plan, image_size=(width, height))

    def anomaly(self, tiles: Sequence[Anomaly]) -> Anomaly:
        """Return an image's anomaly from those of its inputs."""
        return tiles[0] if self.plan is None else joined(tiles, self.plan, self.size)


def preprocess_of(images: Sequence[Path], settings: FitSettings, aligner: Aligner | None = None) -> Preprocess:
    """Return how images become network inputs. Raises SettingsError or DatasetError."""
    aspect: float | None = None
    if settings.keep_aspect:
        if settings.tiling is not None:
            height, width = settings.tiling.tile, settings.tiling.tile
        elif aligner is not None:
            height, width = aligner.size
        else:
            height, width = read_image(images[0], depth=settings.depth).shape[:2]
        aspect = width / height
    return Preprocess(
        resize=settings.size,
        crop=settings.crop,
        aspect=aspect,
        white_balance=settings.white_balance,
        clahe=settings.clahe,
        depth=settings.depth,
    )


def region_of(
    settings: FitSettings, extractor: FeatureExtractor, size: tuple[int, int], aligner: Aligner | None = None
) -> Mask | None:
    """Return the (R, h, w) patches that are judged, None for all; what was padded never is.

    Of an aligned part a region is over its upright picture, and the ground beneath it is not judged: it is another one
    with every part.
    """
    preprocess = extractor.spec.preprocess
    if settings.region is None and preprocess.aspect is None and aligner is None:
        return None
    if isinstance(settings.region, Path):
        mask = read_mask(settings.region)
    else:
        mask = (settings.region or RegionOfInterest()).mask(*size)
    if aligner is not None:
        ground = cv2.resize(aligner.ground().astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
        mask = mask & (ground > 0)
    if settings.tiling is None:
        return patch_region(mask, preprocess, extractor.grid)[None]
    if mask.shape != size:
        raise DatasetError(
            f"the region mask has {mask.shape[1]} × {mask.shape[0]} pixels and the images have {size[1]} × {size[0]}:"
            " with tiles they must be of one size"
        )
    return tiled_patch_region(mask, settings.tiling, preprocess, extractor.grid)
