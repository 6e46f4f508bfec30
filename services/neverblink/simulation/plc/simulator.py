"""A simulated PLC that keeps the contract: conveyor, slots, gate, confirm sensor, watchdog, strict types.

Each line is an OPC UA server of its own. Its program runs on the conveyor's clock, whatever the network does.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncua.ua
from asyncua.server.server import Server

from neverblink.plant import Timing
from neverblink.plc.contract import (
    ACK,
    CONTRACT_VERSION,
    GATE_RING,
    MAIL_SLOTS,
    PROFILES,
    SILENT,
    BridgeState,
    Code,
    Confirm,
    GateCode,
    LineState,
    Method,
    ProfileName,
    Writer,
    element_name,
    element_of,
    mail_name,
    node,
    slot_name,
)
from neverblink.plc.word import NUMBERS, encode_gate
from neverblink.simulation.plc.conveyor import Conveyor
from neverblink.simulation.plc.gate import BeltPart, HeartbeatWatch, judge
from neverblink.simulation.plc.server import StrictAttributes, Users, listen, method_callback, trust_only
from neverblink.simulation.plc.told_parts import ToldParts

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

PLC_HEARTBEAT_S = 0.1
MIN_SLOTS = 64
ROOM_FOR_RATE = 16.0  # Conveyor.Rate may be raised while running; the slots are counted at the start

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
    """What one simulated line is like. Port 0 takes a free one; `parts` 0 is endless.

    `client_certificate` is the only one let in; without it, any. `stop_without_bridge` is about the profiles in which
    silence passes.
    """

    name: str
    timing: Timing
    rate_per_s: float = 2.0
    parts: int = 0
    jitter: float = 0.1
    running: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    profile: ProfileName = "verdict-table"
    namespace_uri: str = "urn:neverblink:plc"
    node: str = "s=VisionReject.{name}"
    slot_node: str = "s=VisionReject.{name}[{index}]"
    method_object: str = "s=VisionReject"
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
    client_certificate: Path | None = None
    stop_without_bridge: bool = True
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
        self._strict: StrictAttributes | None = None
        self._profile = PROFILES[line.profile]
        self._told = ToldParts(line.epoch)
        self._mute_until = 0.0
        self._was_alive = False
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

    def mute(self, seconds: float) -> None:
        """Let the program read no mail and answer no call for so long, while the server goes on."""
        self._mute_until = self._clock() + seconds

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
            await self._read_mail(now)
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
        if self._mute_until > self._clock():
            times.append(self._mute_until)
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
        if self._profile.silence_passes:
            self._told.triggered(number)
        else:
            await self._put(slot_name(number % self.slots), 0)
        await self._put("LastTriggered", number, at=datetime.fromtimestamp(wall, UTC))
        if not self._conveyor.running:
            await self._put("Conveyor.Run", False)

    async def _read_mail(self, now: float) -> None:
        """Profile B: answer what is new in the mailbox."""
        if self._profile.each is None or self._profile.count is None or now < self._mute_until:
            return
        found = [self._told.read_mail(slot, int(self._read(mail_name(slot)))) for slot in range(MAIL_SLOTS)]
        if any(found):
            await self._put(ACK.name, list(self._told.acks))

    async def _before_call(self) -> int | None:
        """Profile C: wait while the program is mute; return the status of a call that is to fail."""
        await asyncio.sleep(max(0.0, self._mute_until - self._clock()))
        return None if self._strict is None else self._strict.failure()

    async def _decide(self, part: BeltPart, now: float) -> None:
        """Rules 2 and 3: read the slot once; anything but our pass for this part is a reject.

        Where silence passes: anything but a reject that was told for this part is a pass.
        """
        self._watch.see(int(self._read("BridgeHb")), now)
        if self._profile.silence_passes:
            word = self._told.decide(part.number)
            action = GateCode.REJECTED if word > Code.PASS else GateCode.PASSED
            counter = SILENT.name if word == Code.PENDING else _COUNTERS[action]
        else:
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
        if self._profile.silence_passes and self.line.stop_without_bridge and self._was_alive and not alive:
            self._conveyor.stop()
            await self._put("StopRequest", True)
            await self._put("Conveyor.Run", False)
        self._was_alive = alive
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
        self._told = ToldParts(epoch)
        self._values = {
            entry.name: [0] * entry.length if entry.length else (False if entry.type == "Boolean" else 0)
            for entry in (*self._profile.nodes, *self._profile.optional)
            if entry.writer is Writer.PLC
        }
        self._values |= {
            "ContractVersion": CONTRACT_VERSION,
            "Epoch": epoch,
            **({} if self._profile.silence_passes else {"SlotCount": self.slots}),
            "LeadMs": round(self.line.timing.lead_s * 1000),
        }

    async def _clear_bridge_side(self) -> None:
        for name in self._elements():
            await self._put(name, 0)

    def _elements(self) -> Iterator[str]:
        """Yield the names of the profile's elements that are nodes of their own."""
        if self._profile.each is not None:
            for index in range(self._profile.count or self.slots):
                yield element_name(self._profile.each, index)

    async def _serve(self) -> None:
        users = Users(self.line.username, self.line.password, signed=self.line.certificate is not None)
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
        if self.line.client_certificate is not None:
            trust_only(server, self.line.client_certificate)
        await self._make_nodes(server)
        await listen(server)
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
        folder = await server.nodes.objects.add_folder(self._node_id(self.line.method_object), "VisionReject")
        each = self._profile.each
        elements = [replace(each, name=name) for name in self._elements()] if each is not None else []
        writable: set[Any] = set()
        for entry in (*self._profile.nodes, *self._profile.optional, *elements):
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
        if self._profile.method is not None and self._profile.method.name not in self.line.absent:
            await self._add_method(folder, self._profile.method)
        self._strict = StrictAttributes(server.iserver.aspace, self.line.refuse_timestamps)
        self._strict.verdicts = {self._ids[name] for name in self._elements() if name in self._ids}
        mails = self._strict.verdicts if self._profile.count else set()
        self._strict.on_write = self._wake_for({*mails, *(self._ids[name] for name in _CONVEYOR)})
        server.iserver.attribute_service = self._strict

    def _wake_for(self, ids: set[Any]) -> Callable[[Any], None]:
        def on_write(node_id: Any) -> None:
            if node_id in ids:
                self._wake.set()

        return on_write

    async def _add(self, folder: Any, name: str, value: Any, kind: str, *, node_id: str | None = None) -> Any:
        self._ids[name] = self._node_id(node_id or self._text_id(name))
        variant_type = _VARIANTS.get(kind) or getattr(ua.VariantType, kind)
        await folder.add_variable(self._ids[name], name, value, varianttype=variant_type)
        return self._ids[name]

    async def _add_method(self, folder: Any, method: Method) -> None:
        kinds = {name: self.line.types.get(f"{method.name}.{name}", kind) for name, kind in method.inputs}
        types = [getattr(ua.VariantType, kind) for kind in kinds.values()]
        taken = method_callback(types, lambda *given: self._told.call(*given), self._before_call)
        takes = [_argument(name, kind) for name, kind in kinds.items()]
        gives = [_argument(name, kind) for name, kind in method.outputs]
        await folder.add_method(self._node_id(self._text_id(method.name)), method.name, taken, takes, gives)

    def _node_id(self, text: str) -> Any:
        return ua.NodeId(text[2:] if text.startswith("s=") else int(text[2:]), self._namespace)

    def _text_id(self, name: str) -> str:
        element = element_of(name)
        if element is None:
            return self.line.nodes.get(name) or self.line.node.replace("{name}", name)
        pattern = self.line.slot_node.replace("{name}", element[0])
        return self.line.nodes.get(name) or pattern.replace("{index}", str(element[1]))

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


def _argument(name: str, kind: str) -> Any:
    data_type = ua.NodeId(getattr(ua.ObjectIds, kind))
    return ua.Argument(
        Name=name, DataType=data_type, ValueRank=-1, ArrayDimensions=[], Description=ua.LocalizedText("")
    )


@contextlib.asynccontextmanager
async def simulated(*lines: SimulatedLine) -> AsyncIterator[list[PlcSimulator]]:
    """Serve lines for the length of a test."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(PlcSimulator(line)) for line in lines]
