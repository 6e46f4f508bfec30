"""One product's models as jobs and services use them: an image in, what is wrong with it out, in tiles where large."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.vision.alignment.aligner import PART, Aligner
from neverblink.vision.alignment.view import View
from neverblink.vision.artifact import Artifact
from neverblink.vision.augmentation import brightened
from neverblink.vision.defect_finder import DefectFinder
from neverblink.vision.engines import KeptGraphs, QuantisedNetwork
from neverblink.vision.errors import VisionError
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.map_on_demand import MapField, MapOnDemand
from neverblink.vision.named_regions.fitted import PART as REGIONS
from neverblink.vision.named_regions.fitted import FittedRegions
from neverblink.vision.named_regions.scoring import RegionScorer, Scorer, joined_regions
from neverblink.vision.neighbours import Method
from neverblink.vision.network_names import EngineName
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.stages import begins
from neverblink.vision.tile_plan import TilePlan
from neverblink.vision.tiling import cut, merge

Image = npt.NDArray[np.uint8]

_AT_ONCE = 32
"""Network inputs in one forward pass at most: a tiled image must not need more memory than a full batch."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An (H, W, 3) uint8 RGB image and what the networks take of it: made in any thread, judged in one.

    `inputs` are the backbone's, (side, side, 3) uint8, one or one a tile; `outlining` the U-Net's, None where there
    is none or only images that turn out suspicious are shown to it. `view` is the upright picture of a part that was
    looked for, None where parts are not.
    """

    image: Image
    inputs: Sequence[Image]
    outlining: Sequence[Image] | None = None
    view: View[np.uint8] | None = None


class Inspector:
    """Judges images of one product. Its extractor may be shared by every product with the same backbone."""

    def __init__(
        self,
        artifact: Artifact,
        extractor: FeatureExtractor,
        *,
        device: str = "cpu",
        search: Method = "auto",
        segment_from: float = 0.0,
        min_area_px: int = 1,
        graphs: KeptGraphs | None = None,
    ) -> None:
        """The U-Net, where the artifact has one, runs for images whose score is at least `segment_from` of the
        threshold, on an engine of the same kind as the backbone's; smaller regions than `min_area_px` are dropped. Its
        graph is taken from `graphs`, or kept there.
        """
        self.artifact = artifact
        self.extractor = extractor
        # Opened when it is asked for: most jobs judge scores and maps, and a U-Net takes seconds to compile.
        self._open_finder = partial(
            DefectFinder,
            artifact,
            device=device,
            engine=extractor.engine_name,
            segment_from=segment_from,
            min_area_px=min_area_px,
            graphs=graphs,
        )
        self._patchcore = PatchCore.from_artifact(artifact, device=device, search=search)
        named = regions_of(artifact)
        preprocess, grid = artifact.backbone.preprocess, artifact.manifest.grid
        self._scorer: Scorer = (
            self._patchcore if named is None else RegionScorer(self._patchcore, named, preprocess, grid)
        )
        self._plan = artifact.manifest.tiling
        self._regions = artifact.manifest.regions
        self.aligner = aligner_of(artifact)

    @cached_property
    def finder(self) -> DefectFinder:
        """Return what finds and names known defects. Raises VisionError when a part does not fit its manifest."""
        return self._open_finder()

    @property
    def recall(self) -> float:
        """Return the share of patches whose nearest bank vector is found; below 1 for an approximate search alone."""
        return self._patchcore.recall

    def prepare(self, image: Image) -> Prepared:
        """Find the part in an (H, W, 3) uint8 RGB image and make the backbone's inputs: one, or one a tile.

        Raises NotFoundError where parts lie anyhow and none is found.
        """
        view = None if self.aligner is None else self.aligner.view(image)
        return Prepared(image, prepared(image if view is None else view, self.extractor, self._plan), view=view)

    def prepare_defects(self, image: Image) -> Prepared:
        """Find the part, resize, crop and cut an (H, W, 3) uint8 RGB image for all networks, in any thread.

        Raises VisionError.
        """
        made = self.prepare(image)
        return replace(made, outlining=self.finder.prepare(image if made.view is None else made.view))

    def in_lights(self, image: Image, factors: Sequence[float]) -> list[Image]:
        """Return the inputs of an image once a brightness, each as long as `prepare` makes them. Raises NotFoundError.

        The part is looked for in the image as it is.
        """
        view = None if self.aligner is None else self.aligner.view(image)
        found: list[Image] = []
        for factor in factors:
            lit = brightened(image, factor)
            found += prepared(lit if view is None else view.of(lit), self.extractor, self._plan)
        return found

    def with_threshold(self, threshold: float, map_threshold: float | None = None) -> Self:
        """Return an inspector with another image threshold that shares the bank and all networks with this one.

        The map's threshold stays, unless another is given: a person edits the one, a calibration chooses both.
        """
        other = copy.copy(self)
        other.finder = self.finder.with_threshold(threshold, map_threshold)
        return other

    def warm_up(self, batch: int, *, extractor_is_busy: bool = False) -> None:
        """Run a batch size that will occur, so that the first part does not pay for what is set up lazily.

        An extractor that is busy in another thread, and so warm, is left alone: the bank is shown its own vectors.
        """
        inputs = batch * max(1, self._regions)
        if extractor_is_busy:
            features = self._patchcore.normal_features(inputs, self.extractor.grid)
        else:
            side = self.extractor.spec.preprocess.side
            features = self.extractor.embed([np.full((side, side, 3), 128, dtype=np.uint8)] * inputs)
        self._scorer.score(features)
        self._scorer.score(features[: max(1, self._regions)], complete=True)
        self.finder.warm_up(batch)

    def judge(self, features: Tensor, sizes: Sequence[tuple[int, int]], *, complete: bool = False) -> list[Anomaly]:
        """Score the (T, h, w, C) features of images whose `prepare` gave T inputs in all.

        `sizes` are the images' (height, width), of no account where parts are aligned: maps are then those of the
        upright pictures. `complete` says that every map will be read. Returns one Anomaly an
        image, in order. Raises VisionError when an image is cut into other tiles than its region was drawn for.
        """
        if self._plan is None:
            return self._scorer.score(features, complete=complete)
        if self.aligner is not None:
            sizes = [self.aligner.size] * len(sizes)
        counts = [len(self._plan.tiles(height, width)) for height, width in sizes]
        for (height, width), count in zip(sizes, counts, strict=True):
            if self._regions > 1 and count != self._regions:
                raise VisionError(
                    f"an image of {width} × {height} pixels has {count} tiles and the region was drawn for "
                    f"{self._regions}: the region belongs to images of another size"
                )
        tiles = iter(self._scorer.score(features, complete=complete, tiles=counts))
        return [
            joined([next(tiles) for _ in range(count)], self._plan, size)
            for size, count in zip(sizes, counts, strict=True)
        ]


def features_key(artifact: Artifact) -> str:
    """Return what two artifacts must have in common to share one extractor."""
    network = _int8_network(artifact)
    if network is not None:
        return f"{artifact.backbone.key} {network.digest}"
    bfloat = artifact.manifest.engine == "openvino-bf16"
    return f"{artifact.backbone.key} bf16" if bfloat else artifact.backbone.key


def extractor_of(
    artifact: Artifact,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    engine: EngineName | Literal["auto"] = "auto",
    graphs: KeptGraphs | None = None,
) -> FeatureExtractor:
    """Open an artifact's backbone. A bf16 or int8 model runs on the engine that made its bank, whatever `engine` says.

    Its graph is taken from `graphs`, or kept there.

    Raises VisionError when the weights are missing or others, or the engine cannot run here.
    """
    network = _int8_network(artifact)
    own: EngineName | None = None if network is None else "openvino-int8"
    if artifact.manifest.engine == "openvino-bf16":
        own = "openvino-bf16"
    if own is None and engine == "openvino-bf16":
        raise VisionError(
            f"the model was fitted with {artifact.manifest.engine}; fit it with openvino-bf16 to run it so"
        )
    return FeatureExtractor.from_spec(
        artifact.backbone,
        weights=weights,
        device=device if own is None else "cpu",
        engine=own or engine,
        quantised=network,
        graphs=graphs,
    )


def _int8_network(artifact: Artifact) -> QuantisedNetwork | None:
    if artifact.graph is None or artifact.weights is None:
        return None
    return QuantisedNetwork(artifact.graph, artifact.weights)


def aligner_of(artifact: Artifact) -> Aligner | None:
    """Return what finds an artifact's parts, None where they are not looked for. Raises AlignmentError."""
    return Aligner.of_parts(artifact.manifest.alignment, artifact.parts.get(PART))


