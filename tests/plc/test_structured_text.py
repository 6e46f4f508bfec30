"""The Structured Text that we ship, run cycle by cycle against the rules that the simulator keeps."""

import random
from pathlib import Path

import pytest
from structured_text import FunctionBlock, declarations, structure

from neverblink.plc.contract import (
    CONTRACT_VERSION,
    HOLD,
    INSPECT,
    LANE,
    NODES,
    SLOT,
    BridgeState,
    Code,
    Confirm,
    GateCode,
    LineState,
    Writer,
)
from neverblink.plc.contract_files import IEC_TYPES, contract_json, file_name, node_list
from neverblink.plc.word import PARTS, decode_gate, encode_verdict
from neverblink.simulation.plc.gate import HeartbeatWatch, judge, to_inspection

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "deploy" / "plc" / "FB_VisionReject.st").read_text()
CYCLE_MS = 10
PULSES_A_CYCLE = 10
TO_GATE = 500  # half a second
SPACING = 120


class Belt:
    """A conveyor with the function block as its PLC program; a bridge writes into `plc.io`."""

    def __init__(self, encoder: int = 0, confirm: int = 0, **inputs: int) -> None:
        self.plc = FunctionBlock(SOURCE)
        self.now, self.encoder, self.confirm, self.inputs = 5_000, encoder, confirm, inputs
        self.watch = HeartbeatWatch(0.605)
        self.beating = True
        self.gated: dict[int, tuple[GateCode, bool]] = {}
        self.expected: dict[int, GateCode] = {}
        self.inspected: dict[int, tuple[bool, bool]] = {}

    def cycle(self, **signals: bool) -> None:
        io = self.plc.io
        self.now += CYCLE_MS
        self.encoder = (self.encoder + PULSES_A_CYCLE) % (1 << 32)
        if self.beating and self.now % 200 == 0:
            io.BridgeHb = (io.BridgeHb + 1) % (1 << 32)
        self.watch.see(io.BridgeHb, self.now / 1000)
        number = self.plc.values["NextGate"]
        word, lane = io.Verdict[number % 64], io.Lane[number % 64]
        self.plc(
            NowMs=self.now,
            Encoder=self.encoder,
            PulsesToGate=TO_GATE,
            PulsesToConfirm=self.confirm,
            WatchdogMs=605,
            Running=True,
            LeadTimeMs=600,
            Trigger=signals.get("trigger", False),
            RejectSeen=signals.get("seen", False),
            ClearLane=signals.get("clear", False),
            Reset=signals.get("reset", False),
            **self.inputs,
        )
        if self.plc.values["PartAtGate"]:
            entry = decode_gate(io.GateRing[io.GateLastPart % 16])
            assert (io.GateLastPart, io.GateLastWord) == (number, word)
            assert (entry.part, entry.epoch) == (number % PARTS, io.Epoch % 16)
            self.gated[number] = GateCode(entry.action), self.plc.values["Reject"]
            alive = self.watch.alive(self.now / 1000)
            action = self.expected[number] = judge(io.Epoch, number, word, bridge_alive=alive)
            self.inspected[number] = self.plc.values["Inspect"], to_inspection(io.Epoch, number, lane, action)

    def run(self, cycles: int, **signals: bool) -> None:
        for _ in range(cycles):
            self.cycle(**signals)

    def part(self, *words: int | None, lane: int | None = None) -> None:
        """Trigger a part, let the bridge write these words into its slot, and go on to the next part's place."""
        self.cycle(trigger=True)
        if lane is not None:
            self.plc.io.Lane[self.plc.io.LastTriggered % 64] = lane
        for word in words:
            if word is not None:
                self.plc.io.Verdict[self.plc.io.LastTriggered % 64] = word
        self.run(SPACING // PULSES_A_CYCLE - 1)

    def word(self, code: int, back: int = 0, epochs_back: int = 0) -> int:
        io = self.plc.io
        return encode_verdict((io.Epoch - epochs_back) % (1 << 16), io.LastTriggered + 1 - back, code)


def ready(**settings: int) -> Belt:
    belt = Belt(**settings)
    belt.run(100)
    belt.plc.io.BridgeState = BridgeState.READY
    belt.run(1)
    return belt


def test_the_structure_is_the_contract() -> None:
    fields = structure(SOURCE)
    expected = {entry.name: (IEC_TYPES[entry.type], entry.length) for entry in (*NODES, HOLD)}
    for table in (SLOT, LANE):
        expected[table.name] = (IEC_TYPES[table.type], 64)
    assert {name: (f.type, None if f.last is None else f.last + 1) for name, f in fields.items()} == expected
    text = SOURCE[SOURCE.index("TYPE ST_VisionReject") : SOURCE.index("END_STRUCT")]
    theirs, ours = text.split("(* The bridge writes these. *)")
    for entry in (*NODES, HOLD, SLOT, LANE):
        assert entry.name in declarations(theirs if entry.writer is Writer.PLC else ours)


def test_the_files_for_plc_programmers_are_the_contract() -> None:
    for profile, name in (
        ("verdict-table", "nodes.csv"),
        ("mailbox", "nodes-mailbox.csv"),
        ("method", "nodes-method.csv"),
    ):
        assert (ROOT / "deploy" / "plc" / name).read_text() == node_list(profile=profile)
        assert (ROOT / "schemas" / "plc" / file_name(profile)).read_text() == contract_json(profile)
    assert node_list().count("\n") == len(NODES) + 4


@pytest.mark.parametrize("seed", range(12))
def test_the_gate_does_what_the_rules_say_whatever_the_bridge_writes(seed: int) -> None:
    draw = random.Random(seed)
    # The encoder wraps in the middle of the run.
    belt = ready(encoder=(1 << 32) - 6_000, StopAfter=0)
    for _ in range(150):
        code = draw.choice([Code.PASS, Code.PASS, Code.REJECT, Code.UNSURE, Code.PENDING, 17])
        word = draw.choice(
            [
                belt.word(code),
                belt.word(code),
                belt.word(code),
                None,
                0,
                belt.word(Code.PASS, back=1),
                belt.word(Code.PASS, back=64),
                belt.word(Code.PASS, epochs_back=1),
                draw.getrandbits(32),
            ]
        )
        belt.beating = draw.random() > 0.3 if draw.random() < 0.2 else belt.beating
        belt.part(word)
    belt.run(100)
    assert set(belt.gated) == set(range(1, 151))
    for number, (action, rejected) in belt.gated.items():
        assert action is belt.expected[number]
        assert rejected is (action is not GateCode.PASSED)
    assert set(belt.expected.values()) == {GateCode.PASSED, GateCode.REJECTED, GateCode.FAIL_SAFE, GateCode.STALE}
    io, actions = belt.plc.io, list(belt.expected.values())
    counters = io.CntPass, io.CntReject, io.CntFailsafe, io.CntStale
    assert counters == tuple(
        actions.count(kind) for kind in (GateCode.PASSED, GateCode.REJECTED, GateCode.FAIL_SAFE, GateCode.STALE)
    )


@pytest.mark.parametrize("seed", range(4))
def test_only_a_part_that_passes_is_inspected_and_only_by_a_word_that_names_it(seed: int) -> None:
    draw = random.Random(seed)
    belt = ready(StopAfter=0)
    for _ in range(120):
        words = [belt.word(Code.PASS), belt.word(Code.PASS), belt.word(Code.REJECT), None]
        lanes = [belt.word(INSPECT), belt.word(INSPECT), belt.word(INSPECT, back=1), belt.word(INSPECT, back=64)]
        others = [belt.word(INSPECT, epochs_back=1), belt.word(0), belt.word(2), draw.getrandbits(32), None]
        belt.part(draw.choice(words), lane=draw.choice([*lanes, *others]))
    belt.run(100)
    assert {seen for seen, _ in belt.inspected.values()} == {True, False}
    assert all(seen is expected for seen, expected in belt.inspected.values())
    assert not any(seen and belt.gated[number][1] for number, (seen, _) in belt.inspected.items())


def test_the_lane_changes_nothing_at_the_gate_and_begins_empty() -> None:
    belt = ready()
    belt.part(lane=belt.word(INSPECT))
    belt.run(60)
    assert belt.gated[1] == (GateCode.FAIL_SAFE, True)
    belt.plc.io.Lane[2] = belt.word(INSPECT)
    belt.part(belt.word(Code.PASS))
    assert belt.plc.io.Lane[2] == 0
    belt.plc.io.Lane[5] = 7
    belt.cycle(clear=True)
    assert not any(belt.plc.io.Lane)


def test_a_word_after_the_gate_changes_nothing() -> None:
    belt = ready()
    belt.part()
    belt.run(60)
    assert belt.gated[1] == (GateCode.FAIL_SAFE, True)
    belt.plc.io.Verdict[1] = encode_verdict(belt.plc.io.Epoch, 1, Code.PASS)
    belt.run(60)
    assert (belt.plc.values["Reject"], belt.plc.io.CntPass) == (True, 0)


def test_a_cold_start_and_a_cleared_lane_begin_a_new_epoch_with_empty_slots() -> None:
    belt = ready()
    io = belt.plc.io
    assert (io.ContractVersion, io.SlotCount, io.Epoch) == (CONTRACT_VERSION, 64, 1)
    belt.part(belt.word(Code.PASS))
    belt.cycle(clear=True)
    assert (io.Epoch, io.LastTriggered, io.Verdict[1]) == (2, 0, 0)
    belt.run(80)
    assert belt.gated == {}
    io.Epoch = 65535
    belt.cycle(clear=True)
    assert io.Epoch == 0


def test_an_epoch_grows_over_a_download_that_leaves_the_program_running() -> None:
    belt = Belt()
    for _ in range(3):
        belt.cycle(clear=True)
        belt.cycle()
    io = belt.plc.io
    assert io.Epoch == 3
    # Retained, but for the function block: the cold start counts on.
    belt.plc.values["Started"] = False
    belt.cycle()
    assert io.Epoch == 4
    # The structure alone was initialised: what counts anew does so in a new epoch of whatever is left.
    io.ContractVersion, io.LastTriggered = 0, 0
    belt.cycle()
    assert (io.ContractVersion, io.Epoch) == (CONTRACT_VERSION, 5)


@pytest.mark.parametrize(
    ("known", "version", "at_least", "begins"),
    [
        (0, 0, 40_000, 40_001),  # memory was lost: what grows by itself says where to begin, however large it is
        (0, 0, 0, 1),
        (7, 1, 100, 101),
        (100, 1, 7, 101),  # more lanes were cleared than that has grown: the epoch counts on
        (65_000, 1, 3, 4),  # it wrapped
        (65_000, 1, 0, 65_001),
    ],
)
def test_without_retentive_memory_the_epoch_begins_behind_what_grows_over_a_restart(
    known: int, version: int, at_least: int, begins: int
) -> None:
    belt = Belt(EpochAtLeast=at_least)
    belt.plc.io.Epoch, belt.plc.io.ContractVersion = known, version
    belt.cycle()
    assert belt.plc.io.Epoch == begins


def test_silence_stops_the_line_after_so_many_parts_until_a_person_resets_it() -> None:
    belt = ready(StopAfter=3)
    io = belt.plc.io
    assert (io.Permit, io.LineState) == (True, LineState.RUNNING)
    for _ in range(3):
        belt.part()
    belt.run(60)
    assert (io.StopRequest, io.Permit, io.LineState) == (True, False, LineState.HALTED)
    belt.cycle(reset=True)
    assert (io.StopRequest, io.Permit, io.LineState) == (False, True, LineState.RUNNING)


def test_a_frozen_bridge_rejects_all_and_a_moving_one_is_believed_again() -> None:
    belt = ready()
    belt.beating = False
    belt.run(70)
    assert belt.plc.io.LineState == LineState.FAIL_SAFE
    belt.part(belt.word(Code.PASS))
    belt.run(60)
    assert belt.gated[1] == (GateCode.FAIL_SAFE, True)
    belt.beating = True
    belt.run(30)
    belt.part(belt.word(Code.PASS))
    belt.run(60)
    assert belt.gated[2] == (GateCode.PASSED, False)


@pytest.mark.parametrize(
    ("code", "seen", "good"), [(2, True, True), (2, False, False), (1, False, True), (1, True, False)]
)
def test_the_sensor_must_see_what_the_gate_did(code: int, seen: bool, good: bool) -> None:
    belt = ready(confirm=100)
    belt.part(belt.word(code))
    while 1 not in belt.gated:
        belt.cycle()
    assert decode_gate(belt.plc.io.GateRing[1]).confirm == Confirm.PENDING
    belt.run(5, seen=seen)
    belt.run(10)
    entry = decode_gate(belt.plc.io.GateRing[1])
    assert entry.confirm == (Confirm.SEEN if good else Confirm.FAILED)
    assert entry.action == (GateCode.REJECTED if code == 2 else GateCode.PASSED)
    assert (belt.plc.io.CntConfirmFail, belt.plc.io.StopRequest) == ((0, False) if good else (1, True))


def test_without_a_sensor_the_ring_says_so() -> None:
    belt = ready()
    belt.part(belt.word(Code.PASS))
    belt.run(60)
    assert decode_gate(belt.plc.io.GateRing[1]).confirm == Confirm.NO_SENSOR


def test_more_parts_than_slots_stop_the_line() -> None:
    belt = ready(confirm=1 << 20, StopAfter=0)
    for _ in range(65):
        belt.cycle(trigger=True)
        belt.cycle()
    assert belt.plc.io.StopRequest
    assert belt.plc.io.LastTriggered == 64


def test_the_plcs_heart_beats_ten_times_a_second() -> None:
    belt = ready()
    before = belt.plc.io.PlcHb
    belt.run(100)
    assert belt.plc.io.PlcHb - before == 10
