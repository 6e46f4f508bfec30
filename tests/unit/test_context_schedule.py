"""What is on a line: said for now, for an instant, for a part; what was scheduled stays unless it is told."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.events import Context, Tracking
from neverblink.events.context_schedule import Changed, ContextError, Wish, changed

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def said(
    before: Context | None,
    minutes: float,
    /,
    *,
    since: float | None = None,
    part: int | None = None,
    anew: bool = False,
    **fields: str,
) -> Changed:
    wish = Wish(
        fields,
        {},
        None if since is None else at(since),
        None if part is None else Tracking(epoch=3, number=part),
        anew,
    )
    return changed(before, "line-1", wish, at=at(minutes), by="mes")


def lots(context: Context, *minutes: float, part: int | None = None) -> list[str | None]:
    tracking = None if part is None else Tracking(epoch=3, number=part)
    found = [context.of_part(at(one), tracking) for one in minutes]
    return [None if values is None else values.identity.lot for values in found]


def test_what_is_not_named_stays_and_an_empty_text_takes_it_away() -> None:
    first = said(None, 0, order="4711", lot="L1", product="pcb").context
    second = said(first, 10, lot="L2").context
    values = second.of_part(at(11), None)
    assert values is not None
    assert (values.identity.order, values.identity.lot, values.product) == ("4711", "L2", "pcb")
    third = said(second, 20, order="", product="").context.of_part(at(21), None)
    assert third is not None
    assert (third.identity.order, third.identity.lot, third.product) == (None, "L2", None)


def test_a_change_for_now_leaves_what_is_scheduled_for_later() -> None:
    first = said(None, 0, lot="L1").context
    second = said(first, 1, lot="L3", since=60).context
    third = said(second, 2, lot="L2").context
    assert lots(third, 2, 59, 60, 61) == ["L2", "L2", "L3", "L3"]


def test_a_part_in_flight_keeps_the_lot_of_its_trigger() -> None:
    second = said(said(None, 0, lot="L1").context, 10, lot="L2").context
    assert lots(second, 9.99, 10) == ["L1", "L2"]


def test_values_from_a_part_on_wait_for_that_part() -> None:
    second = said(said(None, 0, lot="L1").context, 1, lot="L2", part=500).context
    assert lots(second, 5, part=499) == ["L1"]
    assert lots(second, 5, part=500) == ["L2"]


def test_nobody_is_left_guessing_whether_a_scheduled_part_has_come() -> None:
    waiting = said(said(None, 0, lot="L1").context, 1, lot="L2", part=500).context
    with pytest.raises(ContextError, match="scheduled from part 3/500 on, and whether that part has come"):
        said(waiting, 2, lot="L3")
    anew = said(waiting, 2, lot="L3", anew=True)
    assert [values.identity.lot for values in anew.dropped] == ["L2"]
    assert lots(anew.context, 5, part=501) == ["L3"]


def test_to_begin_anew_drops_what_is_scheduled_and_says_so() -> None:
    waiting = said(said(None, 0, lot="L1").context, 1, lot="L2", since=60).context
    anew = said(waiting, 2, anew=True)
    assert [values.identity.lot for values in anew.dropped] == ["L2"]
    assert lots(anew.context, 3, 61) == [None, None]


def test_the_past_is_not_rewritten() -> None:
    with pytest.raises(ContextError, match="has passed, and parts keep what they were given"):
        said(None, 10, lot="L1", since=9)


def test_what_does_not_fit_is_a_sentence() -> None:
    with pytest.raises(ContextError, match=r"cannot be so: lot: String should have at most 128"):
        said(None, 0, lot="x" * 129)
    full = None
    for hour in range(32):
        full = said(full, 0, lot=f"L{hour}", since=60 * (hour + 1)).context
    with pytest.raises(ContextError, match="line-1 has 32 values scheduled"):
        said(full, 0, lot="one more", since=60 * 40)


CHANGES = st.lists(
    st.tuples(st.integers(1, 30), st.none() | st.integers(0, 60), st.booleans()), min_size=1, max_size=15
)


@given(CHANGES)
def test_at_any_later_instant_that_holds_which_was_said_to_begin_last(
    changes: list[tuple[int, int | None, bool]],
) -> None:
    """Minutes until a change, minutes ahead that it is scheduled, and whether it begins anew."""
    context, model, now = None, dict[int, str](), 0
    for number, (pause, ahead, anew) in enumerate(changes):
        now += pause
        begins = now + (ahead or 0)
        scheduled = None if ahead is None else begins
        context = said(context, now, lot=f"L{number}", since=scheduled, anew=anew).context
        if anew and begins == now:
            model = {begin: lot for begin, lot in model.items() if begin <= now}
        model[begins] = f"L{number}"
    assert context is not None
    for later in range(now, now + 70):
        begun = [begin for begin in model if begin <= later]
        assert lots(context, later) == [model[max(begun)] if begun else None]
