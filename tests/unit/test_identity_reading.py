"""What the PLC says of a part: read at its trigger, left out where it is damaged, never waited for too long."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.events import Identity
from neverblink.plant import IdentityNodes
from neverblink.plc.connection import PlcConnection
from neverblink.plc.errors import PlcUnreachableError
from neverblink.plc.identity_reading import MOST_AT_ONCE, IdentityReader, as_text, identity_of, reference_of
from neverblink.plc.trigger import PlcTrigger
from neverblink.plc.trigger.session import heard_at_once

NODES = IdentityNodes.model_validate(
    {"serial": "s=Part.Serial", "lot": "i=7", "attributes": {"press": "s=Part.Press"}, "number": "s=Part.Number"}
)


class Program:
    """A session with a PLC's program, whose answers the test gives."""

    def __init__(self, **values: Any) -> None:
        self.values = {"serial": "SN-9", "lot": "L42", "attributes.press": 3, "number": 9, **values}
        self.epoch, self.last = 1, 9
        self.answers = asyncio.Event()
        self.answers.set()
        self.reads = 0

    def text_id(self, name: str) -> str:
        return f"s={name}"

    async def read_ids(self, ids: Mapping[str, str]) -> dict[str, tuple[Any, str | None]]:
        self.reads += 1
        await self.answers.wait()
        if "lost" in self.values:
            raise PlcUnreachableError("the PLC does not answer a read: no answer in time")
        values = {"Epoch": self.epoch, "LastTriggered": self.last, **self.values}
        return {name: (None, "BadNotReadable") if values[name] is ... else (values[name], None) for name in ids}


def reader(program: Program, **more: object) -> IdentityReader:
    return IdentityReader(cast(PlcConnection, program), NODES.model_copy(update=more))


async def test_all_that_the_plc_says_of_a_part_is_read_in_one_request() -> None:
    program = Program()
    read = await reader(program).ask(1, 9).result(1)
    assert read.identity == Identity(serial="SN-9", lot="L42", attributes={"press": "3"})
    assert (read.faults, program.reads) == ({}, 1)


async def test_a_node_that_cannot_be_read_leaves_out_its_own_field_alone() -> None:
    read = await reader(Program(serial=..., lot="x" * 200)).ask(1, 9).result(1)
    assert read.identity == Identity(attributes={"press": "3"})
    assert read.faults["serial"] == "the node cannot be read (BadNotReadable)"
    assert "at most 128" in read.faults["lot"]
    assert read.faults.keys() == {"serial", "lot"}


async def test_a_part_never_gets_the_name_of_another() -> None:
    program = Program()
    program.last = 10
    read = await reader(program).ask(1, 9).result(1)
    assert not read.identity
    assert read.faults["serial"] == "by the time of the read the PLC was at part 10 of epoch 1"
    read = await reader(Program(number=8)).ask(1, 9).result(1)
    assert not read.identity
    assert read.faults["serial"] == "the values were those of part 8"


async def test_a_plc_that_does_not_answer_is_waited_for_no_longer_than_the_plant_file_says() -> None:
    program, loop = Program(), asyncio.get_running_loop()
    program.answers.clear()
    asking = reader(program, wait_ms=30.0)
    pending = [asking.ask(1, number) for number in range(3)]
    began = loop.time()
    read = [await one.result(60) for one in pending]
    # All three are due at the same instant: one behind the other they do not add up.
    assert loop.time() - began < 1
    assert {one.faults["serial"] for one in read} == {"the PLC has not answered in time"}
    assert (await asking.ask(1, 9).result(0)).faults["serial"] == "the PLC has not answered in time"
    await asking.close()
    assert (await pending[0].result(1)).faults["serial"] == "the session with the PLC has ended"


async def test_a_plc_that_has_stopped_answering_is_not_asked_without_end() -> None:
    program = Program()
    program.answers.clear()
    asking = reader(program)
    pending = [asking.ask(1, 9) for _ in range(3 * MOST_AT_ONCE)]
    await asyncio.sleep(0)
    assert program.reads == MOST_AT_ONCE
    assert "have not been answered yet" in (await pending[-1].result(1)).faults["serial"]
    await asking.close()


async def test_a_session_that_breaks_leaves_the_part_without_a_name_and_says_why() -> None:
    read = await reader(Program(lost=True)).ask(1, 9).result(1)
    assert (read.identity, read.faults["lot"]) == (Identity(), "the PLC does not answer a read: no answer in time")


