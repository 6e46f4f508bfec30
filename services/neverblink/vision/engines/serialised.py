"""OpenVINO graphs as bytes, and back: nothing in them is executed when they are read."""

import tempfile
from pathlib import Path
from typing import Any

from neverblink.vision.engines.intel import import_openvino


def serialised(model: Any) -> tuple[bytes, bytes]:
    """Return the XML of an openvino.Model and its constants, exactly as they are. Raises OSError or RuntimeError."""
    # OpenVINO writes files alone.
    with tempfile.TemporaryDirectory(prefix="neverblink-graph-") as folder:
        graph, weights = Path(folder, "network.xml"), Path(folder, "network.bin")
        import_openvino().serialize(model, graph, weights)
        return graph.read_bytes(), weights.read_bytes()


def read(graph: bytes, weights: bytes) -> Any:
    """Return the openvino.Model of what `serialised` returned. Raises RuntimeError when it is damaged."""
    return import_openvino().Core().read_model(graph, weights)
