"""Starts the simulated conveyors from outside, as a person at the line would."""

from typing import Any

import asyncua.ua
from asyncua.client.client import Client

from neverblink.plant import Plc

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

_SESSION_TIMEOUT_MS = 30_000


async def start_conveyor(plc: Plc, rate_per_s: float, parts: int) -> None:
    """Run a simulated line's conveyor at so many parts a second; `parts` 0 is endless."""
    await _write(
        plc,
        ("Conveyor.Rate", rate_per_s, ua.VariantType.Double),
        ("Conveyor.Parts", parts, ua.VariantType.UInt32),
        ("Conveyor.Run", True, ua.VariantType.Boolean),
    )


async def stop_conveyor(plc: Plc) -> None:
    """Let no further part onto a simulated line's conveyor; those that are on it go on to the gate."""
    await _write(plc, ("Conveyor.Run", False, ua.VariantType.Boolean))


async def _write(plc: Plc, *wanted: tuple[str, Any, Any]) -> None:
    client = Client(plc.endpoint, timeout=5)
    client.session_timeout = _SESSION_TIMEOUT_MS
    async with client:
        namespace = await client.get_namespace_index(plc.namespace_uri)
        for name, value, kind in wanted:
            node = client.get_node(ua.NodeId(name, namespace))
            await node.write_value(ua.DataValue(ua.Variant(value, kind)))
