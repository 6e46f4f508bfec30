"""PyTorch on CUDA: half precision, one captured graph per batch size, bytes over the bus."""

import torch
from torch import Tensor

from neverblink.vision.engines.fusion import fused
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.network_names import EngineName

_BATCHES = (1, 2, 4, 8, 16, 32)
"""A batch is padded up to the next of these; a larger one is cut into pieces of the largest."""

_WARM_UP_RUNS = 3
"""Eager runs before a capture, in which cuDNN chooses its algorithms and allocates what a graph must not."""


class CudaGraphEngine:
    """Runs the network in fp16, all else in fp32. Launch overhead is paid at start, once per batch size."""

    name: EngineName = "torch-cuda"

    def __init__(self, network: ImageNetwork, *, side: int, device: str) -> None:
        self._device = torch.device(device)
        if self._device.type != "cuda":
            raise VisionError(f"the engine torch-cuda runs on CUDA only, not on {device}; choose torch or openvino")
        if not torch.cuda.is_available():
            raise VisionError(f"the device {device} cannot be used: this PyTorch sees no CUDA device")
        if self._device.index is not None and self._device.index >= torch.cuda.device_count():
            raise VisionError(f"the device {device} cannot be used: there are {torch.cuda.device_count()} CUDA devices")
        network = fused(network, side=side)
        network.half_network()
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._staging = torch.empty((_BATCHES[-1], side, side, 3), dtype=torch.uint8, pin_memory=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        with torch.inference_mode(), torch.cuda.device(self._device):
            self._pixels = torch.zeros((_BATCHES[-1], side, side, 3), dtype=torch.uint8, device=self._device)
            # The largest first: the smaller ones then find their memory in the pool they share.
            self._graphs = {batch: self._capture(batch) for batch in reversed(_BATCHES)}

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Turn (N, H, W, 3) uint8 RGB into the network's (N, ...) float32 on the engine's device."""
        with torch.cuda.device(self._device):
            pieces = [self._replay(piece) for piece in torch.split(images, _BATCHES[-1])]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _replay(self, images: Tensor) -> Tensor:
        count = len(images)
        graph, found = self._graphs[next(batch for batch in _BATCHES if batch >= count)]
        if images.is_cuda:
            self._pixels[:count].copy_(images)
        else:
            # The staging memory may be refilled once its last copy has left; the network may still be at work.
            self._copied.synchronize()
            self._staging[:count].copy_(images)
            self._pixels[:count].copy_(self._staging[:count], non_blocking=True)
            self._copied.record()
        # What older batches left behind the first `count` images is computed too and thrown away.
        graph.replay()
        return found[:count].clone()

    def _capture(self, batch: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        pixels = self._pixels[:batch]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            for _ in range(_WARM_UP_RUNS):
                self._network(pixels)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=True),
            # Graphs of one pool must not run at once nor keep results for each other: they do neither here.
            # Another thread may be at work on the GPU while a new model is captured.
            torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            found = self._network(pixels)
        return graph, found
