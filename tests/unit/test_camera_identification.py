"""Whose picture a frame is: the PLC's word, then the line's context, and never a picture that waits for its name."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from camera_line import START, Wire, line_of
from hypothesis import given
from hypothesis import strategies as st

from neverblink.camera.identification import united
from neverblink.camera.line_contexts import LineContexts
from neverblink.camera.picture import Picture, encoded
from neverblink.camera.service import CameraNode
from neverblink.camera.triggers import Trigger
from neverblink.events import Context, Frame, Identity, Tracking
from neverblink.events.context import ContextValues
from neverblink.plant import Kafka, Payload, Storage
from neverblink.plc.identity_reading import IdentityRead, PendingIdentity
from rigs.pictures import numbered

CONTEXT = ContextValues(identity=Identity(order="4711", lot="L42", attributes={"crew": "2"}), product="pcb")


class OnePicture:
    """A source with one picture, shown again and again."""

    def grab(self, number: int, at: datetime) -> Picture:
        return encoded(numbered(1), Payload())

    def close(self) -> None:
        """Nothing is held."""


def node_of(wire: Wire, tmp_path: Path, context: ContextValues | None = None, *, budget_s: float = 60) -> CameraNode:
    line = line_of(budget_s=budget_s)
    return CameraNode(
        line,
        line.stations[0],
        cast(Any, wire),
        Storage(spool=tmp_path / "spool"),
        source=OnePicture(),
        context=lambda _: context,
    )


def reading(identity: Identity | None, *, wait_s: float = 0.05) -> PendingIdentity:
    """What the PLC says; None: it never answers."""

    async def read() -> IdentityRead:
        if identity is None:
            await asyncio.Event().wait()
        return IdentityRead(identity or Identity())

    loop = asyncio.get_running_loop()
    return PendingIdentity(loop.create_task(read()), {"serial": "s=Part.Serial"}, loop.time() + wait_s)


def trigger(pending: PendingIdentity | None = None, **more: Any) -> Trigger:
    return Trigger("line-1/1/7", 7, datetime.now(UTC), Tracking(epoch=1, number=7), reading=pending, **more)


async def taken(node: CameraNode, one: Trigger) -> Frame | None:
    async with asyncio.timeout(20):
        await node.take(one)
    return await node._buffer.get() if len(node._buffer) else None


async def test_a_frame_carries_what_the_plc_says_and_the_context_where_the_plc_is_silent(tmp_path: Path) -> None:
    node = node_of(Wire(), tmp_path, CONTEXT)
    frame = await taken(node, trigger(reading(Identity(serial="SN-7", lot="L43", attributes={"press": "3"}))))
    assert frame is not None
    assert frame.identity == Identity(order="4711", lot="L43", serial="SN-7", attributes={"press": "3", "crew": "2"})


async def test_a_plc_that_never_says_the_name_does_not_hold_the_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node, loop = node_of(Wire(), tmp_path, CONTEXT), asyncio.get_running_loop()
    await taken(node, trigger(reading(CONTEXT.identity)))  # the first picture warms up
    began = loop.time()
    frame = await taken(node, trigger(reading(None, wait_s=0.05)))
    assert frame is not None
    assert frame.identity == CONTEXT.identity
    assert loop.time() - began < 5
    assert "part line-1/1/7 goes without its serial: the PLC has not answered in time" in caplog.text


async def test_a_part_that_has_no_time_left_does_not_wait_for_its_name(tmp_path: Path) -> None:
    node = node_of(Wire(), tmp_path, budget_s=0.001)
    late = Trigger("line-1/1/7", 7, datetime.now(UTC) - timedelta(seconds=1), reading=reading(None, wait_s=3600))
    frame = await taken(node, late)
    assert frame is not None
    assert frame.identity is None


async def test_a_part_without_a_picture_is_told_with_its_name(tmp_path: Path) -> None:
    wire = Wire()
    await taken(node_of(wire, tmp_path, CONTEXT), trigger(missed="nobody looked"))
    (verdict,) = wire.verdicts
    assert verdict.identity == CONTEXT.identity


async def test_a_context_that_names_another_product_is_told_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = CONTEXT.model_copy(update={"product": "gear"})
    frame = await taken(node_of(Wire(), tmp_path, other), trigger())
    assert frame is not None
    assert (frame.product, frame.identity) == ("pcb", CONTEXT.identity)
    assert "the context of line-1 says product gear, and station top inspects pcb" in caplog.text


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=128)
IDENTITIES = st.builds(
    dict,
    order=st.none() | TEXTS,
    lot=st.none() | TEXTS,
    serial=st.none() | TEXTS,
    attributes=st.dictionaries(st.sampled_from([f"a{n}" for n in range(20)]), TEXTS, max_size=16),
).filter(lambda fields: _fits(fields)).map(Identity.model_validate)  # fmt: skip


def _fits(fields: dict[str, Any]) -> bool:
    try:
        Identity.model_validate(fields)
    except ValueError:
        return False
    return True


@given(IDENTITIES, IDENTITIES)
def test_two_sources_together_say_all_that_the_first_says(first: Identity, second: Identity) -> None:
    found, fault = united(first, second)
    for name in ("order", "lot", "serial"):
        said = getattr(first, name)
        assert getattr(found, name) in ({said} if said is not None else {None, getattr(second, name)})
    assert first.attributes.items() <= found.attributes.items()
    if fault is None:
        assert found.attributes == second.attributes | first.attributes


# The context


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def lot(name: str, **since: Any) -> ContextValues:
    return ContextValues(identity=Identity(lot=name), **since)


def context(*entries: ContextValues, line: str = "line-1") -> Context:
    return Context(id="c", line=line, entries=entries, at=START, by="mes")


def lot_of(found: Context, when: datetime, number: int | None = None, epoch: int = 1) -> str | None:
    tracking = None if number is None else Tracking(epoch=epoch, number=number)
    values = found.of_part(when, tracking)
    return None if values is None else values.identity.lot


def test_a_part_has_the_lot_that_held_when_it_was_triggered() -> None:
    shift = context(lot("L1", since=at(0)), lot("L2", since=at(10)))
    assert [lot_of(shift, at(minutes)) for minutes in (-1, 0, 9.99, 10, 99)] == [None, "L1", "L1", "L2", "L2"]


def test_a_part_has_the_lot_that_begins_with_its_number_or_before() -> None:
    shift = context(lot("L1"), lot("L2", from_part=Tracking(epoch=3, number=500)))
    assert lot_of(shift, at(0)) == "L1"
    assert [lot_of(shift, at(0), number, epoch=3) for number in (499, 500, 501)] == ["L1", "L2", "L2"]
    assert [lot_of(shift, at(0), 500, epoch=epoch) for epoch in (2, 4)] == ["L1", "L2"]


def test_nothing_is_known_of_a_line_whose_context_was_deleted_or_written_under_another_key() -> None:
    contexts = LineContexts(Kafka(), ["line-1", "line-2"], client_id="test")
    said = contexts.of("line-1")
    assert said(trigger()) is None
    contexts._take([("line-1", context(CONTEXT)), ("line-2", context(lot("L9"))), ("line-9", None)])
    assert said(trigger()) == CONTEXT
    assert contexts.of("line-2")(trigger()) is None
    contexts._take([("line-1", None)])
    assert said(trigger()) is None
