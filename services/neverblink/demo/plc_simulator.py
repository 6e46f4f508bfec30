"""A simulated PLC that keeps the contract: conveyor, slots, gate, confirm sensor, watchdog, strict types.

Each line is an OPC UA server of its own. Its program runs on the conveyor's clock, whatever the network does.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import asyncua.ua
import orjson
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AttributeService
from asyncua.server.server import Server

from neverblink.demo.conveyor import Conveyor
from neverblink.demo.gate import BeltPart, HeartbeatWatch, judge
from neverblink.plant import Line, Plant, PlantError, Timing
from neverblink.plc.contract import (
    CONTRACT_VERSION,
    GATE_RING,
    NODES,
    SLOT,
    BridgeState,
    Confirm,
    GateCode,
    LineState,
    Node,
    Writer,
    node,
    slot_name,
)
from neverblink.plc.word import NUMBERS, encode_gate

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

PLC_HEARTBEAT_S = 0.1
MIN_SLOTS = 64
ROOM_FOR_RATE = 16.0  # Conveyor.Rate may be raised while running; the slots are counted at the start
# A free port may be taken again by the time the server restarts on it; give the old socket time to go.
REBIND_TRIES = 20

_log = logging.getLogger("neverblink.plc-sim")
_ADMIN = User(role=UserRole.Admin)
_VARIANTS = {
    "Boolean": ua.VariantType.Boolean,
    "UInt16": ua.VariantType.UInt16,
    "UInt32": ua.VariantType.UInt32,
    "Double": ua.VariantType.Double,
}
_CONVEYOR = {"Conveyor.Run": "Boolean", "Conveyor.Parts": "UInt32", "Conveyor.Rate": "Double"}
_COUNTERS = {
    GateCode.PASSED: "CntPass",
    GateCode.REJECTED: "CntReject",
    GateCode.FAIL_SAFE: "CntFailsafe",
    GateCode.STALE: "CntStale",
}


@dataclass(frozen=True, slots=True)
class SimulatedLine:
    """What one simulated line is like. Port 0 takes a free one; `parts` 0 is endless."""

    name: str
    timing: Timing
    rate_per_s: float = 2.0
    parts: int = 0
    jitter: float = 0.1
    running: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    namespace_uri: str = "urn:neverblink:plc"
    node: str = "s=VisionReject.{name}"
    slot_node: str = "s=VisionReject.Verdict[{index}]"
    nodes: dict[str, str] = field(default_factory=dict)
    slots: int = 0
    watchdog_ms: float = 1000.0
    confirm_ms: float = 60.0
    stop_after_fail_safe: int = 0
    epoch: int = 1
    seed: int = 1
    username: str | None = None
    password: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    refuse_timestamps: bool = True
    types: dict[str, str] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


class PlcSimulator:
    """One line's PLC. `start`, then `endpoint` says where it is; faults are methods with the fault's name."""

    def __init__(
        self,
        line: SimulatedLine,
        *,
        truth: Callable[[dict[str, Any]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.line = line
        self.gated: deque[dict[str, Any]] = deque(maxlen=100_000)
        self._truth = truth
        self._clock = clock
        self._port = line.port
        self._server: Any = None
        self._namespace = 0
        self._ids: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._conveyor = Conveyor(line.rate_per_s, line.jitter, random.Random(line.seed), line.parts)
        self._belt: deque[BeltPart] = deque()
        self._confirms: deque[tuple[float, BeltPart, GateCode]] = deque()
        self._failing_confirms = 0
        self._watch = HeartbeatWatch(line.watchdog_ms / 1000)
        self._next_heartbeat = 0.0
        self._fail_safe_in_a_row = 0
        self._values: dict[str, Any] = {}
        self._strict: _StrictAttributes | None = None
        self._reset_memory(line.epoch)

    @property
    def endpoint(self) -> str:
        """Return where the server listens."""
        return f"opc.tcp://{self.line.host}:{self._port}/neverblink"

    @property
    def slots(self) -> int:
        """Return the number of verdict slots: at least twice the parts in flight, and a power of two."""
        in_flight = int(max(self.line.rate_per_s, ROOM_FOR_RATE) * self.line.timing.lead_s) + 2
        return self.line.slots or max(MIN_SLOTS, 1 << (2 * in_flight - 1).bit_length())

    @property
    def program(self) -> asyncio.Task[None]:
        """Return the running program; it ends only when it is stopped or broken."""
        assert self._task is not None
        return self._task

    @property
    def parts_on_belt(self) -> int:
        """Return how many parts are between trigger and gate."""
        return len(self._belt)

    @property
    def idle(self) -> bool:
        """Return whether nothing will happen any more: the conveyor stands, the belt is empty."""
        return not self._conveyor.running and not self._belt and not self._confirms

    def value(self, name: str) -> Any:
        """Return a node's value as the PLC program sees it, for tests."""
        return self._read(name)

    async def start(self) -> None:
        """Serve and run the program. Raises OSError when the port is taken."""
        await self._serve()
        now = self._clock()
        if self.line.running:
            self._conveyor.start(now)
        await self._put("Conveyor.Run", self._conveyor.running)
        self._task = asyncio.create_task(self._program(), name=f"plc program {self.line.name}")

    async def stop(self) -> None:
        """Stop program and server."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._stop_serving()

    async def __aenter__(self) -> "PlcSimulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def run_conveyor(self, parts: int = 0) -> None:
        """Start the conveyor for so many parts, 0 for endless."""
        self._conveyor.start(self._clock(), parts)
        await self._put("Conveyor.Run", True)
        self._wake.set()

    # Faults, for tests and demonstrations.

    async def new_epoch(self) -> None:
        """Clear the lane: every part on the belt is taken off as a reject, counting begins anew."""
        for part in self._belt:
            self._record(part, 0, "lane-clear", None, self._clock())
        self._reset_memory((int(self._read("Epoch")) + 1) % (1 << 16))
        for name, value in self._values.items():
            await self._put(name, value)
        await self._clear_bridge_side()

    async def restart(self) -> None:
        """Switch the PLC off and on: connections break, the epoch counts up, the slots are empty."""
        epoch = int(self._read("Epoch"))
        await self._stop_serving()
        for part in self._belt:
            self._record(part, 0, "lane-clear", None, self._clock())
        self._reset_memory((epoch + 1) % (1 << 16))
        self._watch = HeartbeatWatch(self.line.watchdog_ms / 1000)
        await self._serve()
        self._conveyor.resume(self._clock())

    async def drop_connections(self) -> None:
        """Reset every connection, as a pulled cable or a killed server does."""
        for client in self._clients():
            if client.transport is not None:
                client.transport.abort()

    async def stall(self, seconds: float) -> None:
        """Stop answering for so long; what arrives meanwhile is executed afterwards, as real servers do."""
        paused: set[Any] = set()
        try:
            until = self._clock() + seconds
            while self._clock() < until:
                for client in self._clients():
                    if client not in paused and client.transport is not None:
                        client.transport.pause_reading()
                        paused.add(client)
                await asyncio.sleep(0.005)
        finally:
            for client in paused:
                if client.transport is not None and not client.transport.is_closing():
                    with contextlib.suppress(RuntimeError):
                        client.transport.resume_reading()

    def fail_writes(self, count: int, status: str = "BadOutOfService") -> None:
        """Answer the next so many verdict writes with a bad status."""
        assert self._strict is not None
        self._strict.failing, self._strict.failing_status = count, getattr(ua.StatusCodes, status)

    def fail_confirms(self, count: int) -> None:
        """Let the confirm sensor miss the next so many parts."""
        self._failing_confirms = count

    # The program: what a PLC task would do, event by event instead of cycle by cycle.

    async def _program(self) -> None:
        self._next_heartbeat = self._clock()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._next_event() - self._clock())):
                    await self._wake.wait()
            self._wake.clear()
            now = self._clock()
            if self._server is None:
                await asyncio.sleep(PLC_HEARTBEAT_S)
                continue
            await self._obey_conveyor_nodes(now)
            while (due := self._conveyor.next_trigger()) is not None and due <= now:
                await self._trigger(due)
            while self._belt and self._belt[0].decide_at <= now:
                await self._decide(self._belt.popleft(), now)
            while self._confirms and self._confirms[0][0] <= now:
                _, part, action = self._confirms.popleft()
                await self._confirm(part, action)
            if self._next_heartbeat <= now:
                await self._beat(now)

    def _next_event(self) -> float:
        times = [self._next_heartbeat]
        if (due := self._conveyor.next_trigger()) is not None:
            times.append(due)
        if self._belt:
            times.append(self._belt[0].decide_at)
        if self._confirms:
            times.append(self._confirms[0][0])
        return min(times)

    async def _trigger(self, due: float) -> None:
        """Rule 1: count the part, clear its slot, and only then let the camera see the new number."""
        timing = self.line.timing
        number = (int(self._read("LastTriggered")) + 1) % NUMBERS
        self._conveyor.trigger()
        decide_at = due + timing.lead_s - (timing.actuator_ms + timing.plc_cycle_ms) / 1000
        wall = time.time() - (self._clock() - due)
        self._belt.append(BeltPart(int(self._read("Epoch")), number, due, decide_at, due + timing.lead_s, wall))
        await self._put(slot_name(number % self.slots), 0)
        await self._put("LastTriggered", number, at=datetime.fromtimestamp(wall, UTC))
        if not self._conveyor.running:
            await self._put("Conveyor.Run", False)

    async def _decide(self, part: BeltPart, now: float) -> None:
        """Rules 2 and 3: read the slot once; anything but our pass for this part is a reject."""
        self._watch.see(int(self._read("BridgeHb")), now)
        word = int(self._read(slot_name(part.number % self.slots)))
        action = judge(part.epoch, part.number, word, bridge_alive=self._watch.alive(now))
        counter = _COUNTERS[action]
        await self._put(counter, (int(self._read(counter)) + 1) % NUMBERS)
        await self._put("GateLastPart", part.number)
        await self._put("GateLastWord", word)
        await self._put_ring(part, action, Confirm.PENDING)
        self._confirms.append((part.gate_at + self.line.confirm_ms / 1000, part, action))
        self._record(part, word, action.name.lower().replace("_", "-"), self._watch.age_s(now), now)
        unsafe = action in (GateCode.FAIL_SAFE, GateCode.STALE)
        self._fail_safe_in_a_row = self._fail_safe_in_a_row + 1 if unsafe else 0
        if 0 < self.line.stop_after_fail_safe <= self._fail_safe_in_a_row:
            self._conveyor.stop()
            await self._put("StopRequest", True)
            await self._put("Conveyor.Run", False)

    async def _confirm(self, part: BeltPart, action: GateCode) -> None:
        """Rule 5: the sensor behind the gate must have seen what the gate did."""
        confirm = Confirm.SEEN
        if self._failing_confirms:
            self._failing_confirms -= 1
            confirm = Confirm.FAILED
            await self._put("CntConfirmFail", (int(self._read("CntConfirmFail")) + 1) % NUMBERS)
        if part.epoch == self._read("Epoch"):
            await self._put_ring(part, action, confirm)

    async def _beat(self, now: float) -> None:
        """Rule 4: count our heartbeat, watch the bridge's."""
        # Missed beats are not made up for: the next one comes a period from now.
        self._next_heartbeat = now + PLC_HEARTBEAT_S
        await self._put("PlcHb", (int(self._read("PlcHb")) + 1) % NUMBERS)
        self._watch.see(int(self._read("BridgeHb")), now)
        alive = self._watch.alive(now)
        ready = self._read("BridgeState") in (BridgeState.READY, BridgeState.DEGRADED)
        await self._put("Permit", alive and ready)
        moving = self._conveyor.running or bool(self._belt)
        state = LineState.RUNNING if alive else LineState.FAIL_SAFE
        if self._read("StopRequest"):
            state = LineState.HALTED
        await self._put("LineState", state if moving or state is LineState.HALTED else LineState.STOPPED)

    async def _obey_conveyor_nodes(self, now: float) -> None:
        # Twice the parts in flight must fit into the slots, or a part would lose its word to a newer one.
        rate = min(float(self._read("Conveyor.Rate")), self.slots / (2 * self.line.timing.lead_s))
        if rate > 0 and rate != self._conveyor.rate_per_s:
            self._conveyor.set_rate(rate, now)
        wanted = bool(self._read("Conveyor.Run"))
        if wanted and not self._conveyor.running:
            self._fail_safe_in_a_row = 0
            await self._put("StopRequest", False)
            self._conveyor.start(now, int(self._read("Conveyor.Parts")))
        elif not wanted and self._conveyor.running:
            self._conveyor.stop()

    def _record(self, part: BeltPart, word: int, action: str, hb_age_s: float | None, now: float) -> None:
        entry = {
            "line": self.line.name,
            "epoch": part.epoch,
            "number": part.number,
            "triggered": part.triggered_wall,
            "decided_at": part.triggered_wall + now - part.triggered_at,
            "gate_at": part.triggered_wall + part.gate_at - part.triggered_at,
            "word": word,
            "code": word & 0xFF,
            "action": action,
            "bridge_hb_age_ms": None if hb_age_s is None else round(hb_age_s * 1000, 1),
        }
        self.gated.append(entry)
        if self._truth is not None:
            self._truth(entry)

    # Memory and server.

    def _reset_memory(self, epoch: int) -> None:
        self._belt.clear()
        self._confirms.clear()
        self._fail_safe_in_a_row = 0
        self._values = {
            entry.name: [0] * entry.length if entry.length else (False if entry.type == "Boolean" else 0)
            for entry in NODES
            if entry.writer is Writer.PLC
        }
        self._values |= {
            "ContractVersion": CONTRACT_VERSION,
            "Epoch": epoch,
            "SlotCount": self.slots,
            "LeadMs": round(self.line.timing.lead_s * 1000),
        }

    async def _clear_bridge_side(self) -> None:
        for index in range(self.slots):
            await self._put(slot_name(index), 0)

    async def _serve(self) -> None:
        users = _Users(self.line.username, self.line.password)
        server = Server(user_manager=users)  # type: ignore[arg-type]
        server.disable_clock()
        await server.init()
        server.set_endpoint(self.endpoint)
        server.set_server_name(f"neverblink simulated PLC {self.line.name}")
        server.set_security_policy(
            [ua.SecurityPolicyType.NoSecurity]
            if self.line.certificate is None
            else [
                ua.SecurityPolicyType.NoSecurity,
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        )
        tokens = [ua.UserNameIdentityToken] if self.line.username else [ua.AnonymousIdentityToken]
        server.set_identity_tokens(tokens)
        if self.line.certificate is not None and self.line.key is not None:
            await server.load_certificate(self.line.certificate)
            await server.load_private_key(self.line.key)
        await self._make_nodes(server)
        await _listen(server)
        assert server.bserver is not None
        self._port = int(server.bserver.port)
        self._server = server

    async def _stop_serving(self) -> None:
        server, self._server = self._server, None
        if server is not None and server.bserver is not None:
            for client in list(server.bserver.clients):
                if client.transport is not None:
                    client.transport.abort()
            await server.stop()

    async def _make_nodes(self, server: Server) -> None:
        self._namespace = await server.register_namespace(self.line.namespace_uri)
        self._ids = {}
        folder = await server.nodes.objects.add_folder(self._namespace, "VisionReject")
        slots = [Node(slot_name(index), SLOT.type, SLOT.writer, SLOT.about) for index in range(self.slots)]
        writable: set[Any] = set()
        for entry in (*NODES, *slots):
            if entry.name in self.line.absent:
                continue
            kind = self.line.types.get(entry.name, entry.type)
            value = self._values.get(entry.name, False if kind == "Boolean" else 0)
            node_id = await self._add(folder, entry.name, value, kind)
            if entry.writer is Writer.BRIDGE and entry.name not in self.line.read_only:
                writable.add(node_id)
        for name, kind in _CONVEYOR.items():
            start: int | bool | float = {
                "Boolean": self._conveyor.running,
                "UInt32": self.line.parts,
                "Double": float(self._conveyor.rate_per_s),
            }[kind]
            writable.add(await self._add(folder, name, start, kind, node_id=f"s={name}"))
        for node_id in writable:
            await server.get_node(node_id).set_writable()
        self._strict = _StrictAttributes(server.iserver.aspace, self.line.refuse_timestamps)
        self._strict.verdicts = {self._ids[slot_name(i)] for i in range(self.slots) if slot_name(i) in self._ids}
        self._strict.on_write = self._wake_for({self._ids[name] for name in _CONVEYOR})
        server.iserver.attribute_service = self._strict

    def _wake_for(self, ids: set[Any]) -> Callable[[Any], None]:
        def on_write(node_id: Any) -> None:
            if node_id in ids:
                self._wake.set()

        return on_write

    async def _add(self, folder: Any, name: str, value: Any, kind: str, *, node_id: str | None = None) -> Any:
        text = node_id or self._text_id(name)
        identifier: str | int = text[2:] if text.startswith("s=") else int(text[2:])
        self._ids[name] = ua.NodeId(identifier, self._namespace)
        variant_type = _VARIANTS.get(kind) or getattr(ua.VariantType, kind)
        await folder.add_variable(self._ids[name], name, value, varianttype=variant_type)
        return self._ids[name]

    def _text_id(self, name: str) -> str:
        if name.startswith(f"{SLOT.name}["):
            index = name[len(SLOT.name) + 1 : -1]
            return self.line.nodes.get(name) or self.line.slot_node.format(index=index)
        return self.line.nodes.get(name) or self.line.node.format(name=name)

    def _clients(self) -> list[Any]:
        return list(self._server.bserver.clients) if self._server and self._server.bserver else []

    def _read(self, name: str) -> Any:
        if self._server is None or name not in self._ids:
            return self._values.get(name, 0)
        found = self._server.iserver.aspace.read_attribute_value(self._ids[name], ua.AttributeIds.Value)
        return found.Value.Value

    async def _put(self, name: str, value: Any, *, at: datetime | None = None) -> None:
        if name in self._values:
            self._values[name] = value
        if self._server is None or name not in self._ids or self._read(name) == value:
            return
        kind = _VARIANTS[_CONVEYOR.get(name) or node(name).type]
        now = datetime.now(UTC)
        data = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=at or now, ServerTimestamp=now)
        await self._server.iserver.aspace.write_attribute_value(self._ids[name], ua.AttributeIds.Value, data)

    async def _put_ring(self, part: BeltPart, action: GateCode, confirm: Confirm) -> None:
        ring = list(self._read("GateRing"))
        ring[part.number % GATE_RING] = encode_gate(part.epoch, part.number, action, confirm)
        await self._put("GateRing", ring)


