"""Post-training quantisation to int8 with images of good parts, and the network that comes of it."""

import contextlib
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neverblink.vision.engines.intel import import_nncf
from neverblink.vision.engines.openvino_graph import convert
from neverblink.vision.engines.serialised import read, serialised
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork

# Averages and alignment make the features themselves: with them in int8 these are off by 76 %.
_LEFT_IN_FLOAT = ["AvgPool", "AdaptiveAvgPool", "Interpolate", "Concat", "ReduceMean"]


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """An OpenVINO graph with int8 weights: `graph` (n,) uint8 its XML, `weights` (m,) uint8 its constants."""

    graph: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """Return sha256 over graph and weights: what features of two networks need to be comparable."""
        digest = hashlib.sha256(f"{self.graph.size}\n".encode())
        digest.update(self.graph.tobytes())
        digest.update(self.weights.tobytes())
        return "sha256:" + digest.hexdigest()

    def open(self, expected: ImageNetwork, *, side: int) -> Any:
        """Return the openvino.Model. Raises VisionError when it is damaged or not of the shape of `expected`."""
        with torch.inference_mode():
            shape = tuple(expected(torch.zeros((1, side, side, 3), dtype=torch.uint8)).shape)
        wanted = f"u8 {[1, side, side, 3]} → f32 {list(shape)}"
        try:
            model = read(self.graph.tobytes(), self.weights.tobytes())
            ends = [*model.inputs, *model.outputs]
            found = " → ".join(f"{end.element_type.get_type_name()} {list(end.shape)}" for end in ends)
        except RuntimeError as error:
            raise VisionError("the int8 network is damaged: OpenVINO cannot read it; fit the model again") from error
        if found != wanted:
            raise VisionError(f"the int8 network is another backbone's: it maps {found}, expected {wanted}")
        return model


def quantise(network: ImageNetwork, *, side: int, images: Sequence[npt.NDArray[np.uint8]]) -> QuantisedNetwork:
    """Quantise a network to int8; activation ranges come from (side, side, 3) uint8 RGB images of good parts.

    Features move by a tenth of their length and more: bank and threshold must be made with the int8 engine,
    and `check_shift` says whether that model still is one. Raises VisionError when there are no images, one
    has another shape, or NNCF is not installed.
    """
    if not images:
        raise VisionError("int8 needs images of good parts to find its ranges; none were given")
    for image in images:
        if image.shape != (side, side, 3) or image.dtype != np.uint8:
            raise VisionError(f"int8 needs ({side}, {side}, 3) uint8 images, not {image.shape} {image.dtype}")
    nncf = import_nncf()
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars cannot be switched off
        quantised = nncf.quantize(
            convert(network, side=side),
            nncf.Dataset([image[np.newaxis] for image in images]),
            # Linear bottlenecks have activations of both signs, those behind a ReLU do not.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(types=_LEFT_IN_FLOAT, validate=False),
        )
    graph, weights = serialised(quantised)
    return QuantisedNetwork(np.frombuffer(graph, dtype=np.uint8), np.frombuffer(weights, dtype=np.uint8))
