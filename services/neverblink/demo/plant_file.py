"""Writes the demonstration's plant file: what a person would write for two short lines."""

import random
import socket
from pathlib import Path
from typing import Any

import yaml

from neverblink.demo.stream import Stream
from neverblink.plant import Plant, load_plant

# Below the range from which operating systems draw ports for outgoing connections.
_PORTS = range(20_000, 32_000)


def write_plant(folder: Path, streams: list[Stream], bootstrap: str, weights: dict[str, Path]) -> Plant:
    """Write `plant.yaml` into the folder and return it, read back as every service reads it."""
    ports = free_ports(len(streams))
    document: dict[str, Any] = {
        "site": "demo",
        "kafka": {"bootstrap": bootstrap, "partitions": 4},
        "storage": {"artifacts": "artifacts", "ledger": "sqlite:///ledger.db"},
        "scorer": {"device": "cpu", "max_batch": 8, "max_queue_delay_ms": 5},
        "drift": {"window_s": 20, "allowed_lateness_s": 5},
        "products": [
            {"name": stream.product, "artifact": stream.product}
            | ({"weights": str(weights[stream.product])} if stream.product in weights else {})
            for stream in streams
        ],
        "lines": [
            {
                "name": stream.line,
                # Two metres at half a metre a second: four seconds from the camera to the gate.
                "timing": {"distance_to_gate_m": 2.0, "speed_m_s": 0.5},
                "plc": {
                    "endpoint": f"opc.tcp://127.0.0.1:{port}/neverblink",
                    # Everything stays on this machine's loopback interface.
                    "security": {"policy": "None", "allow_insecure": True},
                },
                "stations": [
                    {
                        "name": stream.station,
                        "product": stream.product,
                        "source": stream.source.model_dump(mode="json"),
                        "trigger": {"kind": "plc"},
                    }
                ],
            }
            for stream, port in zip(streams, ports, strict=True)
        ],
    }
    path = folder / "plant.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return load_plant(path)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nothing listens on now."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found
