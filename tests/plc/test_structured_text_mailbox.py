"""The shipped mailbox block, cycle by cycle, against the rules that the simulated PLC keeps."""

import random
from pathlib import Path

import pytest
from structured_text import FunctionBlock, declarations, structure

from neverblink.plc.contract import MAIL_SLOTS, PROFILES, BridgeState, Code, GateCode, LineState, TellStatus, Writer
from neverblink.plc.contract_files import IEC_TYPES
from neverblink.plc.word import PARTS, decode_gate, decode_mail, encode_mail, next_seq
from neverblink.simulation.plc.told_parts import ToldParts

SOURCE = (Path(__file__).resolve().parents[2] / "deploy" / "plc" / "FB_VisionMailbox.st").read_text()
CYCLE_MS = 10


class Belt:
    """The block as a PLC program that decides a part some parts after its trigger; beside it, the rules."""

    def __init__(self, **inputs: int) -> None:
        self.plc = FunctionBlock(SOURCE)
        self.now, self.inputs, self.beating = 5_000, inputs, True
        self.gated: dict[int, bool] = {}
        self.cycle()
        self.rules = ToldParts(self.plc.io.Epoch)
        self.seq = 0
        for _ in range(40):
            self.cycle()
        self.plc.io.BridgeState = BridgeState.READY
        self.cycle()

    def cycle(self, **signals: bool) -> None:
        self.now += CYCLE_MS
        if self.beating and self.now % 200 == 0:
            self.plc.io.BridgeHb += 1
        number = self.plc.values["NextGate"]
        self.plc(
            NowMs=self.now,
            Running=True,
            LeadTimeMs=600,
            Trigger=signals.get("trigger", False),
            AtGate=signals.get("gate", False),
            ClearLane=signals.get("clear", False),
            Reset=signals.get("reset", False),
            **self.inputs,
        )
        if self.plc.values["PartAtGate"]:
            entry = decode_gate(self.plc.io.GateRing[number % 16])
            assert (entry.part, entry.epoch) == (number % PARTS, self.plc.io.Epoch % 16)
            assert (entry.action == GateCode.REJECTED) is self.plc.values["Reject"]
            self.gated[number] = self.plc.values["Reject"]

    def trigger(self) -> int:
        self.cycle(trigger=True)
        self.cycle()
        number = int(self.plc.io.LastTriggered)
        self.rules.triggered(number)
        return number

    def gate(self) -> bool:
        """Decide the next part; return whether the rules say the same."""
        number = self.plc.values["NextGate"]
        expected = self.rules.decide(number) > Code.PASS
        self.cycle(gate=True)
        self.cycle()
        return self.gated[number] is expected

    def mail(self, slot: int, number: int, code: int, epochs_back: int = 0) -> TellStatus:
        self.seq = next_seq(self.seq)
        return self.word(slot, encode_mail(self.seq, self.plc.io.Epoch - epochs_back, number, code))

    def word(self, slot: int, word: int) -> TellStatus:
        self.plc.io.CmdWord[slot] = word
        self.cycle()
        self.rules.read_mail(slot, word)
        assert self.plc.io.AckWord == self.rules.acks
        return TellStatus(decode_mail(self.plc.io.AckWord[slot]).low)


def test_the_structure_is_the_contract() -> None:
    profile = PROFILES["mailbox"]
    assert profile.each is not None
    fields = {
        name: (field.type, None if field.last is None else field.last + 1) for name, field in structure(SOURCE).items()
    }
    known = {entry.name: (IEC_TYPES[entry.type], entry.length) for entry in (*profile.nodes, *profile.optional)}
    known[profile.each.name] = (IEC_TYPES[profile.each.type], MAIL_SLOTS)
    assert fields.items() <= known.items()
    assert {entry.name for entry in profile.nodes} <= fields.keys()
    text = SOURCE[SOURCE.index("TYPE ST_VisionMailbox") : SOURCE.index("END_STRUCT")]
    theirs, ours = text.split("(* The bridge writes these. *)")
    for entry in (*profile.nodes, profile.each):
        assert entry.name in declarations(theirs if entry.writer is Writer.PLC else ours)


