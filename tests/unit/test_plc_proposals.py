"""What `bridge browse` proposes, from the names and ids of the nodes that a PLC shows."""

import pytest

from neverblink.plc.contract import MAIL_SLOTS, PROFILES
from neverblink.plc.proposals import SeenNode, proposals

TABLE = PROFILES["verdict-table"]
SIEMENS = "http://www.siemens.com/simatic-s7-opcua"


def program(node: str, slot: str, *, uri: str = SIEMENS, slots: int = 4, absent: str = "") -> list[SeenNode]:
    names = [entry.name for entry in TABLE.nodes if entry.name != absent]
    seen = [SeenNode(uri, node.replace("{name}", name), "s=DB", name) for name in names]
    return seen + [
        SeenNode(uri, slot.replace("{index}", str(index)), "s=DB.Verdict", f"[{index}]") for index in range(slots)
    ]


@pytest.mark.parametrize(
    ("node", "slot"),
    [
        ('s="VisionReject"."{name}"', 's="VisionReject"."Verdict"[{index}]'),
        ("s=GVL.VisionReject.{name}", "s=GVL.VisionReject.Verdict[{index}]"),
        ("s=|var|PLC.Application.GVL.Line1.{name}", "s=|var|PLC.Application.GVL.Line1.Verdict_{index}"),
    ],
)
def test_the_patterns_of_the_guide_are_found(node: str, slot: str) -> None:
    (found,) = proposals([*program(node, slot), SeenNode(SIEMENS, "s=Motor.Epoch", "s=Motor", "Epoch")], TABLE)
    assert (found.namespace_uri, found.node, found.slots, found.missing) == (SIEMENS, node, 4, ())
    assert found.slot_node == slot.replace("Verdict", "{name}")


def test_two_lines_in_one_plc_are_two_proposals_each_with_its_own_slots() -> None:
    both = [*program("s=L1.{name}", "s=L1.Verdict[{index}]"), *program("s=L2.{name}", "s=L2.Verdict[{index}]")]
    assert [(one.node, one.slot_node) for one in proposals(both, TABLE)] == [
        ("s=L1.{name}", "s=L1.{name}[{index}]"),
        ("s=L2.{name}", "s=L2.{name}[{index}]"),
    ]


def test_what_is_not_there_is_named_and_an_array_as_a_whole_is_no_slot() -> None:
    (found,) = proposals(program("s=L1.{name}", "s=L1.Verdict[{index}]", slots=0, absent="Permit"), TABLE)
    assert found.slot_node is None
    assert found.missing == ("Permit", "Verdict[0], Verdict[1] …, each a node of its own")


def test_numbers_have_no_pattern_and_are_mapped_one_by_one() -> None:
    mailbox = PROFILES["mailbox"]
    names = [entry.name for entry in mailbox.nodes] + [f"CmdWord[{index}]" for index in range(MAIL_SLOTS)]
    seen = [SeenNode("urn:plc", f"i={1000 + number}", "i=900", name) for number, name in enumerate(names)]
    (found,) = proposals(seen, mailbox)
    assert (found.node, found.slot_node, found.slots, found.missing) == (None, None, MAIL_SLOTS, ())
    assert found.nodes == {name: f"i={1000 + number}" for number, name in enumerate(names)}


def test_a_server_of_something_else_gives_no_proposal() -> None:
    assert proposals([SeenNode("urn:x", "s=Motor.Speed", "s=Motor", "Speed")], TABLE) == []
