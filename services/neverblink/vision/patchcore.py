"""PatchCore (Roth et al., CVPR 2022): patches of an image against a bank of patches of good images."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.vision.alignment.view import View
from neverblink.vision.anomaly_map import smoothing_matrix
from neverblink.vision.artifact import Artifact
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.backbones import Backbone, reload_backbone
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import Engine, KeptGraph, KeptGraphs, QuantisedNetwork, open_engine, reopened_engine
from neverblink.vision.errors import VisionError
from neverblink.vision.inspection import Anomaly
from neverblink.vision.map_on_demand import Map, MapOnDemand
from neverblink.vision.neighbours import ApproximateIndex, Bounds, FarthestSearch, Method, neighbour_index
from neverblink.vision.network_names import EngineName
from neverblink.vision.preprocess import Preprocess

_LARGE_BANK = 1 << 10
"""Vectors from which on the farthest patches are found sooner than all distances: at 2,000 in half the time."""

_MANY_PATCHES = 64
"""Patches of an image below which all of them are as quickly searched as the farthest."""


PatchesOf = Mapping[int, Tensor]
"""Of one input of an image the (n,) places of the patches of each region that it shows."""


class FeatureExtractor:
    """One backbone; its features serve every product whose artifact has the same `backbone.key`."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str = "cpu",
        engine: EngineName | Literal["auto"] = "auto",
        quantised: QuantisedNetwork | None = None,
        kept: KeptGraph | None = None,
    ) -> None:
        """Open the engine; `quantised` is what openvino-int8 runs, and its features fit only banks made with it.

        The graph is kept in `kept`, where one is made.
        """
        side = backbone.spec.preprocess.side
        embedding = PatchEmbedding(backbone)
        self._run_by(
            backbone.spec,
            open_engine(engine, embedding, side=side, device=device, quantised=quantised, kept=kept),
        )

    def _run_by(self, spec: BackboneSpec, engine: Engine) -> None:
        self.spec = spec
        self._preprocess = spec.preprocess
        self._engine = engine
        side = self._preprocess.side
        probe = self._engine.embed(torch.zeros((1, side, side, 3), dtype=torch.uint8))
        self.grid: tuple[int, int] = (probe.shape[1], probe.shape[2])
        self.dimension: int = probe.shape[3]

    @classmethod
    def from_spec(
        cls,
        spec: BackboneSpec,
        *,
        weights: Path | None = None,
        device: str = "cpu",
        engine: EngineName | Literal["auto"] = "auto",
        quantised: QuantisedNetwork | None = None,
        graphs: KeptGraphs | None = None,
    ) -> Self:
        """Load the backbone of an artifact. Raises WeightsError when the weights are missing or others.

        Where its graph is in `graphs`, no weights are read: it was made from those of the spec's digest.
        """
        kept = None
        if graphs is not None:
            kept = graphs.of(f"{spec.key} {'' if quantised is None else quantised.digest}")
        reopened = reopened_engine(engine, kept, device=device, quantised=quantised is not None)
        if reopened is None:
            backbone = reload_backbone(spec, weights=weights)
            return cls(backbone, device=device, engine=engine, quantised=quantised, kept=kept)
        extractor = cls.__new__(cls)
        extractor._run_by(spec, reopened)
        return extractor

    @property
    def engine_name(self) -> EngineName:
        """Return the engine that computes the features."""
        return self._engine.name

    def prepare(self, image: npt.NDArray[np.uint8] | View[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize and crop an (H, W, 3) uint8 RGB image to the network's input; safe in a decoding thread."""
        return self._preprocess.apply(image)

    def extract(self, images: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        """Return the (N, h, w, C) float32 features of (H, W, 3) uint8 RGB images, each of its own size."""
        return self.embed([self.prepare(image) for image in images])

    def embed(self, prepared: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        """Return the (N, h, w, C) float32 features of images that went through `prepare`."""
        if not prepared:
            return torch.empty((0, *self.grid, self.dimension))
        return self._engine.embed(torch.from_numpy(np.stack(prepared)))


class PatchCore:
    """The bank of one product, and how it scores."""

    def __init__(
        self,
        bank: Tensor,
        *,
        neighbours: Tensor | None = None,
        region: npt.NDArray[np.bool_] | None = None,
        preprocess: Preprocess | None = None,
        smoothing: float = 4.0,
        top: int = 1,
        search: Method = "auto",
        probe: Tensor | None = None,
    ) -> None:
        """`bank` (M, C) float32; `neighbours` (M, b) turns on the re-weighting of eq. 7; `region` (R, h, w) bool
        says which patches are judged, None all: R is 1, or the number of tiles of an image.
        The score is the mean of the `top` highest patch distances, the paper's maximum for 1. `probe` (q, C) float32
        are patches of real images to choose the search with.
        """
        self._bank = bank
        self._region = None if region is None else torch.from_numpy(region.reshape(len(region), -1)).to(bank.device)
        self._neighbours = None if neighbours is None else neighbours.long()
        self._preprocess = preprocess or Preprocess()
        self._smoothing = smoothing
        self._top = top
        self._index = neighbour_index(bank, search, probe=probe)

    @classmethod
    def from_artifact(cls, artifact: Artifact, *, device: str = "cpu", search: Method = "auto") -> Self:
        """Put an artifact's bank on a device."""
        table = artifact.neighbours
        return cls(
            torch.from_numpy(artifact.bank).to(device),
            neighbours=None if table is None else torch.from_numpy(table).to(device),
            region=artifact.region,
            preprocess=artifact.backbone.preprocess,
            smoothing=artifact.manifest.smoothing,
            top=artifact.manifest.top,
            search=search,
            probe=None if artifact.probe is None else torch.from_numpy(artifact.probe).to(device),
        )

    def with_top(self, top: int) -> Self:
        """Return the same bank and search with another score: the mean of so many highest patch distances."""
        other = copy.copy(self)
        other._top = top
        return other

    def normal_features(self, count: int, grid: tuple[int, int]) -> Tensor:
        """Return (count, h, w, C) float32 features that look normal: vectors of the bank in turn."""
        high, wide = grid
        rows = torch.arange(count * high * wide, device=self._bank.device) % len(self._bank)
        return self._bank[rows].view(count, high, wide, -1)

    @property
    def recall(self) -> float:
        """Return the share of patches whose nearest bank vector is found; below 1 for an approximate search alone."""
        return self._index.recall if isinstance(self._index, ApproximateIndex) else 1.0

    @cached_property
    def _farthest(self) -> FarthestSearch:
        # Made when a score is first asked for: a fit asks for complete maps alone.
        return FarthestSearch(self._bank, self._index)

    @torch.inference_mode()
    def score(self, features: Tensor, *, complete: bool = False, tiles: Sequence[int] | None = None) -> list[Anomaly]:
        """Score (N, h, w, C) float32 features; an image's score does not depend on its company in the batch.

        `tiles` says how many inputs in turn belong to one image, whose score is their highest: those that cannot be it
        may have the score minus infinity.
        On a CPU the patches that cannot be among the highest are not searched, and an image's map is made when it is
        first read, from a copy of its features; `complete` says that all maps will be read, and makes them at once.
        An image with a feature that is no finite number has the score NaN, wherever it lies.
        """
        count, high, wide, _ = features.shape
        patches, sound = self._patches(features)
        if count == 0:
            return []
        inside = self._inside(count)
        maps: Sequence[Map | MapOnDemand]
        if complete or not self._spares(high * wide):
            distances = self._distances(patches, inside)
            scores = self._by_all(patches, distances)
            maps = self._maps(distances.view(count, high, wide))
        else:
            scores = self._by_the_farthest(patches, inside, tiles)
            maps = self._maps_on_demand(patches, inside, (high, wide))
        scores = torch.where(sound & (scores.isfinite() | (scores == -torch.inf)), scores, torch.nan)
        return [Anomaly(score=score, anomaly_map=maps[index]) for index, score in enumerate(scores.tolist())]

    @torch.inference_mode()
    def score_by_region(
        self, features: Tensor, regions: Sequence[PatchesOf], count: int, *, complete: bool = False
    ) -> tuple[Tensor, Sequence[Map | MapOnDemand]]:
        """Return the (N, count) scores of regions of (N, h, w, C) features, and the maps of inputs, both as distances.

        `regions` are `patches_of` the T inputs of an image. A region of which an input has no patch scores 0 there.
        """
        inputs, high, wide, dimension = features.shape
        patches, sound = self._patches(features)
        scores = features.new_zeros((inputs, count))
        if inputs == 0:
            return scores, []
        inside = self._inside(inputs)
        distances: Tensor | None = None
        maps: Sequence[Map | MapOnDemand]
        if complete or not self._spares(high * wide):
            distances = self._distances(patches, inside)
            maps = self._maps(distances.view(inputs, high, wide))
        else:
            maps = self._maps_on_demand(patches, inside, (high, wide))
        for tile, shown_there in enumerate(regions):
            shown = slice(tile, None, len(regions))
            for region, own in shown_there.items():
                places = own.to(patches.device)
                part = patches[shown][:, places]
                if distances is None and self._spares(len(places)):
                    scores[shown, region] = self._by_the_farthest(part, None, None)
                    continue
                known = (
                    self._index.distances(part.reshape(-1, dimension)).view(part.shape[:2])
                    if distances is None
                    else distances[shown][:, places]
                )
                scores[shown, region] = self._by_all(part, known)
        return torch.where(sound.unsqueeze(1) & scores.isfinite(), scores, torch.nan), maps

    def _patches(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, P, C) patches, and (N,) whether each input's are finite; those that are not are zero."""
        count, high, wide, dimension = features.shape
        if dimension != self._bank.shape[1]:
            raise VisionError(
                f"features of {dimension} numbers do not fit a bank of {self._bank.shape[1]}: another backbone"
            )
        patches = features.reshape(count, high * wide, dimension)
        # A search that skips what cannot be the farthest would skip what cannot be compared, or find no neighbour.
        sound = patches.sum(dim=(1, 2)).isfinite()
        if not sound.all():
            patches = torch.where(sound.view(-1, 1, 1), patches, 0)
        return patches, sound

    def _maps_on_demand(
        self, patches: Tensor, inside: Tensor | None, grid: tuple[int, int]
    ) -> Sequence[Map | MapOnDemand]:
        # A copy: the caller's memory may change, and a view would keep all of a batch for one of its images.
        return [
            MapOnDemand(partial(self._map, own.clone(), None if inside is None else inside[index], grid))
            for index, own in enumerate(patches)
        ]

    def _spares(self, places: int) -> bool:
        """Say whether finding the farthest patches of an image is cheaper than the distances of all."""
        return (
            self._bank.device.type == "cpu"
            and len(self._bank) >= _LARGE_BANK
            and places >= _MANY_PATCHES
            and not isinstance(self._index, ApproximateIndex)
        )

    def _by_all(self, patches: Tensor, distances: Tensor) -> Tensor:
        """Return (N,) scores by (N, P) distances of all patches."""
        rows = torch.arange(len(patches), device=patches.device)
        top = distances.topk(min(self._top, distances.shape[1]), dim=1).indices
        unusual = patches[rows.unsqueeze(1), top]
        found = self._index.nearest(unusual.flatten(0, 1))
        # What the region leaves out is no part of the score, even where it alone is left to be the highest.
        judged = distances[rows.unsqueeze(1), top] > 0
        scores = (found.distance.view(top.shape) * judged).mean(dim=1)
        if self._neighbours is not None:
            scores = scores * self._weights(unusual[:, 0], found.index.view(top.shape)[:, 0], self._neighbours)
        return scores

    def _by_the_farthest(self, patches: Tensor, inside: Tensor | None, tiles: Sequence[int] | None) -> Tensor:
        """Return the same (N,) scores by the farthest patches alone; minus infinity for tiles that are not searched."""
        search, top = self._farthest, min(self._top, patches.shape[1])
        bounds = search.bounds(patches, inside)
        if tiles is None or len(tiles) == len(patches):
            search.settle(bounds, top)
            return self._of_settled(patches, bounds)
        image = torch.arange(len(tiles)).repeat_interleave(torch.tensor(tiles))
        # A mean of the highest bounds is above the tile's score, which eq. 7 only lowers.
        promising = bounds.bound.clamp(min=0).topk(top, dim=1).values.mean(dim=1)
        first = torch.tensor([int(part.argmax()) for part in torch.split(promising, list(tiles))])
        first += torch.tensor([0, *tiles[:-1]]).cumsum(0)
        done = torch.zeros(len(patches), dtype=torch.bool)
        done[first] = True
        search.settle(bounds, top, torch.where(done, -1, torch.inf))
        best = self._of_settled(patches, bounds)[first][image]
        # One patch above the best score is the least that a tile needs to be higher.
        search.settle(bounds, 1, torch.where(done, torch.inf, best))
        rivals = ~done & (bounds.highest(1) > best)
        search.settle(bounds, top, torch.where(rivals, -1, torch.inf))
        return torch.where(done | rivals, self._of_settled(patches, bounds), -torch.inf)

    def _of_settled(self, patches: Tensor, bounds: Bounds) -> Tensor:
        """Return (N,) scores by what is certain."""
        found = self._farthest.found(bounds, self._top)
        scores = found.distance.mean(dim=1)
        if self._neighbours is not None:
            unusual = patches[torch.arange(len(patches)), found.patch[:, 0]]
            scores = scores * self._weights(unusual, found.index[:, 0], self._neighbours)
        return scores

    def _inside(self, count: int) -> Tensor | None:
        """Return the (N, P) bool patches that are judged, None where all are."""
        if self._region is None:
            return None
        if count % len(self._region):
            raise VisionError(f"{count} tiles do not fit a region of {len(self._region)} tiles an image")
        return self._region.repeat(count // len(self._region), 1)

    def _distances(self, patches: Tensor, inside: Tensor | None) -> Tensor:
        """Return (N, P) distances of (N, P, C) patches from the bank; what is not judged is at distance 0."""
        count, places, dimension = patches.shape
        if inside is None:
            return self._index.distances(patches.reshape(-1, dimension)).view(count, places)
        distances = patches.new_zeros((count, places))
        if inside.any():
            distances[inside] = self._index.distances(patches[inside])
        return distances

    @torch.inference_mode()
    def _map(self, patches: Tensor, inside: Tensor | None, grid: tuple[int, int]) -> Map:
        """Return the map of one image's (P, C) patches."""
        distances = self._distances(patches.unsqueeze(0), None if inside is None else inside.unsqueeze(0))
        return self._maps(distances.view(1, *grid))[0]

    def _weights(self, patches: Tensor, nearest: Tensor, table: Tensor) -> Tensor:
        """Eq. 7: one minus the nearest vector's share in the softmax over its own bank neighbours."""
        company = self._bank[table[nearest]]
        distances = (patches.unsqueeze(1) - company).square().sum(dim=2).sqrt()
        return 1 - torch.softmax(distances, dim=1)[:, 0]

    def _maps(self, distances: Tensor) -> list[Map]:
        """Return the maps of (N, h, w) distances over the whole images."""
        _, high, wide = distances.shape
        side = self._preprocess.side
        rows, columns = (_smoothing(patches, side, self._smoothing, distances.device) for patches in (high, wide))
        maps: npt.NDArray[np.float32] = (rows @ distances @ columns.T).cpu().numpy()
        return [self._preprocess.uncrop(anomaly_map) for anomaly_map in maps]


def patches_of(labels: npt.NDArray[np.int64]) -> tuple[PatchesOf, ...]:
    """Return the patches of each region by (T, h · w) labels of an image's inputs, -1: of none."""
    return tuple(
        {int(region): torch.from_numpy(np.flatnonzero(own == region)) for region in np.unique(own[own >= 0])}
        for own in labels
    )


@lru_cache(maxsize=32)
def _smoothing(patches: int, side: int, sigma: float, device: torch.device) -> Tensor:
    """Return `smoothing_matrix` as float32 on a device, where every call needs it again."""
    return torch.from_numpy(smoothing_matrix(patches, side, sigma)).to(device, torch.float32)