class _StrictAttributes(AttributeService):
    """Refuses what a real PLC refuses, with the status that it would give."""

    def __init__(self, space: Any, refuse_timestamps: bool) -> None:
        super().__init__(space)
        self._refuse_timestamps = refuse_timestamps
        self.verdicts: set[Any] = set()
        self.failing = 0
        self.failing_status: int = ua.StatusCodes.BadOutOfService
        self.on_write: Callable[[Any], None] = lambda node_id: None

    async def write(self, params: Any, user: User = _ADMIN) -> list[Any]:
        """Write for a client under the rules; the server's own writes (its status, its clock) go through."""
        if user.role == UserRole.Admin:
            return list(await super().write(params, user))
        results: list[Any] = []
        for item in params.NodesToWrite:
            status = self._refusal(item)
            if status is None:
                value = ua.DataValue(
                    item.Value.Value,
                    SourceTimestamp=datetime.now(UTC),
                    ServerTimestamp=datetime.now(UTC),
                )
                results.append(await self._aspace.write_attribute_value(item.NodeId, item.AttributeId, value))
                self.on_write(item.NodeId)
            else:
                results.append(ua.StatusCode(status))
        return results

    def _refusal(self, item: Any) -> int | None:
        codes = ua.StatusCodes
        present = self._aspace.read_attribute_value(item.NodeId, ua.AttributeIds.Value)
        if present.Value is None or present.Value.Value is None:
            return int(codes.BadNodeIdUnknown)
        access: Any = self._aspace.read_attribute_value(item.NodeId, ua.AttributeIds.AccessLevel).Value
        if item.AttributeId != ua.AttributeIds.Value or not access.Value & 1 << ua.AccessLevel.CurrentWrite:
            return int(codes.BadNotWritable)
        if self._refuse_timestamps and (item.Value.SourceTimestamp or item.Value.ServerTimestamp):
            return int(codes.BadWriteNotSupported)
        given, kept = item.Value.Value, present.Value
        if (
            given is None
            or given.VariantType != kept.VariantType
            or isinstance(given.Value, list) != isinstance(kept.Value, list)
        ):
            return int(codes.BadTypeMismatch)
        if item.NodeId in self.verdicts and self.failing:
            self.failing -= 1
            return self.failing_status
        return None


