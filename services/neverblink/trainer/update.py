"""More of what is normal for a model that exists: what surprises it goes into its bank, nothing else changes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.trainer.fit import Progress
from neverblink.vision.artifact import Artifact, extended, load_artifact, plain
from neverblink.vision.bank_update import surprise_limit, updated_bank
from neverblink.vision.decode import read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.inspector import Inspector, embedded, extractor_of, inspect
from neverblink.vision.neighbours import neighbour_table

_BATCH = 16


class UpdateError(VisionError):
    """Images that a model cannot learn from; the message says why."""


@dataclass(frozen=True, slots=True)
class Updated:
    """The artifact that was written; `rejected` new images before and after; images `skipped` as known to it."""

    artifact: Artifact
    images: int
    skipped: int
    added: int
    rejected: tuple[int, int]


def update(
    folder: Path,
    out: Path,
    images: Sequence[Path],
    *,
    version: str | None = None,
    share: float = 0.01,
    weights: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Updated:
    """Write the artifact to `out` with what its memory bank lacks to find these images of good parts normal.

    A patch is surprising when it is farther from the bank than the median patch of these images; of those at most
    `share` of all their patches go in, the farthest first. The threshold stays, and so does its promise: no patch is
    farther from the larger bank than from the old one (eq. 7 aside). Images that the model was fitted to are skipped.
    Raises VisionError.
    """
    if out.exists():
        raise UpdateError(f"{out} already exists; choose another folder for the updated artifact")
    if not 0 < share <= 1:
        raise UpdateError(f"the share of patches that may go in lies above 0 and up to 1, not {share}")
    try:
        version = None if version is None else plain(version)
    except ValueError as error:
        raise UpdateError(f"the version {version!r} cannot be used: {error}") from error
    artifact = load_artifact(folder)
    known = set(artifact.manifest.provenance.images)
    fresh = {digest: path for path in images if (digest := _digest(path)) not in known}
    if not fresh:
        raise UpdateError(f"{folder} knows all {len(images)} images already: there is nothing to learn from them")
    paths = list(fresh.values())
    teacher = _Teacher(artifact, weights)
    bank = torch.from_numpy(artifact.bank)
    before = teacher.scores(teacher.inspector, paths, lambda done: progress("scoring", done, len(paths)))
    # A batch's median stands for it: the median of all would need every patch's distance in memory.
    limits = [surprise_limit(bank, teacher.patches(batch)) for batch in _batches(paths)]
    limit = float(np.median(limits))
    learned = bank
    for number, batch in enumerate(_batches(paths)):
        patches = teacher.patches(batch)
        learned = updated_bank(learned, patches, limit=limit, most=max(1, round(share * len(patches))))
        progress("learning", min((number + 1) * _BATCH, len(paths)), len(paths))
    width = artifact.manifest.neighbours
    written = extended(
        artifact,
        out,
        bank=learned.numpy(),
        neighbours=neighbour_table(learned, width).numpy() if width else None,
        images=tuple(fresh),
        created=datetime.now(UTC),
        version=version or f"{artifact.version}-plus{len(fresh)}",
    )
    after = teacher.scores(Inspector(written, teacher.inspector.extractor), paths, lambda _: None)
    rejected = (int((before > artifact.threshold).sum()), int((after > artifact.threshold).sum()))
    return Updated(written, len(fresh), len(images) - len(fresh), len(learned) - len(bank), rejected)


class _Teacher:
    """An artifact's way from image files to scores, and to the patches that it judges."""

    def __init__(self, artifact: Artifact, weights: Path | None) -> None:
        self.inspector = Inspector(artifact, extractor_of(artifact, weights=weights))
        region = artifact.region
        self._region = None if region is None else torch.from_numpy(region)

    def scores(
        self, inspector: Inspector, paths: Sequence[Path], progress: Callable[[int], None]
    ) -> npt.NDArray[np.float64]:
        found: list[float] = []
        for batch in _batches(paths):
            found += [anomaly.score for anomaly in inspect([(inspector, read_image(path)) for path in batch])]
            progress(len(found))
        return np.array(found)

    def patches(self, paths: Sequence[Path]) -> Tensor:
        """Return the (n, C) patches inside the region of all images."""
        found = []
        for path in paths:
            features = embedded(self.inspector.extractor, self.inspector.prepare(read_image(path))).cpu()
            inside = (
                slice(None)
                if self._region is None
                else self._region.flatten().repeat(len(features) // len(self._region))
            )
            found.append(features.flatten(0, 2)[inside])
        return torch.cat(found)


def _batches(paths: Sequence[Path]) -> list[Sequence[Path]]:
    return [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]


def _digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
