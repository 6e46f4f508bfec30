"""A memory bank that learns from normal images it took for defects, without being built anew."""

import torch
from torch import Tensor

from neverblink.vision.coreset import farthest_beyond
from neverblink.vision.errors import VisionError
from neverblink.vision.neighbours import AugmentedGemm


def surprise_limit(bank: Tensor, held_out: Tensor) -> float:
    """Return the median distance to an (M, C) bank of the patches (..., C) of normal images that it has not seen."""
    return float(AugmentedGemm(bank).distances(_patches(bank, held_out)).median())


def surprising_patches(bank: Tensor, features: Tensor, *, limit: float, most: int | None = None) -> Tensor:
    """Return the patches, (m, C), that an (M, C) bank lacks to find confirmed-normal images (..., C) normal.

    Those farther than `limit` from the bank are surprising (arXiv 2608.17775: the median of held-out normals, see
    `surprise_limit`). Of these the farthest from bank and chosen ones is taken (k-center), until none of the images'
    patches is beyond the limit or `most` are chosen. Raises VisionError when the features are of another backbone.
    """
    patches = _patches(bank, features)
    distances = AugmentedGemm(bank).distances(patches)
    beyond = torch.nonzero(distances > limit).flatten()
    candidates = patches[beyond]
    if len(candidates) == 0:
        return candidates
    return candidates[farthest_beyond(candidates, distances[beyond], limit)[:most]]


def updated_bank(bank: Tensor, features: Tensor, *, limit: float, most: int | None = None) -> Tensor:
    """Return the (M + m, C) bank with what is surprising about confirmed-normal images (..., C) added.

    No patch is farther from it than from the old bank, so no image's score rises. The re-weighting of eq. 7 is
    the exception, as it looks at a bank vector's neighbours: its table has to be computed anew.
    """
    return torch.cat([bank, surprising_patches(bank, features, limit=limit, most=most)])


def _patches(bank: Tensor, features: Tensor) -> Tensor:
    if features.shape[-1] != bank.shape[1]:
        raise VisionError(
            f"features of {features.shape[-1]} numbers do not fit a bank of {bank.shape[1]}: another backbone"
        )
    return features.reshape(-1, bank.shape[1])
