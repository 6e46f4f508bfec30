"""How far one engine is from another, and whether that is near enough to trust it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.vision.engines.engine import Engine
from neverblink.vision.errors import VisionError

MAX_AUROC_DROP = 0.005
"""Below this, two engines count as equally accurate in our comparisons."""

MAX_DISTRIBUTION_SHIFT = 0.15
"""Twice what int8 moved 100 good magnetic tiles by: 0.07 with EfficientNet-Lite0, 0.06 with ResNet-18 (224 px,
80 training images, each model with its own bank)."""

_PIECE = 32


@dataclass(frozen=True)
class EngineCheck:
    """What an engine was measured at beside the reference.

    `auroc_drop`: by how much its image AUROC is lower, None without labelled images; `distribution_shift`:
    the Kolmogorov-Smirnov distance between the good images' scores, 0 to 1.
    """

    auroc_drop: float | None
    distribution_shift: float


def compare_engines(reference: Engine, candidate: Engine, images: Tensor) -> float:
    """Return the largest distance between the two vectors of one patch, in mean lengths of the reference's.

    `images` (N, H, W, 3) uint8 RGB. A patch's distance to any bank moves by no more than that many mean
    lengths when only the patch, and twice that when the bank too, comes from the candidate.
    """
    if len(images) == 0:
        raise VisionError("two engines cannot be compared without images; none were given")
    furthest, length, patches = 0.0, 0.0, 0
    for piece in torch.split(images, _PIECE):
        wanted, found = reference.embed(piece).cpu().double(), candidate.embed(piece).cpu().double()
        if wanted.shape != found.shape:
            raise VisionError(
                f"the engines {reference.name} and {candidate.name} run different networks: features"
                f" {tuple(wanted.shape)} and {tuple(found.shape)}"
            )
        furthest = max(furthest, float(torch.linalg.vector_norm(wanted - found, dim=3).max()))
        lengths = torch.linalg.vector_norm(wanted, dim=3)
        length, patches = length + float(lengths.sum()), patches + lengths.numel()
    return furthest / (length / patches)


def check_shift(
    reference_scores: npt.NDArray[np.floating[Any]],
    candidate_scores: npt.NDArray[np.floating[Any]],
    *,
    labels: npt.NDArray[np.bool_] | None = None,
    max_auroc_drop: float = MAX_AUROC_DROP,
    max_distribution_shift: float = MAX_DISTRIBUTION_SHIFT,
) -> EngineCheck:
    """Compare (m,) portable scores, each model's score / its own threshold, of the same images.

    `labels` (m,) True for a defect; without them all are good. The distribution's shift bounds how far the
    share of good parts beyond any score, the threshold among them, differs between the two models. Raises
    VisionError when AUROC drops or the good images' scores move by more than allowed.
    """
    defective = np.zeros(len(reference_scores), dtype=np.bool_) if labels is None else labels
    if not len(reference_scores) == len(candidate_scores) == len(defective):
        raise VisionError(
            f"scores and labels must be of the same images, not {len(reference_scores)}, {len(candidate_scores)}"
            f" and {len(defective)}"
        )
    if defective.all():
        raise VisionError("an engine cannot be checked without good images; none were given")
    if not (np.isfinite(reference_scores).all() and np.isfinite(candidate_scores).all()):
        raise VisionError("an engine cannot be checked: some scores are not finite numbers")
    drop: float | None = None
    if defective.any():
        drop = _auroc(reference_scores, defective) - _auroc(candidate_scores, defective)
        if drop > max_auroc_drop:
            raise VisionError(
                f"the engine is refused: its image AUROC is lower by {drop:.4f}, {max_auroc_drop:.4f} is allowed;"
                " keep the reference engine"
            )
    shift = _kolmogorov_smirnov(reference_scores[~defective], candidate_scores[~defective])
    if shift > max_distribution_shift:
        raise VisionError(
            f"the engine is refused: the scores of good parts moved by a Kolmogorov-Smirnov distance of {shift:.3f},"
            f" {max_distribution_shift:.3f} is allowed; keep the reference engine"
        )
    return EngineCheck(auroc_drop=drop, distribution_shift=shift)


def _auroc(scores: npt.NDArray[np.floating[Any]], defective: npt.NDArray[np.bool_]) -> float:
    """Return the share of (defect, good) pairs in which the defect scores higher, ties half."""
    from scipy.stats import mannwhitneyu  # not above: a scorer, which compares no engines, would load half of scipy

    pairs = int(defective.sum()) * int((~defective).sum())
    return float(mannwhitneyu(scores[defective], scores[~defective]).statistic) / pairs


def _kolmogorov_smirnov(first: npt.NDArray[np.floating[Any]], second: npt.NDArray[np.floating[Any]]) -> float:
    """Return the largest difference between the shares of the two samples that do not exceed a value."""
    values = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)]
    # 0.35 - 0.2 is a little more than 0.15: nine of sixty images are no more than what is allowed.
    return round(float(np.abs(shares[0] - shares[1]).max()), 9)
