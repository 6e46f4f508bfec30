"""PatchCore as a good tutorial writes it: the plain baseline that the benchmarks compare with.

Eager PyTorch in fp32, one image a call, features to the CPU as numpy, FAISS flat search, squared distances, the score
is their maximum, the map is blurred at patch resolution.
"""

from typing import Any, cast

import faiss
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from neverblink.vision.backbones import Backbone

SIGMA = 4


class TutorialPatchCore:
    """Scores one image at a time against a bank (M, C) float32; the network runs on `device`, the search on the CPU."""

    def __init__(self, backbone: Backbone, bank: npt.NDArray[np.float32], *, threads: int, device: str = "cpu") -> None:
        side = backbone.spec.preprocess.side
        mean, deviation = (
            [value / 255 for value in values] for values in (backbone.spec.mean, backbone.spec.deviation)
        )
        self._transform = Compose([Resize((side, side)), ToTensor(), Normalize(mean, deviation)])
        self._device = device
        self._network = backbone.network.to(device)
        self._index: Any = faiss.IndexFlatL2(bank.shape[1])
        self._index.add(bank)
        faiss.omp_set_num_threads(threads)

    def score(self, image: npt.NDArray[np.uint8]) -> tuple[float, npt.NDArray[np.float32]]:
        """Return the squared score and the (h, w) map of an (H, W, 3) uint8 RGB image."""
        pixels = self._transform(Image.fromarray(image)).unsqueeze(0).to(self._device)
        with torch.no_grad():
            fine, coarse = cast(list[Tensor], self._network(pixels))
        fine, coarse = (F.avg_pool2d(level, 3, stride=1, padding=1) for level in (fine, coarse))
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        features = torch.cat([fine, coarse], dim=1)
        _, channels, high, wide = features.shape
        vectors = features.permute(0, 2, 3, 1).reshape(-1, channels).cpu().numpy()
        distances, _ = self._index.search(np.ascontiguousarray(vectors), 1)
        anomaly_map = gaussian_filter(distances.reshape(high, wide), sigma=SIGMA)
        return float(distances.max()), np.asarray(anomaly_map, dtype=np.float32)