class _Users:
    """One user by name and password, or everybody when none is set."""

    def __init__(self, username: str | None, password: str | None) -> None:
        self._username, self._password = username, password

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        if self._username is not None and (username, password) != (self._username, self._password):
            return None
        return User(role=UserRole.User, name=username or "anonymous")


async def _listen(server: Server) -> None:
    for attempt in range(REBIND_TRIES):
        try:
            await server.start()
        except OSError:
            if attempt == REBIND_TRIES - 1:
                raise
            await asyncio.sleep(0.05)
        else:
            return


def simulated_lines(
    plant: Plant,
    names: Sequence[str] | None = None,
    *,
    rate_per_s: float = 2.0,
    parts: int = 0,
    running: bool = True,
    jitter: float = 0.1,
    seed: int = 1,
) -> list[SimulatedLine]:
    """Return the plant's lines that have a PLC, simulated at the endpoints that the plant file gives."""
    wanted = [plant.line(name) for name in names] if names else list(plant.lines)
    found = [
        _simulated(line, rate_per_s, parts, running, jitter, seed + index)
        for index, line in enumerate(wanted)
        if line.plc is not None
    ]
    if not found:
        raise PlantError("no line of this plant file has a plc section, so there is no PLC to simulate")
    ports = [line.port for line in found]
    for line in found:
        if ports.count(line.port) > 1:
            raise PlantError(f"two lines share port {line.port}: each simulated PLC needs a port of its own")
    return found


