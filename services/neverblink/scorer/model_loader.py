"""From an artifact to a model that is ready to score: fetched, verified, opened, warmed up."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

import torch

from neverblink import telemetry
from neverblink.decisions.rules import ProductRules, rules_for
from neverblink.events import ArtifactRef, CalibratedScores, Slot
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.plant import Plant, Product
from neverblink.scorer.artifact_cache import ArtifactCache
from neverblink.scorer.model_memory import MIB, Key, ModelMemory, NoRoomError
from neverblink.vision.artifact import Artifact, load_artifact, read_manifest
from neverblink.vision.artifact_manifest import Manifest
from neverblink.vision.calibration import Calibration
from neverblink.vision.engines import KeptGraphs
from neverblink.vision.errors import VisionError
from neverblink.vision.inspector import Inspector, extractor_of, features_key
from neverblink.vision.memory import Seen, held_bytes
from neverblink.vision.patchcore import FeatureExtractor

_NETWORKS_SHARE = 8
"""Networks made ready may take so small a part more than the fetched models: they are smaller than most banks."""


@dataclass(frozen=True, slots=True)
class Model:
    """One product's model, ready to score.

    `edited` is the threshold that a person set instead of the artifact's; `calibrated` what its calibration images
    scored, held against the threshold in force.
    """

    product: Product
    inspector: Inspector
    rules: ProductRules
    edited: float | None = None
    calibrated: CalibratedScores | None = None

    @classmethod
    def of(cls, product: Product, inspector: Inspector, edited: float | None = None) -> Self:
        """Return the model of an opened artifact, decided as the product's rules say."""
        artifact = inspector.artifact
        threshold = artifact.threshold if edited is None else edited
        # Of single pictures, as verdicts are: the worst of a group would make every part look good beside it.
        calibrated = CalibratedScores.of(
            artifact.picture_scores.tolist(), threshold, artifact.manifest.calibration.normals
        )
        return cls(product, inspector, rules_for(product), edited, calibrated)

    @property
    def artifact(self) -> Artifact:
        """Return the artifact that it was loaded from."""
        return self.inspector.artifact

    @property
    def calibration(self) -> Calibration:
        """Return the artifact's own threshold, and how near to it a score is unsure."""
        return self.artifact.manifest.calibration

    @property
    def reference(self) -> ArtifactRef:
        """Return what a verdict says about the model."""
        return ArtifactRef(name=self.artifact.name, version=self.artifact.version, digest=self.artifact.digest)

    @property
    def threshold(self) -> float:
        """Return the image score above which a part is rejected."""
        return self.artifact.threshold if self.edited is None else self.edited

    @property
    def depth(self) -> int | None:
        """Return how many bits the values of 16-bit pictures use, as its training was told."""
        return self.artifact.manifest.depth

    @property
    def key(self) -> Key:
        """Return what it is in memory."""
        return self.product.name, self.artifact.digest