def regions_of(artifact: Artifact) -> FittedRegions | None:
    """Return an artifact's named regions, None where it has none. Raises RegionsError."""
    manifest = artifact.manifest
    patches = manifest.grid[0] * manifest.grid[1]
    return FittedRegions.of_parts(manifest.named_regions, artifact.parts.get(REGIONS), manifest.dimension, patches)


def prepared(image: Image | View[np.uint8], extractor: FeatureExtractor, plan: TilePlan | None) -> list[Image]:
    """Return an image's network inputs: the image itself, or its tiles, through the extractor's preprocessing."""
    parts: Sequence[Image | View[np.uint8]] = [image] if plan is None else cut(image, plan)
    return [extractor.prepare(part) for part in parts]


def brought_back(anomaly: Anomaly, view: View[np.uint8] | None) -> Anomaly:
    """Return the anomaly of an upright picture with its map over the camera's, made when it is first read."""
    if view is None:
        return anomaly
    returned = MapOnDemand(lambda: view.back(anomaly.anomaly_map))
    if MapField.made(anomaly) is not None:
        returned.get()
    return replace(anomaly, anomaly_map=returned)


def joined(tiles: Sequence[Anomaly], plan: TilePlan, size: tuple[int, int]) -> Anomaly:
    """Return the anomaly of an image of `size` (height, width) from those of its tiles: the highest score decides."""
    height, width = size
    # `max` of Python may pass over a score that is no number.
    highest = float(np.max([tile.score for tile in tiles]))
    merged = MapOnDemand(lambda: merge([tile.anomaly_map for tile in tiles], plan, image_size=(width, height)))
    anomaly = Anomaly(highest, merged, joined_regions([tile.regions for tile in tiles]))
    if all(MapField.made(tile) is not None for tile in tiles):
        merged.get()
    return anomaly


