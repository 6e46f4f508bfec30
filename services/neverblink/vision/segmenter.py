"""A U-Net at work: images in, a probability for every class and pixel out."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.vision.alignment.view import View
from neverblink.vision.engines import Engine, KeptGraph, open_engine, reopened_engine
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.network_names import EngineName
from neverblink.vision.unet import Unet, load_unet
from neverblink.vision.unet_spec import UnetSpec


class Segmenter:
    """Runs one U-Net on one device; an image's result does not depend on its company. It belongs to one thread."""

    def __init__(
        self,
        unet: Unet,
        *,
        device: str = "cpu",
        engine: EngineName | Literal["auto"] = "auto",
        kept: KeptGraph | None = None,
    ) -> None:
        """Open the engine; the U-Net itself is left as it is, and its graph, where one is made, is kept in `kept`.

        Raises VisionError when the engine cannot run it here.
        """
        if engine == "openvino-int8":
            raise VisionError("a U-Net has no int8 network; choose the engine openvino, torch or torch-cuda")
        side = unet.spec.preprocess.side
        self._run_by(unet.spec, open_engine(engine, _Probabilities(unet), side=side, device=device, kept=kept))

    @classmethod
    def from_tensors(
        cls,
        spec: UnetSpec,
        tensors: Mapping[str, npt.NDArray[np.float32]],
        *,
        device: str = "cpu",
        engine: EngineName | Literal["auto"] = "auto",
        kept: KeptGraph | None = None,
    ) -> Self:
        """Build an artifact's U-Net, unless its graph is kept. Raises VisionError when the tensors do not fit."""
        reopened = reopened_engine(engine, kept, device=device)
        if reopened is None:
            return cls(load_unet(spec, tensors), device=device, engine=engine, kept=kept)
        segmenter = cls.__new__(cls)
        segmenter._run_by(spec, reopened)
        return segmenter

    def _run_by(self, spec: UnetSpec, engine: Engine) -> None:
        self.spec = spec
        self._preprocess = spec.preprocess
        self._engine = engine

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