async def heard(*numbers: int, broken: bool = False, ended: list[str]) -> AsyncGenerator[PlcTrigger | None, None]:
    """A session of the PLC in which these parts come at once; then nothing more, or it breaks."""
    try:
        yield None
        for number in numbers:
            yield PlcTrigger(1, number, datetime.now(UTC), missed=number == 0)
        if broken:
            raise PlcUnreachableError("the cable is pulled")
        await asyncio.Event().wait()
    finally:
        ended.append("session")


async def nothing_is_wrong() -> None:
    await asyncio.Event().wait()


async def test_the_plc_is_asked_of_a_part_at_its_trigger_however_long_the_part_before_takes() -> None:
    program, ended = Program(), list[str]()
    asking = reader(program)
    await asking.check()
    found = heard_at_once(heard(0, 7, 8, 9, ended=ended), nothing_is_wrong(), asking)
    async with asyncio.timeout(20), contextlib.aclosing(found) as triggers:
        assert await anext(triggers) is None
        first = await anext(triggers)
        assert first is not None
        assert (first.missed, first.identity) == (True, None)
        while program.reads < 4:  # noqa: ASYNC110 - one when it begins, and one for each part that nobody takes yet
            await asyncio.sleep(0.001)
        taken = [await anext(triggers) for _ in range(3)]
    assert [one.number for one in taken if one is not None and one.identity is not None] == [7, 8, 9]
    assert ended == ["session"]


async def test_a_session_that_breaks_is_told_after_the_parts_that_came_before() -> None:
    ended, taken = list[str](), list[PlcTrigger | None]()

    async def take() -> None:
        async for trigger in heard_at_once(
            heard(8, 9, broken=True, ended=ended), nothing_is_wrong(), reader(Program())
        ):
            taken.append(trigger)

    with pytest.raises(PlcUnreachableError, match="the cable is pulled"):
        await take()
    assert [None if one is None else one.number for one in taken] == [None, 8, 9]
    assert ended == ["session"]


def test_texts_of_a_plc_are_read_as_people_write_them() -> None:
    assert [as_text(value) for value in (" L42\0\0\0", b"L42\0x", [76, 52, 50, 0], 42, 1.5, True)] == [
        "L42", "L42", "L42", "42", "1.5", "true",
    ]  # fmt: skip


VALUES = st.one_of(
    st.none(), st.text(max_size=300), st.binary(max_size=300), st.integers(), st.floats(), st.booleans(),
    st.lists(st.integers(-5, 300), max_size=20), st.dates(),
)  # fmt: skip
FIELDS = st.sampled_from(["order", "lot", "serial", "recipe", "carrier", *(f"attributes.a{n}" for n in range(16))])


@given(st.dictionaries(FIELDS, st.tuples(VALUES, st.none() | st.just("BadNotReadable"))))
def test_whatever_the_nodes_hold_a_field_is_said_or_empty_or_told_as_a_fault(
    found: dict[str, tuple[Any, str | None]],
) -> None:
    read = identity_of(found)
    said = {name for name in found if _said(read.identity, name)}
    assert not said & read.faults.keys()
    for name in found.keys() - said - read.faults.keys():
        value, status = found[name]
        assert status is None
        assert value is None or as_text(value) == ""
    assert len(read.identity.as_json()) <= 2048


def _said(identity: Identity, name: str) -> bool:
    if name.startswith("attributes."):
        return name.removeprefix("attributes.") in identity.attributes
    return getattr(identity, name) is not None


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [
        ("scratch-07", None, "scratch-07"),
        (b"scratch-07\0\0\0", None, "scratch-07"),
        (17, None, "17"),
        ("", None, None),
        (0, None, None),
        (None, None, None),
    ],
    ids=["text", "zero bytes behind it", "number", "empty", "zero", "nothing"],
)
def test_the_plc_says_which_reference_part_a_part_is(value: Any, status: str | None, said: str | None) -> None:
    assert reference_of(value, status) == (said, None)


@pytest.mark.parametrize(
    ("value", "status", "why"),
    [
        ("a\nb", None, "cannot be used"),
        ("x" * 65, None, "cannot be used"),
        ({"a": 1}, None, "neither text nor a number"),
        (None, "BadNodeIdUnknown", "cannot be read"),
    ],
)
def test_what_names_no_reference_part_is_left_out_with_its_reason(value: Any, status: str | None, why: str) -> None:
    found, fault = reference_of(value, status)
    assert found is None
    assert fault is not None
    assert why in fault