def _simulated(line: Line, rate_per_s: float, parts: int, running: bool, jitter: float, seed: int) -> SimulatedLine:
    assert line.plc is not None
    plc, place = line.plc, urlparse(line.plc.endpoint)
    if plc.security.policy != "None":
        raise PlantError(
            f"line {line.name}: the simulated PLC has no certificate of its own; for a simulation set "
            "plc.security to {policy: None, allow_insecure: true}"
        )
    password = plc.security.password_file
    return SimulatedLine(
        name=line.name,
        timing=line.timing,
        rate_per_s=rate_per_s,
        parts=parts,
        running=running,
        jitter=jitter,
        host=place.hostname or "127.0.0.1",
        port=place.port or 0,
        namespace_uri=plc.namespace_uri,
        node=plc.node,
        slot_node=plc.slot_node,
        nodes=dict(plc.nodes),
        # Three heartbeats of the bridge; more where the belt leaves time for it, because a desktop stalls.
        watchdog_ms=max(3 * plc.heartbeat_ms, min(2000.0, line.timing.lead_s * 500)),
        seed=seed,
        username=plc.security.username,
        password=password.read_text(encoding="utf-8").splitlines()[0].strip() if password else None,
    )


async def run(
    lines: Sequence[SimulatedLine],
    stop: asyncio.Event,
    *,
    truth: Path | None = None,
    ready: Callable[[list[PlcSimulator]], None] | None = None,
) -> None:
    """Serve all lines until `stop` is set; `truth` gets one line of JSON per part at a gate.

    Raises PlantError when a port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        sink = stack.enter_context(_truth_log(truth)) if truth is not None else None
        simulators = [PlcSimulator(line, truth=sink) for line in lines]
        for simulator in simulators:
            try:
                await stack.enter_async_context(simulator)
            except OSError as error:
                raise PlantError(
                    f"the simulated PLC of {simulator.line.name} cannot listen on {simulator.endpoint}: "
                    f"{error.strerror or error}; is another one running there?"
                ) from error
            _log.info(
                f"the PLC of {simulator.line.name} listens",
                extra={"fields": {"line": simulator.line.name, "endpoint": simulator.endpoint}},
            )
        if ready is not None:
            ready(simulators)
        stopped = stack.enter_context(_waiting(stop))
        await asyncio.wait(
            {stopped, *(simulator.program for simulator in simulators)}, return_when=asyncio.FIRST_COMPLETED
        )
        for simulator in simulators:
            if simulator.program.done():
                simulator.program.result()


@contextlib.contextmanager
def _waiting(stop: asyncio.Event) -> Iterator[asyncio.Task[bool]]:
    task = asyncio.ensure_future(stop.wait())
    try:
        yield task
    finally:
        task.cancel()


@contextlib.contextmanager
def _truth_log(path: Path) -> Iterator[Callable[[dict[str, Any]], object]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        yield lambda entry: file.write(orjson.dumps(entry) + b"\n")


@contextlib.asynccontextmanager
async def simulated(*lines: SimulatedLine) -> AsyncIterator[list[PlcSimulator]]:
    """Serve lines for the length of a test."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(PlcSimulator(line)) for line in lines]
