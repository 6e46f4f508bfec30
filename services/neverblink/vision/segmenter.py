"""A U-Net at work: images in, a probability for every class and pixel out."""

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.vision.alignment.view import View
from neverblink.vision.engines import Engine, open_engine
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.network_names import EngineName
from neverblink.vision.unet import Unet
from neverblink.vision.unet_spec import UnetSpec


class Segmenter:
    """Runs one U-Net on one device; an image's result does not depend on its company. It belongs to one thread."""

    def __init__(self, unet: Unet, *, device: str = "cpu", engine: EngineName | Literal["auto"] = "auto") -> None:
        """Open the engine; the U-Net itself is left as it is. Raises VisionError when the engine cannot run it here."""
        if engine == "openvino-int8":
            raise VisionError("a U-Net has no int8 network; choose the engine openvino, torch or torch-cuda")
        self.spec: UnetSpec = unet.spec
        self._preprocess = unet.spec.preprocess
        self._engine: Engine = open_engine(engine, _Probabilities(unet), side=self._preprocess.side, device=device)

    @property
    def engine_name(self) -> EngineName:
        """Return the engine that computes the probabilities."""
        return self._engine.name

    def prepare(self, image: npt.NDArray[np.uint8] | View[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize and crop an (H, W, 3) uint8 RGB image to (side, side, 3); safe in a decoding thread."""
        return self._preprocess.apply(image)

    def segment(self, prepared: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Return (N, K, side, side) float32 probabilities of images that went through `prepare`.

        Raises VisionError when one has another shape.
        """
        side = self._preprocess.side
        for image in prepared:
            if image.shape != (side, side, 3) or image.dtype != np.uint8:
                raise VisionError(
                    f"this U-Net takes ({side}, {side}, 3) uint8 images, not {image.shape} {image.dtype};"
                    " prepare them first"
                )
        if not prepared:
            return np.empty((0, len(self.spec.classes), side, side), dtype=np.float32)
        probabilities = self._engine.embed(torch.from_numpy(np.stack(prepared)))
        return cast(npt.NDArray[np.float32], probabilities.cpu().contiguous().numpy())


class _Probabilities(ImageNetwork):
    """(N, side, side, 3) uint8 RGB → (N, K, side, side) float32: the sigmoid is part of what the engine runs."""

    def __init__(self, unet: Unet) -> None:
        super().__init__(unet.network, unet.spec.mean, unet.spec.deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities of a batch."""
        logits: Tensor = self.network(self.normalised(images))
        return torch.sigmoid(logits.float())
