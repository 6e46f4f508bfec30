"""A PLC program that is not the contract: its line says so in one sentence, and the other line starts."""

import asyncio
import contextlib
from typing import Any

import pytest

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.line_status import LinkState
from neverblink.plant import Line, Plc, SimulatedSource, Station, Timing
from neverblink.plant import PlcTrigger as TriggerSettings
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.simulator import simulated

TIMING = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
Mistake = tuple[dict[str, Any], dict[str, Any], str]
MISTAKES: dict[str, Mistake] = {
    "wrong namespace": ({}, {"namespace_uri": "urn:other"}, "has no namespace 'urn:other'; it has http"),
    "Int16 node": (
        {"types": {"LateCount": "Int16"}},
        {},
        "node s=VisionReject.LateCount (LateCount) is Int16, the contract needs UInt32: change its type",
    ),
    "read-only node": (
        {"read_only": frozenset({"BridgeHb"})},
        {},
        "node s=VisionReject.BridgeHb (BridgeHb) is read-only, and the bridge must write it",
    ),
    "missing slot": (
        {"absent": frozenset({"Verdict[63]"})},
        {},
        "node s=VisionReject.Verdict[63] (Verdict[63]) does not exist (BadNodeIdUnknown)",
    ),
    "odd number of slots": ({"slots": 48}, {}, "(SlotCount) says 48; it must be a power of two from 2 to 4096"),
    "misspelt mapping": (
        {},
        {"nodes": {"BridgeHB": "s=DB.Hb"}},
        "the plant file's plc.nodes maps 'BridgeHB', and the contract has no node of that name",
    ),
    "read-only mail slot": (
        {"profile": "mailbox", "read_only": frozenset({"CmdWord[2]"})},
        {},
        "node s=VisionReject.CmdWord[2] (CmdWord[2]) is read-only, and the bridge must write it",
    ),
    "acknowledgements of the wrong type": (
        {"profile": "mailbox", "types": {"AckWord": "Int32"}},
        {},
        "node s=VisionReject.AckWord (AckWord) is Int32, the contract needs UInt32",
    ),
    "no method": (
        {"profile": "method", "absent": frozenset({"Reject"})},
        {},
        "method s=VisionReject.Reject (Reject) does not exist (BadNodeIdUnknown): declare it",
    ),
    "wrong method signature": (
        {"profile": "method", "types": {"Reject.part": "Int32"}},
        {},
        "is (epoch UInt16, seq UInt32, part Int32, code UInt16) → (status UInt16), the contract needs (epoch",
    ),
    "no object with the method": (
        {"profile": "method"},
        {"method_object": "s=Vision"},
        "the object s=Vision that has the method Reject does not exist (BadNodeIdUnknown): write its node id as",
    ),
    "odd node id": ({}, {"nodes": {"BridgeHb": "ns=3;s=Hb"}}, "'ns=3;s=Hb' is neither s=NAME nor i=NUMBER"),
}


def session_of(name: str, endpoint: str, **plc: Any) -> LineSession:
    security = {"policy": "None", "allow_insecure": True}
    station = Station(
        name="top",
        product="pcb",
        source=SimulatedSource(kind="simulated", drawing="pcb"),
        trigger=TriggerSettings(kind="plc"),
    )
    line = Line(
        name=name,
        timing=TIMING,
        plc=Plc.model_validate({"endpoint": endpoint, "security": security, **plc}),
        stations=(station,),
    )
    return LineSession(line, lambda event, trace: None, instruments())


def profile_of(line: SimulatedLine) -> dict[str, Any]:
    return {"profile": line.profile, "accept_silent_pass": line.profile != "verdict-table"}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_a_wrong_program_is_one_sentence_and_the_other_line_starts(
    mistake: Mistake, caplog: pytest.LogCaptureFixture
) -> None:
    program, mapping, sentence = mistake
    wrong = SimulatedLine("line-2", TIMING, running=False, **program)
    async with simulated(SimulatedLine("line-1", TIMING, running=False), wrong) as (good, bad):
        healthy = session_of("line-1", good.endpoint)
        sick = session_of("line-2", bad.endpoint, **profile_of(wrong), **mapping)
        stop = asyncio.Event()
        running = [asyncio.create_task(session.run(stop)) for session in (sick, healthy)]
        try:
            await asyncio.wait_for(healthy.ready.wait(), 10)
            for _ in range(500):
                if sick.state is LinkState.REFUSED:
                    break
                await asyncio.sleep(0.02)
            assert healthy.state is LinkState.READY
        finally:
            stop.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*running)
    told = [entry for entry in caplog.records if getattr(entry, "fields", {}).get("link") == "refused"]
    assert len(told) == 1
    assert sentence in told[0].getMessage()
    assert "\n" not in told[0].getMessage()
