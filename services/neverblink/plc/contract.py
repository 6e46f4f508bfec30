"""The three profiles as data: every node, its type, who writes it and what it means.

Validation, the simulator and the documents are made from these tables, so they are the one place to change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag, StrEnum
from typing import Literal

from neverblink.events.actuation import HELD_CODE

ProfileName = Literal["verdict-table", "mailbox", "method"]
DataType = Literal["Boolean", "UInt16", "UInt32"]

CONTRACT_VERSION = 1
GATE_RING = 16
MIN_SLOTS = 2
MAX_SLOTS = 4096  # a part number keeps 20 bits in the word; far fewer parts are ever in flight


class Writer(StrEnum):
    """Which side may write a node; the other side only reads it."""

    PLC = "plc"
    BRIDGE = "bridge"


class Code(IntEnum):
    """The lowest byte of a verdict word. Only `PASS` releases a part; codes from 16 are reject reasons.

    `HELD` is told of the parts of a line that is on hold for maintenance.
    """

    PENDING = 0
    PASS = 1
    REJECT = 2
    UNSURE = 3
    HELD = HELD_CODE


INSPECT = 1
"""The lowest byte of a lane word that sends a part which the gate passes to people's inspection."""


class LineHold(IntEnum):
    """What the PLC says of itself where it has the optional node: any other value is taken for a hold."""

    NONE = 0
    HOLD = 1
    BYPASS = 2


class LineState(IntEnum):
    """What the PLC says about its line."""

    STOPPED = 0
    RUNNING = 1
    FAIL_SAFE = 2
    HALTED = 3


class BridgeState(IntEnum):
    """What the bridge says about itself."""

    DOWN = 0
    STARTING = 1
    READY = 2
    DEGRADED = 3
    STOPPING = 4


class TellStatus(IntEnum):
    """What the PLC's program says to one mail (profile B) or call (profile C)."""

    NONE = 0
    ACCEPTED = 1
    TOO_LATE = 2
    UNKNOWN_PART = 3
    ALREADY_TOLD = 4
    WRONG_EPOCH = 5
    BAD_CODE = 6


class GateCode(IntEnum):
    """What the gate did, in bits 11–8 of a GateRing entry."""

    NONE = 0
    PASSED = 1
    REJECTED = 2
    FAIL_SAFE = 3
    STALE = 4


class Confirm(IntEnum):
    """What the confirm sensor saw, in bits 7–4 of a GateRing entry."""

    PENDING = 0
    SEEN = 1
    FAILED = 2
    NO_SENSOR = 3


class Alarm(IntFlag):
    """Bits of AlarmWord."""

    LATE = 1
    UNKNOWN = 2
    REFUSED_PART = 4
    INCIDENT = 8
    GATE_LOST = 16
    HELD = 32


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the contract; `length` is set for an array."""

    name: str
    type: DataType
    writer: Writer
    about: str
    length: int | None = None


_P, _B = Writer.PLC, Writer.BRIDGE

NODES: tuple[Node, ...] = (
    Node("ContractVersion", "UInt16", _P, f"Always {CONTRACT_VERSION}."),
    Node("Epoch", "UInt16", _P, "One more at every cold start, counter reset or lane clear."),
    Node("LastTriggered", "UInt32", _P, "Number of the newest part, counted by the camera's own trigger."),
    Node("SlotCount", "UInt16", _P, "Verdict slots: a power of two, at least twice the parts in flight."),
    Node("LeadMs", "UInt32", _P, "Milliseconds from trigger to gate at this speed; 0 when standing."),
    Node("LineState", "UInt16", _P, "0 stopped, 1 running, 2 fail-safe (rejects all), 3 halted until reset."),
    Node("Permit", "Boolean", _P, "The line may run: the bridge is alive and ready."),
    Node("StopRequest", "Boolean", _P, "The PLC asks for a stop; latched until a person resets it."),
    Node("PlcHb", "UInt32", _P, "The PLC's heartbeat."),
    Node("GateLastPart", "UInt32", _P, "Number of the part that was last at the gate."),
    Node("GateLastWord", "UInt32", _P, "The word that the gate read for it."),
    Node(
        "GateRing",
        "UInt32",
        _P,
        "What the gate did, at part mod 16: bits 31-12 part mod 2^20, 11-8 action, 7-4 confirm, 3-0 epoch.",
        length=GATE_RING,
    ),
    Node("CntPass", "UInt32", _P, "Parts passed since the epoch began."),
    Node("CntReject", "UInt32", _P, "Parts rejected by a verdict."),
    Node("CntFailsafe", "UInt32", _P, "Parts rejected because there was no verdict or no bridge."),
    Node("CntStale", "UInt32", _P, "Parts rejected because the slot held another part's word."),
    Node("CntConfirmFail", "UInt32", _P, "Parts that the confirm sensor missed, or saw in the wrong place."),
    Node("BridgeHb", "UInt32", _B, "The bridge's heartbeat; frozen means: reject all."),
    Node("BridgeState", "UInt16", _B, "0 down, 1 starting, 2 ready, 3 degraded, 4 stopping."),
    Node("LateCount", "UInt32", _B, "Parts whose verdict was not with the PLC in time."),
    Node("LateLastPart", "UInt32", _B, "Number of the last such part."),
    Node(
        "AlarmWord",
        "UInt16",
        _B,
        "Bits: 1 late, 2 unknown, 4 refused part, 8 incident, 16 gate record lost, 32 held.",
    ),
)

SLOT = Node("Verdict", "UInt32", _B, "One verdict word: bits 31–28 epoch mod 16, 27–8 part mod 2^20, 7–0 code.")

LANE = Node(
    "Lane",
    "UInt32",
    _B,
    "Where a part goes that the gate passes: bits as in Verdict, code 1 to inspection by people, else as always.",
)

MAIL_SLOTS = 8
MAIL = Node("CmdWord", "UInt32", _B, "One mail: bits 31–24 seq, 23–8 part mod 2^16, 7–4 epoch mod 16, 3–0 code.")
ACK = Node(
    "AckWord",
    "UInt32",
    _P,
    "The PLC's answer to each mail: bits 31-4 as in the mail, 3-0 status.",
    length=MAIL_SLOTS,
)
SILENT = Node("CntSilent", "UInt32", _P, "Parts passed because nobody spoke of them.")

HOLD = Node(
    "LineHold",
    "UInt16",
    _P,
    "0 none, 1 on hold for maintenance (all parts are rejected), 2 bypass (the gate passes parts without asking).",
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the PLC's program; arguments are (name, type), in order."""

    name: str
    inputs: tuple[tuple[str, DataType], ...]
    outputs: tuple[tuple[str, DataType], ...]
    about: str

    @property
    def signature(self) -> str:
        """Return it as people write it."""
        return signature(self.inputs, self.outputs)


