"""Writes the demonstration's plant file: what a person would write for two short lines."""

from pathlib import Path
from typing import Any

import yaml

from neverblink.brokers.apache import free_port
from neverblink.demo.stream import Stream
from neverblink.plant import Plant, load_plant

# What the simulated PLC says of each part: docs/guides/plc.md.
_IDENTITY = {
    "order": "s=Part.Order",
    "lot": "s=Part.Lot",
    "serial": "s=Part.Serial",
    "carrier": "s=Part.Carrier",
    "attributes": {"press": "s=Part.Press"},
    "challenge": "s=Part.Challenge",
    "number": "s=Part.Number",
}


def write_plant(
    folder: Path,
    streams: list[Stream],
    bootstrap: str,
    weights: dict[str, Path],
    proof: dict[str, object] | None = None,
    console_port: int | None = None,
    trace_url: str | None = None,
) -> Plant:
    """Write `plant.yaml` into the folder, with a section `proof` where one is given, the console's port where it has
    one and where it finds traces; return it, read back as every service reads it.
    """
    taken: set[int] = set()
    ports = [free_port(taken) for _ in streams]
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
                    "identity": _IDENTITY,
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
    if proof is not None:
        document["proof"] = proof
    if console_port is not None:
        document["console"] = {"port": console_port} | ({} if trace_url is None else {"trace_url": trace_url})
    path = folder / "plant.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return load_plant(path)
