"""The models of this scorer: one backbone for all products that share it, one memory bank per product."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neverblink import telemetry
from neverblink.events import ArtifactRef
from neverblink.plant import Plant, Product, ScorerSettings
from neverblink.scorer.policy import policy_of
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.hybrid import Policy
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, extractor_of, features_key, inspect_defects
from neverblink.vision.patchcore import FeatureExtractor


class ModelError(RuntimeError):
    """No model can score; the message says which artifact and why."""


@dataclass(frozen=True, slots=True)
class Model:
    """One product's model, ready to score."""

    product: Product
    inspector: Inspector
    policy: Policy

    @property
    def artifact(self) -> Artifact:
        """Return the artifact that it was loaded from."""
        return self.inspector.artifact

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
                model = _load(product, folder, plant.scorer, extractors)
            except ValueError as error:
                faults.append(f"product {product.name}: {error}")
                log.error(f"product {product.name} has no model: {error}")
                continue
            models.append(model)
            log.info(
                f"product {product.name} is scored by {model.artifact.name} {model.artifact.version}",
                extra={
                    "fields": {
                        "digest": model.artifact.digest,
                        "threshold": model.artifact.threshold,
                        "knows": sorted(model.artifact.parts),
                    }
                },
            )
        if not models:
            raise ModelError("no model can be loaded: " + "; ".join(faults))
        return cls(models)

    def __getitem__(self, product: str) -> Model:
        return self._models[product]

    def get(self, product: str) -> Model | None:
        """Return the product's model, None when there is none."""
        return self._models.get(product)

    def score(self, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[Inspection]:
        """Score pictures of any products: (product, (H, W, 3) uint8 RGB), each backbone run once.

        Returns one Inspection per picture, in order.
        """
        return inspect_defects([(self._models[product].inspector, pixels) for product, pixels in pictures])


def _load(product: Product, folder: Path, settings: ScorerSettings, extractors: dict[str, FeatureExtractor]) -> Model:
    artifact = load_artifact(folder)
    key = features_key(artifact)
    if key not in extractors:
        extractors[key] = extractor_of(
            artifact, weights=product.weights, device=settings.device, engine=settings.engine
        )
    inspector = Inspector(
        artifact,
        extractors[key],
        device=settings.device,
        segment_from=product.defects.suspicious_from if product.defects.segment == "suspicious" else 0.0,
        min_area_px=product.min_area_px,
    )
    for size in {1, settings.max_batch}:
        inspector.warm_up(size)
    return Model(product, inspector, policy_of(product.defects))
