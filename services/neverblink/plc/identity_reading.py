"""Which part the PLC has just triggered, in the plant's own names: read once a trigger, in one request.

The picture does not wait for it: it is asked for while the picture is taken, and has an end.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from neverblink.events import Identity
from neverblink.events.parts import Reference
from neverblink.plant import IdentityNodes
from neverblink.plc.connection import PlcConnection
from neverblink.plc.errors import PlcError
from neverblink.service_life import end_all

# A PLC that does not answer is asked for the next parts too; beyond so many at once they go without.
MOST_AT_ONCE = 8

CHALLENGE = "challenge"
_REFERENCE: TypeAdapter[str] = TypeAdapter(Reference)

_log = logging.getLogger("neverblink.plc")


@dataclass(frozen=True, slots=True)
class IdentityRead:
    """What the PLC said of a part, and why what it did not say is missing, by field.

    `challenge` is the id of the reference part that the part is, None for every other part.
    """

    identity: Identity = field(default_factory=Identity)
    faults: Mapping[str, str] = field(default_factory=dict)
    challenge: str | None = None


class PendingIdentity:
    """An identity that is being read."""

    def __init__(self, reading: "asyncio.Task[IdentityRead]", fields: Mapping[str, str], until: float) -> None:
        self._reading = reading
        self._fields = fields
        self._until = until

    async def result(self, within_s: float) -> IdentityRead:
        """Return what was read, waiting until its time is over or for `within_s`, whichever ends first."""
        left = min(within_s, self._until - asyncio.get_running_loop().time())
        if not self._reading.done() and left > 0:
            await asyncio.wait({self._reading}, timeout=left)
        if not self._reading.done():
            return _without(self._fields, "the PLC has not answered in time")
        if self._reading.cancelled():
            return _without(self._fields, "the session with the PLC has ended")
        return self._reading.result()


class IdentityReader:
    """Reads the identity nodes of one session."""

    def __init__(self, connection: PlcConnection, nodes: IdentityNodes) -> None:
        self._connection = connection
        self._nodes = nodes
        self._fields = nodes.by_field
        about = {"Epoch": connection.text_id("Epoch"), "LastTriggered": connection.text_id("LastTriggered")}
        self._ids = self._fields | about | ({} if nodes.number is None else {"number": nodes.number})
        self._readings: set[asyncio.Task[IdentityRead]] = set()

    async def check(self) -> None:
        """Say in the log which nodes cannot be read: the line works without them. Raises PlcUnreachableError."""
        found = await self._connection.read_ids(self._ids)
        for name, node in self._ids.items():
            if (fault := found[name][1]) is not None:
                _log.warning(f"node {node} (identity {name}) cannot be read ({fault}): parts go without it")

    def ask(self, epoch: int, number: int) -> PendingIdentity:
        """Begin to read what the PLC says of the part that it has just triggered."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._read(epoch, number, len(self._readings)), name=f"identity of part {number}")
        self._readings.add(task)
        task.add_done_callback(self._readings.discard)
        return PendingIdentity(task, self._fields, loop.time() + self._nodes.wait_ms / 1000)

    async def close(self) -> None:
        """End what is still being read."""
        await end_all(list(self._readings), within_s=1.0)

    async def _read(self, epoch: int, number: int, others: int) -> IdentityRead:
        if others >= MOST_AT_ONCE:
            return _without(self._fields, f"{others} reads before it have not been answered yet")
        try:
            found = await self._connection.read_ids(self._ids)
        except PlcError as error:
            return _without(self._fields, str(error))
        except Exception as error:  # noqa: BLE001 - the boundary: whatever the library meets, the part goes on without
            return _without(self._fields, f"the read broke off: {error!r}")
        whose = (found["Epoch"][0], found["LastTriggered"][0])
        if whose != (epoch, number):
            return _without(self._fields, f"by the time of the read the PLC was at part {whose[1]} of epoch {whose[0]}")
        if "number" in found and found["number"] != (number, None):
            return _without(self._fields, f"the values were those of part {found['number'][0]}")
        challenge, fault = reference_of(*found.pop(CHALLENGE, (None, None)))
        read = identity_of({name: found[name] for name in self._fields if name in found})
        return replace(read, challenge=challenge, faults={**read.faults, **({CHALLENGE: fault} if fault else {})})


def reference_of(value: Any, status: str | None) -> tuple[str | None, str | None]:
    """Return the id of a reference part that a PLC's value says, and why it cannot be used. Empty and 0 say none."""
    if status is not None:
        return None, f"the node cannot be read ({status})"
    text = as_text(value) if value is not None and value != 0 else ""
    if text is None:
        return None, f"the value is a {type(value).__name__}, and neither text nor a number"
    try:
        return (_REFERENCE.validate_python(text) if text else None), None
    except ValidationError as error:
        return None, f"the value {value!r:.80} cannot be used: {error.errors()[0]['msg']}"


def identity_of(found: Mapping[str, tuple[Any, str | None]]) -> IdentityRead:
    """Return the identity that values and status names make, by field. What is empty was not said."""
    texts: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name, (value, status) in found.items():
        text = "" if value is None else as_text(value)
        if status is not None:
            faults[name] = f"the node cannot be read ({status})"
        elif text is None:
            faults[name] = f"the value is a {type(value).__name__}, and neither text nor a number"
        elif text:
            try:
                _identity({name: text})
                texts[name] = text
            except ValidationError as error:
                faults[name] = f"the value {value!r:.80} cannot be used: {error.errors()[0]['msg']}"
    try:
        return IdentityRead(_identity(texts), faults)
    except ValidationError as error:
        # All of it is too long for one header: what names the part is worth more than what describes it.
        named = {name: text for name, text in texts.items() if not name.startswith("attributes.")}
        left_out = dict.fromkeys(texts.keys() - named.keys(), error.errors()[0]["msg"])
        return IdentityRead(_identity(named), faults | left_out)


def as_text(value: Any) -> str | None:
    """Return a PLC's value as text, up to its first zero byte, numbers in decimal; None where it is neither."""
    if isinstance(value, list) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return value.partition("\0")[0].strip() if isinstance(value, str) else None


def _identity(texts: Mapping[str, str]) -> Identity:
    attributes = {name.removeprefix("attributes."): text for name, text in texts.items() if "." in name}
    return Identity.model_validate(
        {name: text for name, text in texts.items() if "." not in name} | {"attributes": attributes}
    )


def _without(fields: Mapping[str, str], why: str) -> IdentityRead:
    return IdentityRead(faults=dict.fromkeys(fields, why))
