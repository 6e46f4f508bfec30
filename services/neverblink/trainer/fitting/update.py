"""More of what is normal for a model that exists: what surprises it goes into its bank, nothing else changes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import file_digest
from neverblink.trainer.fitting.model_version import new_version
from neverblink.vision.artifact import Artifact, extended, load_artifact
from neverblink.vision.bank_update import surprise_limit, updated_bank
from neverblink.vision.decode import read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.inspection import scores_of
from neverblink.vision.inspector import Inspector, embedded, extractor_of
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
    normals: Sequence[Path] = (),
    weights: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Updated:
    """Write the artifact to `out` with what its memory bank lacks to find these images of good parts normal.

    A patch is surprising when it is farther from the bank than the median patch of `normals`, good parts that the model
    has not seen (arXiv 2608.17775), or of these images where there are none. Of those at most `share` of all their
    patches go in, the farthest first. The threshold stays, and so does its promise: no patch is farther from the larger
    bank than from the old one (eq. 7 aside). Images that the model was fitted to are skipped. Raises VisionError.
    """
    if out.exists():
        raise UpdateError(f"{out} already exists; choose another folder for the updated artifact")
    if not 0 < share <= 1:
        raise UpdateError(f"the share of patches that may go in lies above 0 and up to 1, not {share}")
    artifact = load_artifact(folder)
    known = set(artifact.manifest.provenance.images)
    fresh = {digest: path for path in images if (digest := file_digest(path)) not in known}
    version = new_version(artifact, version, f"plus{len(fresh)}")
    if not fresh:
        raise UpdateError(f"{folder} knows all {len(images)} images already: there is nothing to learn from them")
    paths = list(fresh.values())
    inspector = Inspector(artifact, extractor_of(artifact, weights=weights))
    bank = torch.from_numpy(artifact.bank)
    before: list[float] = []
    limits: list[float] = []
    for features, sizes in _looked_at(inspector, paths):
        before += scores_of(inspector.judge(features, sizes), paths[len(before) : len(before) + len(sizes)])
        # A batch's median stands for it: the median of all would need every patch's distance in memory.
        if not normals:
            limits.append(surprise_limit(bank, _judged(features, artifact)))
        progress("scoring", len(before), len(paths))
    for features, _ in _looked_at(inspector, normals):
        limits.append(surprise_limit(bank, _judged(features, artifact)))
        progress("measuring what is normal", min(len(limits) * _BATCH, len(normals)), len(normals))
    learned, done = bank, 0
    # What is taught is known in the lights in which the bank knows all else.
    lights = artifact.manifest.provenance.brightness or (1.0,)
    for features, sizes in _looked_at(inspector, paths, lights):
        patches = _judged(features, artifact)
        most = max(1, round(share * len(patches)))
        learned = updated_bank(learned, patches, limit=float(np.median(limits)), most=most)
        done += len(sizes)
        progress("learning", done, len(paths))
    width = artifact.manifest.neighbours
    written = extended(
        artifact,
        out,
        bank=learned.numpy(),
        neighbours=neighbour_table(learned, width).numpy() if width else None,
        images=tuple(fresh),
        created=datetime.now(UTC),
        version=version,
    )
    taught = Inspector(written, inspector.extractor)
    after = [anomaly.score for seen in _looked_at(taught, paths) for anomaly in taught.judge(*seen)]
    rejected = (sum(score > artifact.threshold for score in before), sum(score > artifact.threshold for score in after))
    return Updated(written, len(fresh), len(images) - len(fresh), len(learned) - len(bank), rejected)


def _looked_at(
    inspector: Inspector, paths: Sequence[Path], lights: Sequence[float] = (1.0,)
) -> Iterator[tuple[Tensor, list[tuple[int, int]]]]:
    """Yield the (T, h, w, C) features of some images at a time, each once a light, and the images' (height, width)."""
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        images = [read_image(path, depth=inspector.artifact.manifest.depth) for path in batch]
        inputs = [part for image in images for part in inspector.in_lights(image, lights)]
        yield embedded(inspector.extractor, inputs).cpu(), [image.shape[:2] for image in images]


def _judged(features: Tensor, artifact: Artifact) -> Tensor:
    """Return the (n, C) patches of (T, h, w, C) features that lie in the region."""
    patches = features.flatten(0, 2)
    if artifact.region is None:
        return patches
    inside = torch.from_numpy(artifact.region)
    return patches[inside.flatten().repeat(len(features) // len(inside))]
