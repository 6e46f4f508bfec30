"""The models of this scorer: one backbone for all products that share it, one memory bank per product."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neverblink import telemetry
from neverblink.events import ArtifactRef
from neverblink.plant import Plant, Product
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.patchcore import Anomaly, FeatureExtractor, PatchCore


class ModelError(RuntimeError):
    """No model can score; the message says which artifact and why."""


@dataclass(frozen=True, slots=True)
class Model:
    """One product's model, ready to score."""

    product: Product
    artifact: Artifact
    patchcore: PatchCore
    extractor: FeatureExtractor

    @property
    def reference(self) -> ArtifactRef:
        """Return what a verdict says about the model."""
        return ArtifactRef(name=self.artifact.name, version=self.artifact.version, digest=self.artifact.digest)


class Models:
    """The loaded models by product. Scoring belongs to the compute thread, nothing else touches torch."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {model.product.name: model for model in models}

    @classmethod
    def load(cls, plant: Plant) -> "Models":
        """Load every product that a station inspects, and warm each backbone up.

        A product whose artifact is missing or broken is left out with an alarm: its parts are `no-model`.
        Raises ModelError when none can be loaded.
        """
        if plant.scorer.threads:
            torch.set_num_threads(plant.scorer.threads)
        log = telemetry.logger("scorer")
        wanted = {station.product for _, station in plant.stations()}
        extractors: dict[str, FeatureExtractor] = {}
        models: list[Model] = []
        faults: list[str] = []
        for product in (product for product in plant.products if product.name in wanted):
            folder = plant.artifact_folder(product)
            try:
                model = _load(product, folder, plant.scorer.device, extractors)
            except ValueError as error:
                faults.append(f"product {product.name}: {error}")
                log.error(f"product {product.name} has no model: {error}")
                continue
            _warm_up(model, plant.scorer.max_batch)
            models.append(model)
            log.info(
                f"product {product.name} is scored by {model.artifact.name} {model.artifact.version}",
                extra={"fields": {"digest": model.artifact.digest, "threshold": model.artifact.threshold}},
            )
        if not models:
            raise ModelError("no model can be loaded: " + "; ".join(faults))
        return cls(models)

    def __getitem__(self, product: str) -> Model:
        return self._models[product]

    def get(self, product: str) -> Model | None:
        """Return the product's model, None when there is none."""
        return self._models.get(product)

    def score(self, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[Anomaly]:
        """Score pictures of any products: (product, (H, W, 3) uint8 RGB), each backbone run once.

        Returns one Anomaly per picture, in order.
        """
        found: dict[int, Anomaly] = {}
        backbones: dict[int, list[int]] = {}
        for index, (product, _) in enumerate(pictures):
            backbones.setdefault(id(self._models[product].extractor), []).append(index)
        for indices in backbones.values():
            extractor = self._models[pictures[indices[0]][0]].extractor
            features = extractor.extract([pictures[index][1] for index in indices])
            for product in dict.fromkeys(pictures[index][0] for index in indices):
                rows = [row for row, index in enumerate(indices) if pictures[index][0] == product]
                scored = self._models[product].patchcore.score(features[rows])
                found |= {indices[row]: anomaly for row, anomaly in zip(rows, scored, strict=True)}
        return [found[index] for index in range(len(pictures))]


def _load(product: Product, folder: Path, device: str, extractors: dict[str, FeatureExtractor]) -> Model:
    artifact = load_artifact(folder)
    key = artifact.backbone.key
    if key not in extractors:
        extractors[key] = FeatureExtractor.from_spec(artifact.backbone, weights=product.weights, device=device)
    return Model(product, artifact, PatchCore.from_artifact(artifact, device=device), extractors[key])


def _warm_up(model: Model, max_batch: int) -> None:
    """Run the sizes that will occur once, so that the first part does not pay for lazy set-up."""
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    for size in {1, max_batch}:
        model.patchcore.score(model.extractor.extract([grey] * size))
