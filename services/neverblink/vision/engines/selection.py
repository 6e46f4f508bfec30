"""Which engine runs a network: by its name, or the fastest for the device."""

from typing import Literal

from neverblink.vision.engines.cuda_graphs import CudaGraphEngine
from neverblink.vision.engines.eager import EagerEngine
from neverblink.vision.engines.engine import Engine
from neverblink.vision.engines.intel import openvino_is_installed
from neverblink.vision.engines.kept_graphs import KeptGraph
from neverblink.vision.engines.openvino_graph import OpenvinoEngine, convert
from neverblink.vision.engines.quantisation import QuantisedNetwork
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.network_names import EngineName

_CONVERTED: frozenset[EngineName] = frozenset({"openvino", "openvino-bf16"})
"""They run a converted network, the same graph."""


def open_engine(
    name: EngineName | Literal["auto"],
    network: ImageNetwork,
    *,
    side: int,
    device: str = "cpu",
    quantised: QuantisedNetwork | None = None,
    kept: KeptGraph | None = None,
) -> Engine:
    """Make an engine for (N, side, side, 3) images; the network itself is left as it is.

    `auto` is torch-cuda on a CUDA device, openvino on a CPU where it is installed, else torch; it never is
    bf16 or int8, whose features need a bank of their own. A graph that is made is kept in `kept`. Raises VisionError
    when the engine cannot run here.
    """
    if name == "auto":
        name = _fastest(device)
    if quantised is not None and name != "openvino-int8":
        raise VisionError(f"an int8 network was given, and the engine {name} cannot run it; choose openvino-int8")
    if name == "torch":
        return EagerEngine(network, side=side, device=device)
    if name == "torch-cuda":
        return CudaGraphEngine(network, side=side, device=device)
    if device != "cpu":
        raise VisionError(f"the engine {name} runs on the CPU only, not on {device}; choose torch-cuda or torch")
    if name in _CONVERTED:
        model = convert(network, side=side)
    elif quantised is None:
        raise VisionError("the engine openvino-int8 needs the int8 network of its model; fit the model with int8")
    else:
        model = quantised.open(network, side=side)
    if kept is not None:
        model = kept.put(model)
    return OpenvinoEngine(model, name)


def reopened_engine(
    name: EngineName | Literal["auto"], kept: KeptGraph | None, *, device: str = "cpu", quantised: bool = False
) -> Engine | None:
    """Make the same engine from the graph that `open_engine` kept; None where there is none, or for another engine.

    `quantised` says that the graph is an int8 network's. Raises VisionError when the engine cannot run here.
    """
    if name == "auto":
        name = _fastest(device)
    takes_it = name == "openvino-int8" if quantised else name in _CONVERTED
    if kept is None or device != "cpu" or not takes_it:
        return None
    model = kept.get()
    return None if model is None else OpenvinoEngine(model, name)


def _fastest(device: str) -> EngineName:
    if device.startswith("cuda"):
        return "torch-cuda"
    return "openvino" if device == "cpu" and openvino_is_installed() else "torch"
