"""From pictures of good parts to a calibrated artifact."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import Tensor

from neverblink import __version__
from neverblink.trainer.dataset import DatasetError
from neverblink.trainer.feature_store import FeatureStore
from neverblink.vision.artifact import Artifact, Description, Provenance, save_artifact
from neverblink.vision.backbone_spec import DEFAULT_MODEL
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import calibrate, folds, threshold_rank
from neverblink.vision.coreset import Condensed, condense, greedy_k_center, project
from neverblink.vision.decode import read_image
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much is done, and of how much."""

_BATCH = 8

_GIB = 1024**3

_PROGRAM_GIB = 1.0
"""What the program, its network and a batch need besides features: 0.7 GiB with ResNet-18 at 256 px, and some air."""

_CHOSEN_AT_ONCE = 1 << 20
"""More patches than this (1,024 images of 256 px) are condensed fold by fold: the work grows with their square."""

_KEPT = 2.0
"""Times its share that each fold keeps: on magnetic tiles 1.5, 2 and 5 end at 1.08 to 1.11 of the greedy radius."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a model is made with; the defaults are what `neverblink fit` uses."""

    product: str
    name: str
    version: str = "1"
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    size: int = 256
    crop: int | None = None
    ratio: float = 0.01
    projection: int = 64
    """On magnetic tiles 64 dimensions give the AUROC of all 152 (0.872, 0.873) in 0.4 of the coreset's time."""
    neighbours: int = 0
    folds: int = 5
    false_reject: float | None = None
    seed: int = 0
    starts: int = 1
    """Random starting points of the coreset; the official code has 10."""
    memory_gib: float = 4.0
    """What the job may hold in memory; features beyond that go to a file in `scratch`."""
    scratch: Path | None = None
    device: str = "cpu"

    @property
    def room(self) -> int:
        """Return the bytes left for features. Raises DatasetError when the limit does not even hold the program."""
        if self.memory_gib < _PROGRAM_GIB + 0.25:
            raise DatasetError(
                f"{self.memory_gib:g} GiB of memory do not hold the network and a batch; allow {_PROGRAM_GIB + 0.25:g}"
            )
        return int((self.memory_gib - _PROGRAM_GIB) * _GIB)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The artifact, and how many images are behind it."""

    artifact: Artifact
    images: int


def fit(images: Sequence[Path], folder: Path, settings: FitSettings, progress: Progress = lambda *_: None) -> Fitted:
    """Fit a PatchCore model to images of good parts and write it to `folder`.

    Every image goes into the memory bank, and every image calibrates the threshold: it is scored by a bank
    built without it (`folds` banks of all but one fold each). On magnetic tiles those scores have the median
    of fresh images; leaving only an image's own vectors out of the one bank puts it 2.5 % higher.
    `neighbours` above 0 turns on the re-weighting of eq. 7. Memory stays below `memory_gib`: what does not fit
    is in a file, and many patches are condensed fold by fold, which serves all banks. Raises VisionError.
    """
    if len(images) < 2:
        raise DatasetError(f"{len(images)} image is not enough to know what is normal; give dozens, better hundreds")
    # What cannot be done is refused before the work, not after it.
    room = settings.room
    if settings.false_reject is not None:
        threshold_rank(len(images), settings.false_reject)
    backbone = load_backbone(
        settings.model,
        weights=settings.weights,
        preprocess=Preprocess(resize=settings.size, crop=settings.crop),
    )
    extractor = FeatureExtractor(backbone, device=settings.device)
    shape = (len(images), extractor.grid[0] * extractor.grid[1], extractor.dimension)
    with FeatureStore(*shape, in_memory=room // 3, scratch=settings.scratch) as features:
        digests = _extract(images, extractor, features, progress)
        with _projected(features, settings) as projected:
            banks = _Banks(features, projected, settings)
            bank = banks.all_images(lambda done, total: progress("choosing the memory bank", done, total))
            scores, peaks = _cross_fitted(banks, extractor.grid, backbone.spec.preprocess, settings, progress)
    calibration = calibrate(
        scores, peaks, false_reject="auto" if settings.false_reject is None else settings.false_reject
    )
    description = Description(
        name=settings.name,
        version=settings.version,
        product=settings.product,
        created=datetime.now(UTC),
        backbone=backbone.spec,
        grid=extractor.grid,
        dimension=extractor.dimension,
        vectors=len(bank),
        neighbours=min(settings.neighbours, len(bank)),
        calibration=calibration,
        provenance=Provenance(
            images=digests,
            coreset_ratio=settings.ratio,
            projection=settings.projection,
            seed=settings.seed,
            folds=min(settings.folds, len(images)),
            software={"neverblink": __version__, "torch": torch.__version__, "timm": timm.__version__},
        ),
    )
    table = neighbour_table(bank, settings.neighbours).numpy() if settings.neighbours else None
    artifact = save_artifact(
        folder, description, bank=bank.numpy(), neighbours=table, scores=scores, peaks=peaks, overwrite=True
    )
    return Fitted(artifact, len(images))


def _extract(
    images: Sequence[Path], extractor: FeatureExtractor, features: FeatureStore, progress: Progress
) -> tuple[str, ...]:
    """Append the features of all images, and return the digest of each file."""
    digests: list[str] = []
    for start in range(0, len(images), _BATCH):
        paths = images[start : start + _BATCH]
        features.append(extractor.extract([read_image(path) for path in paths]))
        digests += ["sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        progress("extracting features", start + len(paths), len(images))
    return tuple(digests)


def _projected(features: FeatureStore, settings: FitSettings) -> FeatureStore:
    """Return the features in the few dimensions in which the coreset is chosen."""
    dimension = project(features.image(0), settings.projection, seed=settings.seed).shape[1]
    found = FeatureStore(
        len(features), features.patches, dimension, in_memory=settings.room // 3, scratch=settings.scratch
    )
    for index in range(len(features)):
        found.append(project(features.image(index), settings.projection, seed=settings.seed))
    return found


class _Banks:
    """The memory bank of all images, and those of all images but one fold's.

    Few patches: each bank is the greedy choice among all its patches. Many: what each fold keeps is chosen once,
    and each bank from what its folds kept: six banks for less than the work of one.
    """

    def __init__(self, features: FeatureStore, projected: FeatureStore, settings: FitSettings) -> None:
        self.fold_of = torch.from_numpy(folds(len(features), settings.folds, seed=settings.seed))
        self.features = features
        self._projected = projected
        self._settings = settings
        self._patches = features.patches
        size = 4 * self._patches * projected.dimension
        self._images_at_once = max(1, settings.room // 6 // size)
        self._at_once = len(features) * self._patches <= _CHOSEN_AT_ONCE and not projected.on_disk
        self._condensed: list[Condensed] = []

    def all_images(self, progress: Callable[[int, int], None]) -> Tensor:
        """Return the (M, C) bank of all images."""
        every = torch.arange(len(self.features))
        if self._at_once:
            return self._chosen_at_once(every, progress)
        wanted = self._wanted(len(every))
        total = round(_KEPT * wanted) + wanted
        kept = 0
        for fold in range(int(self.fold_of.max()) + 1):
            self._condensed.append(self._condense(fold))
            kept += len(self._condensed[-1].positions)
            progress(kept, total)
        return self._chosen_from(self._condensed, wanted, lambda done, of: progress(total - of + done, total))

    def without(self, fold: int) -> Tensor:
        """Return the (M, C) bank of all images but those of a fold; after `all_images`."""
        others = torch.nonzero(self.fold_of != fold).flatten()
        if self._at_once:
            return self._chosen_at_once(others)
        condensed = [kept for other, kept in enumerate(self._condensed) if other != fold]
        return self._chosen_from(condensed, self._wanted(len(others)))

    def _wanted(self, images: int) -> int:
        return max(1, round(self._settings.ratio * images * self._patches))

    def _chosen_at_once(self, images: Tensor, progress: Callable[[int, int], None] | None = None) -> Tensor:
        chosen = greedy_k_center(
            self._projected.images(images).flatten(0, 1),
            self._wanted(len(images)),
            seed=self._settings.seed,
            starts=self._settings.starts,
            progress=progress,
        )
        return self.features.gather(images[chosen // self._patches] * self._patches + chosen % self._patches)

    def _condense(self, fold: int) -> Condensed:
        """Return what a fold keeps; positions count over the patches of all images."""
        images = torch.nonzero(self.fold_of == fold).flatten()
        settings = self._settings
        kept = condense(
            self._chunks(images),
            min(1.0, _KEPT * settings.ratio),
            seed=settings.seed,
            starts=settings.starts,
        )
        return Condensed(
            kept.vectors, images[kept.positions // self._patches] * self._patches + kept.positions % self._patches
        )

    def _chunks(self, images: Tensor) -> Iterator[Tensor]:
        for start in range(0, len(images), self._images_at_once):
            yield self._projected.images(images[start : start + self._images_at_once]).flatten(0, 1)

    def _chosen_from(
        self, condensed: Sequence[Condensed], wanted: int, progress: Callable[[int, int], None] | None = None
    ) -> Tensor:
        positions = torch.cat([kept.positions for kept in condensed])
        chosen = greedy_k_center(
            torch.cat([kept.vectors for kept in condensed]),
            wanted,
            seed=self._settings.seed,
            starts=self._settings.starts,
            progress=progress,
        )
        return self.features.gather(positions[chosen])


def _cross_fitted(
    banks: _Banks, grid: tuple[int, int], preprocess: Preprocess, settings: FitSettings, progress: Progress
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return each image's score and highest map value against a bank of the other folds."""
    features, fold_of = banks.features, banks.fold_of
    count = len(features)
    scores = np.empty(count, dtype=np.float32)
    peaks = np.empty(count, dtype=np.float32)
    done = 0
    progress("calibrating", done, count)
    for fold in range(int(fold_of.max()) + 1):
        bank = banks.without(fold)
        table = neighbour_table(bank, settings.neighbours) if settings.neighbours else None
        model = PatchCore(bank, neighbours=table, preprocess=preprocess)
        for index in torch.nonzero(fold_of == fold).flatten().tolist():
            (anomaly,) = model.score(features.image(index).view(1, *grid, -1))
            scores[index], peaks[index] = anomaly.score, anomaly.anomaly_map.max()
            done += 1
            progress("calibrating", done, count)
    return scores, peaks
