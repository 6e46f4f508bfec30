"""OpenVINO on the CPU: normalisation, network and all that follows it in one graph, one image at a time."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.jit._trace import TracerWarning

from neverblink.vision.engines.fusion import fused
from neverblink.vision.engines.intel import import_openvino
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.network_names import EngineName

_CONVERTING = threading.Lock()


def convert(network: ImageNetwork, *, side: int) -> Any:
    """Return the openvino.Model of a network: (1, side, side, 3) uint8 → (1, ...) float32."""
    example = torch.zeros((1, side, side, 3), dtype=torch.uint8)
    with _root_log_as_it_is(), warnings.catch_warnings(), torch.inference_mode():
        # torch.export takes longer to start and gives the same numbers.
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        return import_openvino().convert_model(
            fused(network, side=side), example_input=example, input=[list(example.shape)]
        )


@contextlib.contextmanager
def _root_log_as_it_is() -> Iterator[None]:
    # OpenVINO silences the root log below errors while it converts, and puts back what it found: what another
    # conversion at the same time had set, and nothing at all where it raises. The warnings of a process were lost so.
    root = logging.getLogger()
    with _CONVERTING:
        level, filters, handlers = root.level, root.filters[:], root.handlers[:]
        try:
            yield
        finally:
            root.setLevel(level)
            root.filters[:], root.handlers[:] = filters, handlers


class OpenvinoEngine:
    """Runs a graph that was compiled for exactly one image.

    One image's activations stay in the cache, a batch's do not: image by image was at least as fast per image
    as graphs for 4, 8, 32 or any number of images. So a score cannot depend on its company either.
    """

    def __init__(self, model: Any, name: EngineName) -> None:
        """Compile an openvino.Model of one (1, H, W, 3) uint8 input and one (1, ...) float32 output.

        Raises VisionError where openvino-bf16 is asked of a processor without bfloat16.
        """
        self.name = name
        openvino = import_openvino()
        core = openvino.Core()
        if name == "openvino-bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            # OpenVINO would run in fp32, and the features would not fit the bank.
            raise VisionError("this processor does not multiply bfloat16; fit the model with the engine openvino")
        threads = torch.get_num_threads()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if name == "openvino-bf16" else "f32",
            # Pinned, the engines of two processes on one machine would sit on the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        # A few images, and each should be ready soon: all threads share every image.
        alone = core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})
        constants = sum(op.data.nbytes for op in model.get_ops() if op.get_type_name() == "Constant")
        self._shape = tuple(alone.output(0).shape)[1:]
        self._alone = alone.create_infer_request()
        self._many: Any = None
        if threads > 1:
            # An image for every thread: no thread waits for another between two layers.
            streams = settings | {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": threads}
            self._many = openvino.AsyncInferQueue(core.compile_model(model, "CPU", streams), threads)
            self._many.set_callback(_keep_output)
        self.opaque_bytes = constants * (1 if self._many is None else 2)
        """Bytes of the weights, once a compiled graph: OpenVINO holds them where Python does not see them."""
        self._threads = threads

    def embed(self, images: Tensor) -> Tensor:
        """Turn (N, H, W, 3) uint8 RGB into the network's (N, ...) float32 on the CPU."""
        pixels = images.contiguous().numpy()
        outputs = np.empty((len(pixels), *self._shape), dtype=np.float32)
        if self._many is not None and len(pixels) >= self._threads:
            for index in range(len(pixels)):
                self._many.start_async([pixels[index : index + 1]], outputs[index], share_inputs=True)
            self._many.wait_all()
        else:
            for index in range(len(pixels)):
                found = self._alone.infer([pixels[index : index + 1]], share_inputs=True, share_outputs=True)
                outputs[index] = found[0][0]
        return torch.from_numpy(outputs)


def _keep_output(request: Any, output: npt.NDArray[np.float32]) -> None:
    output[:] = request.get_output_tensor(0).data[0]