def signature(inputs: Iterable[tuple[str, str]], outputs: Iterable[tuple[str, str]]) -> str:
    """Return arguments as people write them."""
    takes, gives = (", ".join(f"{name} {kind}" for name, kind in side) for side in (inputs, outputs))
    return f"({takes}) → ({gives})"


REJECT = Method(
    "Reject",
    (("epoch", "UInt16"), ("seq", "UInt32"), ("part", "UInt32"), ("code", "UInt16")),
    (("status", "UInt16"),),
    "Tells one part: code 1 pass, 2 reject, 3 unsure; the same seq again is answered and not acted on.",
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a PLC offers in one profile: `each` is a node for every element, such as a slot.

    `lane` is such a table of as many words, where the plant file says that the PLC has it.
    """

    name: ProfileName
    title: str
    nodes: tuple[Node, ...]
    optional: tuple[Node, ...] = ()
    each: Node | None = None
    lane: Node | None = None
    count: int | None = None
    method: Method | None = None
    silence_passes: bool = False

    def known(self, name: str) -> bool:
        """Return whether the profile has something of that name that a plant file may map."""
        if self.method is not None and name == self.method.name:
            return True
        tables = [table for table in (self.each, self.lane) if table is not None]
        return any(entry.name == name for entry in (*self.nodes, *self.optional)) or any(
            name.startswith(f"{table.name}[") for table in tables
        )


_BY_NAME = {entry.name: entry for entry in (*NODES, ACK, SILENT, HOLD)}


def _told_nodes() -> Iterator[Node]:
    """Yield what profiles B and C need of a program that exists: the least that lets a part be named."""
    for name in ("ContractVersion", "Epoch", "LastTriggered", "LeadMs", "PlcHb"):
        yield _BY_NAME[name]
    yield replace(_BY_NAME["BridgeHb"], about="The bridge's heartbeat; frozen means: stop the line.")
    for name in ("BridgeState", "LateCount", "LateLastPart", "AlarmWord"):
        yield _BY_NAME[name]


_OPTIONAL = tuple(
    _BY_NAME[name]
    for name in (
        "LineState",
        "Permit",
        "StopRequest",
        "GateRing",
        "CntPass",
        "CntReject",
        "CntSilent",
        "CntConfirmFail",
        "LineHold",
    )
)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("verdict-table", "verdict table", NODES, (HOLD,), each=SLOT, lane=LANE),
        Profile(
            "mailbox",
            "mailbox",
            (*_told_nodes(), ACK),
            _OPTIONAL,
            each=MAIL,
            count=MAIL_SLOTS,
            silence_passes=True,
        ),
        Profile("method", "method", tuple(_told_nodes()), _OPTIONAL, method=REJECT, silence_passes=True),
    )
}

TRIGGER_NODES = ("Epoch", "LastTriggered")
"""All that a camera node needs of the table."""


def slot_name(index: int) -> str:
    """Return the contract name of one verdict slot."""
    return element_name(SLOT, index)


def lane_name(index: int) -> str:
    """Return the contract name of one slot's lane word."""
    return element_name(LANE, index)


def mail_name(index: int) -> str:
    """Return the contract name of one mail slot."""
    return element_name(MAIL, index)


def element_name(each: Node, index: int) -> str:
    """Return the contract name of one element that is a node of its own."""
    return f"{each.name}[{index}]"


def element_of(name: str) -> tuple[str, int] | None:
    """Return table and index of an element's contract name, None for a single node."""
    table, bracket, index = name.partition("[")
    return (table, int(index[:-1])) if bracket else None


def node(name: str) -> Node:
    """Return a node of any profile, an element included. Raises KeyError for a name that the contract lacks."""
    found = element_of(name)
    if found is None:
        return _BY_NAME[name]
    return {SLOT.name: SLOT, LANE.name: LANE, MAIL.name: MAIL}[found[0]]