def embedded(extractor: FeatureExtractor, inputs: Sequence[Image]) -> Tensor:
    """Return the (T, h, w, C) features of any number of network inputs, a bounded number at a time."""
    if len(inputs) <= _AT_ONCE:
        return extractor.embed(inputs)
    return torch.cat([extractor.embed(inputs[start : start + _AT_ONCE]) for start in range(0, len(inputs), _AT_ONCE)])


def inspect(work: Sequence[tuple[Inspector, Image]]) -> list[Anomaly]:
    """Judge images of any products: each backbone runs once for all of them, then each product's search.

    Returns one Anomaly an image, in order; an image's anomaly does not depend on its company.
    """
    prepared_work = [(inspector, inspector.prepare(image)) for inspector, image in work]
    features = embed_prepared(prepared_work)
    found: dict[int, Anomaly] = {}
    for inspector, own in _by_inspector(prepared_work).items():
        found |= dict(zip(own, _judged(inspector, own, prepared_work, features), strict=True))
    return [found[index] for index in range(len(work))]


def inspect_defects(work: Sequence[tuple[Inspector, Image]], *, complete: bool = False) -> list[Inspection]:
    """Judge images as `inspect` does, then find and name their known defects, in the same batch.

    `complete` says that every map will be read. Returns one Inspection an image, in order; it does not depend on the
    image's company.
    """
    prepared_work = [(inspector, inspector.prepare_defects(image)) for inspector, image in work]
    return inspect_prepared(prepared_work, complete=complete)


def inspect_prepared(work: Sequence[tuple[Inspector, Prepared]], *, complete: bool = False) -> list[Inspection]:
    """Do what `inspect_defects` does with images that went through their own inspector's `prepare_defects`."""
    return judge_embedded(work, embed_prepared(work), complete=complete)


def embed_prepared(work: Sequence[tuple[Inspector, Prepared]]) -> list[Tensor]:
    """Return the (T, h, w, C) features of images of any products, T inputs each: each backbone runs once.

    The first half of `inspect_prepared`. Different batches may be in different halves, in different threads, at the
    same time; two in the same half may not.
    """
    by_extractor: dict[int, list[int]] = {}
    for index, (inspector, _) in enumerate(work):
        by_extractor.setdefault(id(inspector.extractor), []).append(index)
    found: dict[int, Tensor] = {}
    for indices in by_extractor.values():
        begins("embed")
        inputs = [part for index in indices for part in work[index][1].inputs]
        features = embedded(work[indices[0]][0].extractor, inputs)
        counts = [len(work[index][1].inputs) for index in indices]
        found |= dict(zip(indices, torch.split(features, counts), strict=True))
    return [found[index] for index in range(len(work))]


def judge_embedded(
    work: Sequence[tuple[Inspector, Prepared]], features: Sequence[Tensor], *, complete: bool = False
) -> list[Inspection]:
    """Search and find what `embed_prepared` gave the features of: the second half of `inspect_prepared`."""
    found: dict[int, Inspection] = {}
    for inspector, own in _by_inspector(work).items():
        anomalies = _judged(inspector, own, work, features, complete=complete)
        images = [work[index][1] for index in own]
        begins("find")
        inspections = inspector.finder.find(
            [one.image if one.view is None else one.view for one in images],
            [one.outlining for one in images],
            anomalies,
            [features[index] for index in own],
        )
        found |= dict(zip(own, inspections, strict=True))
    return [found[index] for index in range(len(work))]


def _by_inspector(work: Sequence[tuple[Inspector, Prepared]]) -> dict[Inspector, list[int]]:
    own: dict[Inspector, list[int]] = {}
    for index, (inspector, _) in enumerate(work):
        own.setdefault(inspector, []).append(index)
    return own


def _judged(
    inspector: Inspector,
    own: Sequence[int],
    work: Sequence[tuple[Inspector, Prepared]],
    features: Sequence[Tensor],
    *,
    complete: bool = False,
) -> list[Anomaly]:
    """Return the anomalies of one product's images, whose places in the work are `own`."""
    begins("search")
    anomalies = inspector.judge(
        torch.cat([features[index] for index in own]),
        [work[index][1].image.shape[:2] for index in own],
        complete=complete,
    )
    return [brought_back(anomaly, work[index][1].view) for anomaly, index in zip(anomalies, own, strict=True)]