@pytest.mark.parametrize("seed", range(6))
def test_the_block_answers_and_decides_as_the_rules_say_whatever_is_sent(seed: int) -> None:
    draw = random.Random(seed)
    belt = Belt(StopAfter=0)
    # The part's 16 bits wrap within the run.
    belt.plc.io.LastTriggered = start = (1 << 16) - 30
    belt.plc.values["NextGate"] = start + 1
    said = []
    for number in range(start + 1, start + 81):
        assert belt.trigger() == number
        for _ in range(draw.randrange(4)):
            slot, behind = draw.randrange(MAIL_SLOTS), draw.choice([0, 0, 1, 2, 3, 5, 80, -1])
            said.append(belt.mail(slot, number - behind, draw.choice([1, 1, 2, 15]), draw.choice([0, 0, 0, 1])))
            if draw.random() < 0.3:
                said.append(belt.word(draw.randrange(MAIL_SLOTS), belt.plc.io.CmdWord[slot]))
            if draw.random() < 0.1:
                said.append(belt.word(slot, draw.getrandbits(32)))
        if number > start + 4:
            assert belt.gate()
    assert set(said) >= {
        TellStatus.ACCEPTED,
        TellStatus.TOO_LATE,
        TellStatus.UNKNOWN_PART,
        TellStatus.ALREADY_TOLD,
        TellStatus.WRONG_EPOCH,
    }
    io = belt.plc.io
    assert io.CntPass + io.CntReject + io.CntSilent == len(belt.gated) == 76
    assert io.CntReject == sum(belt.gated.values())


def test_the_same_mail_again_is_not_acted_on() -> None:
    belt = Belt()
    belt.trigger()
    word = encode_mail(9, belt.plc.io.Epoch, 1, Code.REJECT)
    assert belt.word(3, word) is TellStatus.ACCEPTED
    assert belt.gate()
    assert belt.word(3, word) is TellStatus.ACCEPTED
    assert belt.mail(3, 1, Code.REJECT) is TellStatus.TOO_LATE


def test_a_reject_stands_against_a_pass_and_not_the_other_way_round() -> None:
    belt = Belt()
    belt.trigger()
    assert belt.mail(0, 1, Code.PASS) is TellStatus.ACCEPTED
    assert belt.mail(1, 1, Code.UNSURE) is TellStatus.ACCEPTED
    assert belt.mail(2, 1, Code.PASS) is TellStatus.ALREADY_TOLD
    belt.gate()
    assert belt.gated == {1: True}


def test_silent_parts_pass_are_counted_and_stop_the_line() -> None:
    belt = Belt(StopAfter=3)
    for _ in range(3):
        belt.trigger()
        assert belt.gate()
    io = belt.plc.io
    assert (list(belt.gated.values()), io.CntSilent) == ([False] * 3, 3)
    assert (io.StopRequest, io.Permit, io.LineState) == (True, False, LineState.HALTED)
    belt.cycle(reset=True)
    assert (io.StopRequest, io.Permit, io.LineState) == (False, True, LineState.RUNNING)


def test_a_frozen_bridge_stops_the_line() -> None:
    belt = Belt()
    assert belt.plc.io.Permit
    belt.beating = False
    for _ in range(70):
        belt.cycle()
    assert (belt.plc.values["StopLine"], belt.plc.io.Permit) == (True, False)


def test_a_cleared_lane_begins_an_epoch_in_which_old_mails_are_refused() -> None:
    belt = Belt()
    belt.trigger()
    old = encode_mail(7, belt.plc.io.Epoch, 1, Code.REJECT)
    belt.cycle(clear=True)
    belt.rules = ToldParts(belt.plc.io.Epoch)
    assert (belt.plc.io.Epoch, belt.plc.io.LastTriggered) == (2, 0)
    belt.trigger()
    assert belt.word(0, old) is TellStatus.WRONG_EPOCH
    assert belt.gate()
    assert belt.gated == {1: False}