class ModelLoader:
    """Opens models, and keeps those that were used before while there is room for them.

    Its methods block for seconds and raise VisionError or NoRoomError with a sentence. They belong to one thread at
    a time, which is not the one that computes: a network that is in use is not touched.
    """

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._settings = plant.scorer
        self._store = ArtifactStore(plant.storage)
        self._cache = ArtifactCache(plant.storage.model_cache, plant.storage.model_cache_mib * MIB, self._store)
        bound = None if plant.scorer.memory_mib is None else plant.scorer.memory_mib * MIB
        self.memory: ModelMemory[Inspector, FeatureExtractor] = ModelMemory(
            bound, measured=_measured(plant.scorer.device)
        )
        self._log = telemetry.logger("scorer")
        # A start that builds and converts networks anew takes seconds, in which the peers are alone.
        self._graphs = KeptGraphs(
            plant.storage.model_cache / "networks",
            plant.storage.model_cache_mib * MIB // _NETWORKS_SHARE,
            self._log.warning,
        )

    def of_plant(self, product: Product, in_use: Collection[Key]) -> Model:
        """Return the model that the plant file names. Models in `in_use` stay in memory."""
        folder = self._plant.artifact_folder(product)
        manifest, digest = read_manifest(folder)
        return Model.of(
            product,
            self._inspector(product, manifest, digest, in_use, lambda: load_artifact(folder, digest=digest)),
        )

    def of_slot(self, product: Product, slot: Slot, in_use: Collection[Key]) -> Model:
        """Return the model of a slot. Models in `in_use` stay in memory, and their artifacts in the cache."""
        digest = slot.artifact.digest
        keep = {digest for _, digest in in_use}
        held = self.memory.get((product.name, digest))
        if held is None:
            artifact = self._cache.load(slot.location, digest, keep)
            if artifact.product != product.name:
                raise VisionError(
                    f"{slot.location} is a model of product {artifact.product}, and the station inspects {product.name}"
                )
            held = self._inspector(product, artifact.manifest, digest, in_use, lambda: artifact)
        inspector = held if slot.threshold is None else held.with_threshold(slot.threshold)
        return Model.of(product, inspector, slot.threshold)

    def _inspector(
        self,
        product: Product,
        manifest: Manifest,
        digest: str,
        in_use: Collection[Key],
        load: Callable[[], Artifact],
    ) -> Inspector:
        key = product.name, digest
        held = self.memory.get(key)
        if held is not None:
            return held
        try:
            # What it surely needs is asked for before it is opened, what it really holds after.
            gone = self.memory.make_room(sum(file.bytes for file in manifest.files().values()), in_use)
            opened, extractor, network = self._opened(product, load())
            seen: Seen = set()
            network_bytes = held_bytes(extractor, self._settings.device, seen)
            own_bytes = held_bytes(opened, self._settings.device, seen)
            gone += self.memory.add(key, opened, own_bytes, network=(network, extractor, network_bytes), in_use=in_use)
        except NoRoomError as error:
            raise NoRoomError(f"{manifest.name} {manifest.version} does not fit into memory: {error}") from error
        gone += self.memory.trim({*in_use, key})
        self._log.info(
            f"{manifest.name} {manifest.version} is loaded for product {product.name}",
            extra={
                "fields": {
                    "digest": digest,
                    "mib": round(own_bytes / MIB, 1),
                    "network_mib": round(network_bytes / MIB, 1),
                    "all_models_mib": round(self.memory.bytes / MIB, 1),
                    "let_go": [digest for _, digest in gone],
                }
            },
        )
        return opened

    def _opened(self, product: Product, artifact: Artifact) -> tuple[Inspector, FeatureExtractor, str]:
        settings = self._settings
        network = features_key(artifact)
        shared = self.memory.network(network)
        extractor = shared or extractor_of(
            artifact,
            weights=product.weights,
            device=settings.device,
            engine=settings.engine,
            graphs=self._graphs,
        )
        rules = rules_for(product)
        inspector = Inspector(
            artifact,
            extractor,
            device=settings.device,
            segment_from=rules.segment_from,
            min_area_px=rules.min_area_px,
            search="auto" if product.search == "exact" else "approximate",
            graphs=self._graphs,
        )
        if inspector.recall < 1:
            telemetry.logger("scorer").info(
                f"product {product.name} is searched approximately: {inspector.recall:.1%} of patches like those of its"
                " bank find their nearest vector, the others look a little more anomalous than they are"
            )
        for size in sorted({1, settings.max_batch}):
            inspector.warm_up(size, extractor_is_busy=shared is not None)
        return inspector, extractor, network


def _measured(device: str) -> Callable[[], int] | None:
    """Return what asks torch's allocator for a GPU's bytes: graphs hold memory that no tensor of ours refers to."""
    if not device.startswith("cuda"):
        return None
    return lambda: torch.cuda.memory_allocated(device)
