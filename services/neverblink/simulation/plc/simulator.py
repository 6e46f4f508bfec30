"""A simulated PLC that keeps the contract: conveyor, slots, gate, confirm sensor, watchdog, strict types.

Each line is an OPC UA server of its own. Its program runs on the conveyor's clock, whatever the network does.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import asyncua.ua

from neverblink.plc.contract import (
    ACK,
    MAIL_SLOTS,
    PROFILES,
    SILENT,
    BridgeState,
    Code,
    Confirm,
    GateCode,
    LineHold,
    LineState,
    lane_name,
    mail_name,
    slot_name,
)
from neverblink.plc.word import NUMBERS
from neverblink.service_life.time_limit import time_limit
from neverblink.simulation.plc.conveyor import Conveyor
from neverblink.simulation.plc.gate import BeltPart, HeartbeatWatch, judge, to_inspection
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.memory import PlcMemory, Program
from neverblink.simulation.plc.retained import keep_epoch
from neverblink.simulation.plc.told_parts import ToldParts

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

PLC_HEARTBEAT_S = 0.1
_COUNTERS = {
    GateCode.PASSED: "CntPass",
    GateCode.REJECTED: "CntReject",
    GateCode.FAIL_SAFE: "CntFailsafe",
    GateCode.STALE: "CntStale",
}


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
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._conveyor = Conveyor(line.rate_per_s, line.jitter, random.Random(line.seed), line.parts)
        self._belt: deque[BeltPart] = deque()
        self._confirms: deque[tuple[float, BeltPart, GateCode]] = deque()
        self._failing_confirms = 0
        self._watch = HeartbeatWatch(line.watchdog_ms / 1000)
        self._next_heartbeat = 0.0
        self._fail_safe_in_a_row = 0
        self._profile = PROFILES[line.profile]
        self._told = ToldParts(line.epoch)
        program = Program(self._wake.set, lambda *given: self._told.call(*given), self._before_call)
        self._memory = PlcMemory(line, program)
        self._mute_until = 0.0
        self._was_alive = False
        self._permitted_at: float | None = None
        self.clock_s = 0.0
        """How far the PLC's own clock is ahead of ours."""
        self._reset_memory(line.epoch)

    @property
    def endpoint(self) -> str:
        """Return where the server listens."""
        return self._memory.endpoint

    @property
    def slots(self) -> int:
        """Return the number of verdict slots: at least twice the parts in flight, and a power of two."""
        return self.line.verdict_slots

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
        return self._memory.read(name)

    async def put(self, name: str, value: Any) -> None:
        """Set a node's value as the PLC program would, for tests."""
        await self._memory.put(name, value)

    async def start(self) -> None:
        """Serve and run the program. Raises OSError when the port is taken."""
        await self._memory.serve(self._conveyor_nodes())
        now = self._clock()
        if self.line.running:
            self._conveyor.start(now)
        await self._memory.put("Conveyor.Run", self._conveyor.running)
        self._task = asyncio.create_task(self._program(), name=f"plc program {self.line.name}")

    async def stop(self) -> None:
        """Stop program and server."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._memory.stop_serving()

    async def __aenter__(self) -> "PlcSimulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def run_conveyor(self, parts: int = 0) -> None:
        """Start the conveyor for so many parts, 0 for endless."""
        self._conveyor.start(self._clock(), parts)
        await self._memory.put("Conveyor.Run", True)
        self._wake.set()

    # Faults, for tests and demonstrations.

    async def new_epoch(self, *, grown: bool = True) -> None:
        """Clear the lane: every part on the belt is taken off as a reject, counting begins anew.

        Not `grown` it is the epoch that was, as in a program that forgets to count it up.
        """
        for part in self._belt:
            self._record(part, 0, "lane-clear", None, self._clock())
        self._reset_memory((int(self._memory.read("Epoch")) + grown) % (1 << 16))
        await self._memory.show()

    async def restart(self, *, forgets: bool = False) -> None:
        """Switch the PLC off and on: connections break, the epoch counts up, the slots are empty.

        One that `forgets` has no retentive memory: it counts anew in the epoch that it has always begun with.
        """
        epoch = self.line.epoch - 1 if forgets else int(self._memory.read("Epoch"))
        await self._memory.stop_serving()
        for part in self._belt:
            self._record(part, 0, "lane-clear", None, self._clock())
        self._reset_memory((epoch + 1) % (1 << 16))
        self._watch = HeartbeatWatch(self.line.watchdog_ms / 1000)
        await self._memory.serve(self._conveyor_nodes())
        self._conveyor.resume(self._clock())

    async def download(self, seconds: float) -> None:
        """Load the program anew: for so long its nodes are away, then it begins a new epoch. Sessions live on."""
        epoch = int(self._memory.read("Epoch"))
        self._memory.unload()
        for part in self._belt:
            self._record(part, 0, "lane-clear", None, self._clock())
        self._reset_memory((epoch + 1) % (1 << 16))
        await asyncio.sleep(seconds)
        self._watch = HeartbeatWatch(self.line.watchdog_ms / 1000)
        await self._memory.load()
        self._conveyor.resume(self._clock())

    async def drop_connections(self) -> None:
        """Reset every connection, as a pulled cable or a killed server does."""
        for client in self._memory.clients():
            if client.transport is not None:
                client.transport.abort()

    async def stall(self, seconds: float) -> None:
        """Stop answering for so long; what arrives meanwhile is executed afterwards, as real servers do."""
        paused: set[Any] = set()
        try:
            until = self._clock() + seconds
            while self._clock() < until:
                for client in self._memory.clients():
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
        assert self._memory.strict is not None
        self._memory.strict.failing, self._memory.strict.failing_status = count, getattr(ua.StatusCodes, status)

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
                async with time_limit(max(0.0, self._next_event() - self._clock())):
                    await self._wake.wait()
            self._wake.clear()
            now = self._clock()
            if not self._memory.is_served:
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
        number = (int(self._memory.read("LastTriggered")) + 1) % NUMBERS
        self._conveyor.trigger()
        decide_at = due + timing.lead_s - (timing.actuator_ms + timing.plc_cycle_ms) / 1000
        wall = time.time() - (self._clock() - due)
        self._belt.append(BeltPart(int(self._memory.read("Epoch")), number, due, decide_at, due + timing.lead_s, wall))
        if self._profile.silence_passes:
            self._told.triggered(number)
        else:
            await self._memory.put(slot_name(number % self.slots), 0)
            await self._memory.put(lane_name(number % self.slots), 0)
        await self._memory.put_identity(int(self._memory.read("Epoch")), number)
        await self._memory.put("LastTriggered", number, at=datetime.fromtimestamp(wall + self.clock_s, UTC))
        if not self._conveyor.running:
            await self._memory.put("Conveyor.Run", False)

    async def _read_mail(self, now: float) -> None:
        """Profile B: answer what is new in the mailbox."""
        if self._profile.each is None or self._profile.count is None or now < self._mute_until:
            return
        found = [self._told.read_mail(slot, int(self._memory.read(mail_name(slot)))) for slot in range(MAIL_SLOTS)]
        if any(found):
            await self._memory.put(ACK.name, list(self._told.acks))

    async def _before_call(self) -> int | None:
        """Profile C: wait while the program is mute; return the status of a call that is to fail."""
        await asyncio.sleep(max(0.0, self._mute_until - self._clock()))
        return None if self._memory.strict is None else self._memory.strict.failure()

    async def _decide(self, part: BeltPart, now: float) -> None:
        """Rules 2 and 3: read the slot once; anything but our pass for this part is a reject.

        Where silence passes: anything but a reject that was told for this part is a pass.
        """
        self._watch.see(int(self._memory.read("BridgeHb")), now)
        if self._profile.silence_passes:
            word, lane = self._told.decide(part.number), 0
            action = GateCode.REJECTED if word > Code.PASS else GateCode.PASSED
            counter = SILENT.name if word == Code.PENDING else _COUNTERS[action]
        else:
            word = int(self._memory.read(slot_name(part.number % self.slots)))
            lane = int(self._memory.read(lane_name(part.number % self.slots)))
            action = judge(part.epoch, part.number, word, bridge_alive=self._watch.alive(now))
            counter = _COUNTERS[action]
        if self._memory.read("LineHold") == LineHold.BYPASS:
            action, counter = GateCode.PASSED, _COUNTERS[GateCode.PASSED]
        await self._memory.put(counter, (int(self._memory.read(counter)) + 1) % NUMBERS)
        await self._memory.put("GateLastPart", part.number)
        await self._memory.put("GateLastWord", word)
        await self._memory.put_ring(part, action, Confirm.PENDING)
        self._confirms.append((part.gate_at + self.line.confirm_ms / 1000, part, action))
        inspect = to_inspection(part.epoch, part.number, lane, action)
        said = action.name.lower().replace("_", "-")
        self._record(part, word, said, self._watch.age_s(now), now, inspect=inspect)
        unsafe = action in (GateCode.FAIL_SAFE, GateCode.STALE)
        self._fail_safe_in_a_row = self._fail_safe_in_a_row + 1 if unsafe else 0
        if 0 < self.line.stop_after_fail_safe <= self._fail_safe_in_a_row:
            self._conveyor.stop()
            await self._memory.put("StopRequest", True)
            await self._memory.put("Conveyor.Run", False)

    async def _confirm(self, part: BeltPart, action: GateCode) -> None:
        """Rule 5: the sensor behind the gate must have seen what the gate did."""
        confirm = Confirm.SEEN
        if self._failing_confirms:
            self._failing_confirms -= 1
            confirm = Confirm.FAILED
            await self._memory.put("CntConfirmFail", (int(self._memory.read("CntConfirmFail")) + 1) % NUMBERS)
        if part.epoch == self._memory.read("Epoch"):
            await self._memory.put_ring(part, action, confirm)

    async def _beat(self, now: float) -> None:
        """Rule 4: count our heartbeat, watch the bridge's."""
        # Missed beats are not made up for: the next one comes a period from now.
        self._next_heartbeat = now + PLC_HEARTBEAT_S
        await self._memory.put("PlcHb", (int(self._memory.read("PlcHb")) + 1) % NUMBERS)
        self._watch.see(int(self._memory.read("BridgeHb")), now)
        alive = self._watch.alive(now)
        if self._profile.silence_passes and self.line.stop_without_bridge and self._was_alive and not alive:
            self._conveyor.stop()
            await self._memory.put("StopRequest", True)
            await self._memory.put("Conveyor.Run", False)
        self._was_alive = alive
        ready = self._memory.read("BridgeState") in (BridgeState.READY, BridgeState.DEGRADED)
        await self._memory.put("Permit", alive and ready)
        await self._reset_after_a_stop(alive and ready, now)
        moving = self._conveyor.running or bool(self._belt)
        state = LineState.RUNNING if alive else LineState.FAIL_SAFE
        if self._memory.read("StopRequest"):
            state = LineState.HALTED
        await self._memory.put("LineState", state if moving or state is LineState.HALTED else LineState.STOPPED)

    async def _reset_after_a_stop(self, permitted: bool, now: float) -> None:
        """Be the operator, where there is one: release a stop so long after the bridge permits it."""
        if not (permitted and self._memory.read("StopRequest")):
            self._permitted_at = None
            return
        self._permitted_at = now if self._permitted_at is None else self._permitted_at
        if self.line.reset_after_s is not None and now - self._permitted_at >= self.line.reset_after_s:
            await self._memory.put("Conveyor.Run", True)

    async def _obey_conveyor_nodes(self, now: float) -> None:
        # Twice the parts in flight must fit into the slots, or a part would lose its word to a newer one.
        rate = min(float(self._memory.read("Conveyor.Rate")), self.slots / (2 * self.line.timing.lead_s))
        if rate > 0 and rate != self._conveyor.rate_per_s:
            self._conveyor.set_rate(rate, now)
        wanted = bool(self._memory.read("Conveyor.Run"))
        if wanted and not self._conveyor.running:
            self._fail_safe_in_a_row = 0
            await self._memory.put("StopRequest", False)
            self._conveyor.start(now, int(self._memory.read("Conveyor.Parts")))
        elif not wanted and self._conveyor.running:
            self._conveyor.stop()

    def _conveyor_nodes(self) -> dict[str, bool | float]:
        return {
            "Conveyor.Run": self._conveyor.running,
            "Conveyor.Parts": self.line.parts,
            "Conveyor.Rate": float(self._conveyor.rate_per_s),
        }

    def _reset_memory(self, epoch: int) -> None:
        self._belt.clear()
        self._confirms.clear()
        self._fail_safe_in_a_row = 0
        self._told = ToldParts(epoch)
        self._memory.reset(epoch)
        if self.line.retained is not None:
            keep_epoch(self.line.retained, epoch)

    def _record(
        self, part: BeltPart, word: int, action: str, hb_age_s: float | None, now: float, *, inspect: bool = False
    ) -> None:
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
            "inspect": inspect,
            "bridge_hb_age_ms": None if hb_age_s is None else round(hb_age_s * 1000, 1),
        }
        self.gated.append(entry)
        if self._truth is not None:
            self._truth(entry)


@contextlib.asynccontextmanager
async def simulated(*lines: SimulatedLine) -> AsyncIterator[list[PlcSimulator]]:
    """Serve lines for the length of a test."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(PlcSimulator(line)) for line in lines]
