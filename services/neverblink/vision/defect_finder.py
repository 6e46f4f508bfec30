"""Known defects of one product: the U-Net's regions and the classifier's names, added to PatchCore's anomaly."""

import copy
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from neverblink.vision.alignment.view import View
from neverblink.vision.artifact import Artifact
from neverblink.vision.artifact_manifest import Manifest
from neverblink.vision.classifier import Classifier
from neverblink.vision.engines import KeptGraphs
from neverblink.vision.hybrid import Marked, mark, named
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.named_regions.naming import RegionNames
from neverblink.vision.network_names import OWN_BANK, EngineName
from neverblink.vision.region_features import describe
from neverblink.vision.regions import outlined_by
from neverblink.vision.segmenter import Segmenter
from neverblink.vision.tiling import cut, merge
from neverblink.vision.unet_spec import UnetSpec

Image = npt.NDArray[np.uint8]
Picture = Image | View[np.uint8]
"""A camera's picture, or the upright one of an aligned part in it."""

Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float32]

_AT_ONCE = 32
"""Network inputs in one forward pass at most."""


class DefectFinder:
    """Finds and names the defects of one product; without U-Net and classifier, PatchCore's regions alone."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        device: str = "cpu",
        engine: EngineName | Literal["auto"] = "auto",
        segment_from: float = 0.0,
        min_area_px: int = 1,
        graphs: KeptGraphs | None = None,
    ) -> None:
        """The U-Net runs for images whose score is at least `segment_from` of the threshold; its graph is taken from
        `graphs`, or kept there.

        Raises VisionError when a part's tensors are not what the manifest says.
        """
        manifest = artifact.manifest
        self._plan = manifest.tiling
        self._preprocess = manifest.backbone.preprocess
        self._threshold, self._map_threshold = artifact.threshold, artifact.map_threshold
        self._segment_from, self._min_area_px = segment_from, min_area_px
        self._unet = None if manifest.unet is None else manifest.unet.spec
        self._segmenter = (
            None
            if self._unet is None
            # A U-Net's probabilities were never checked in bf16, and int8 is a graph of the backbone: it runs in fp32.
            else Segmenter.from_tensors(
                self._unet,
                artifact.parts["unet"],
                device=device,
                engine="auto" if engine in OWN_BANK else engine,
                kept=None if graphs is None else graphs.of(_made_from(self._unet, manifest)),
            )
        )
        regions = manifest.named_regions
        self._names_of_regions = None if regions is None else RegionNames(regions, patches_across(manifest))
        self._classifier = (
            None
            if manifest.classifier is None
            else Classifier.from_tensors(manifest.classifier.spec, artifact.parts["classifier"])
        )

    def with_threshold(self, threshold: float, map_threshold: float | None = None) -> Self:
        """Return a finder with another image threshold, and map threshold if given, that shares the networks."""
        other = copy.copy(self)
        other._threshold = threshold
        if map_threshold is not None:
            other._map_threshold = map_threshold
        return other

    def warm_up(self, batch: int) -> None:
        """Run a batch size that will occur, so that the first part does not pay for what is set up lazily."""
        if self._segmenter is not None:
            side = self._segmenter.spec.preprocess.side
            _segmented(self._segmenter, [np.full((side, side, 3), 128, dtype=np.uint8)] * batch)

    def prepare(self, image: Picture) -> list[Image] | None:
        """Return the U-Net's (side, side, 3) uint8 inputs of an (H, W, 3) uint8 RGB image; safe in any thread.

        None where there is no U-Net, and where it sees suspicious images only: most would be prepared for nothing.
        """
        return None if self._segmenter is None or self._segment_from > 0 else self._inputs(image, self._segmenter)

    def find(
        self,
        images: Sequence[Picture],
        prepared: Sequence[Sequence[Image] | None],
        anomalies: Sequence[Anomaly],
        features: Sequence[Tensor],
    ) -> list[Inspection]:
        """Return what is found in (H, W, 3) uint8 RGB images or views, each with what `prepare` made of it.

        `anomalies` are PatchCore's with maps over the camera's picture, as all that is found is over it; `features` are
        the (T, h, w, C) of each image's tiles, or of its view's.
        """
        probabilities = self._probabilities(images, prepared, anomalies)
        return [
            self._inspection(image, anomaly, own, planes)
            for image, anomaly, own, planes in zip(images, anomalies, features, probabilities, strict=True)
        ]

    def regions(self, image: Picture, anomaly: Anomaly) -> list[Mask]:
        """Return (h, w) masks over an image that shows a defect, one a region that a model marks in it.

        The anomaly map has a say whatever the score: what would be named if the part were rejected.
        """
        (probabilities,) = self._probabilities([image], [None], [anomaly])
        outlined = self._outlined(image, probabilities)
        return [one.region.mask for one in self._marked(image, anomaly, probabilities, outlined, anomalous=True)]

    def _inspection(
        self, image: Picture, anomaly: Anomaly, features: Tensor, probabilities: Probabilities | None
    ) -> Inspection:
        outlined = self._outlined(image, probabilities)
        marked = self._marked(image, anomaly, probabilities, outlined, anomalous=anomaly.unusual > self._threshold)
        names = self._names(marked, features, image)
        findings = tuple(named(marked, self._unet, names))
        if self._names_of_regions is None:
            return Inspection(anomaly, findings, probabilities, outlined)
        regions = self._names_of_regions.scores(anomaly, self._threshold)
        found = self._names_of_regions.named(findings, regions, image)
        return Inspection(anomaly, found, probabilities, outlined, regions)

    def _outlined(self, image: Picture, probabilities: Probabilities | None) -> Mask | None:
        if probabilities is None or self._unet is None:
            return None
        scale = 1.0
        if self._plan is not None:
            scale = self._unet.preprocess.resize / self._plan.tile * _size(image)[1] / probabilities.shape[2]
        elif isinstance(image, View):
            # Of the network's square to the camera's picture, and of that to the map over it: by areas.
            _, _, high, wide = self._unet.preprocess.content
            rows, columns = probabilities.shape[1:]
            finer = (high / image.height) * (wide / image.width)
            scale = float(np.sqrt(finer * np.prod(image.pixels.shape[:2]) / (rows * columns)))
        return outlined_by(self._unet, probabilities, scale=scale)

    def _marked(
        self,
        image: Picture,
        anomaly: Anomaly,
        probabilities: Probabilities | None,
        outlined: Mask | None,
        *,
        anomalous: bool,
    ) -> list[Marked]:
        if not anomalous and (outlined is None or not outlined.any()):
            # Nobody has anything to say, so the anomaly map, which is dearer than the score, is not asked for.
            return []
        height, width = _size(image)
        return mark(
            anomaly.anomaly_map,
            self._map_threshold,
            anomalous=anomalous,
            image_size=(width, height),
            probabilities=probabilities,
            outlined=outlined,
            min_area_px=self._min_area_px,
        )

    def _names(
        self, marked: Sequence[Marked], features: Tensor, image: Picture
    ) -> list[tuple[str | None, float]] | None:
        if self._classifier is None:
            return None
        if not marked:
            return []
        masks = np.stack([one.region.mask for one in marked])
        if isinstance(image, View):
            masks = np.stack([image.onto(mask) for mask in masks])
        descriptors = describe(
            features, masks, self._preprocess, plan=self._plan, size=(image.shape[0], image.shape[1])
        )
        return [(name.type, name.confidence) for name in self._classifier.name(descriptors)]

    def _probabilities(
        self, images: Sequence[Picture], prepared: Sequence[Sequence[Image] | None], anomalies: Sequence[Anomaly]
    ) -> list[Probabilities | None]:
        """Return (K, h, w) probabilities over each whole image, None where the U-Net is not asked."""
        found: list[Probabilities | None] = [None] * len(images)
        if self._segmenter is None:
            return found
        suspicious = self._segment_from * self._threshold
        asked = [index for index, anomaly in enumerate(anomalies) if anomaly.score >= suspicious]
        inputs = [prepared[index] or self._inputs(images[index], self._segmenter) for index in asked]
        planes = iter(_segmented(self._segmenter, [part for parts in inputs for part in parts]))
        preprocess = self._segmenter.spec.preprocess
        for index, parts in zip(asked, inputs, strict=True):
            # Back from the network's square to the whole image: what a crop leaves out has no defect.
            placed = [[preprocess.uncrop(plane) for plane in next(planes)] for _ in parts]
            image = images[index]
            whole = self._whole(placed, image.shape[:2])
            found[index] = np.stack([image.back(one) for one in whole]) if isinstance(image, View) else whole
        return found

    def _inputs(self, image: Picture, segmenter: Segmenter) -> list[Image]:
        parts: Sequence[Picture] = [image] if self._plan is None else cut(image, self._plan)
        return [segmenter.prepare(part) for part in parts]

    def _whole(self, tiles: Sequence[Sequence[Plane]], size: tuple[int, ...]) -> Probabilities:
        """Bring the planes of an image's tiles over the whole image of `size` (height, width), without a seam."""
        if self._plan is None:
            return np.stack(tiles[0])
        height, width = size
        return np.stack([merge(planes, self._plan, image_size=(width, height)) for planes in zip(*tiles, strict=True)])


def _made_from(spec: UnetSpec, manifest: Manifest) -> str:
    return f"{spec.model_dump_json()} {manifest.parts['unet'].sha256}"


def patches_across(manifest: Manifest) -> float:
    """Return how many patches of the network's grid the longer side of what named regions are drawn on has."""
    assert manifest.named_regions is not None
    if manifest.tiling is None:
        return float(max(manifest.grid))
    drawn = manifest.alignment
    longer = max(manifest.named_regions.width, manifest.named_regions.height)
    if drawn is not None:
        longer = max(drawn.width, drawn.height)
    return max(manifest.grid) * max(1.0, longer / manifest.tiling.tile)


def _size(image: Picture) -> tuple[int, int]:
    """Return (height, width) of the camera's picture."""
    height, width = (image.pixels if isinstance(image, View) else image).shape[:2]
    return height, width


def _segmented(segmenter: Segmenter, inputs: Sequence[Image]) -> list[Probabilities]:
    """Return (K, side, side) probabilities an input, a bounded number at a time."""
    starts = range(0, len(inputs), _AT_ONCE)
    return [planes for start in starts for planes in segmenter.segment(inputs[start : start + _AT_ONCE])]
