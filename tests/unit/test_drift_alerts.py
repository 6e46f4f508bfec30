"""Alerts: raised when it is sure, cleared when it is over, one for a signal and station, and never flapping."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from neverblink.drift.alerts import CLEAR_LEVEL, PATIENCE, AlertBook, Observation, Signal
from neverblink.drift.statistics import StationKey

KEY = StationKey("line-1", "top", "pcb", "sha256:a")
SIGNAL = Signal.PASS_RATIO
TO_RAISE, TO_CLEAR = PATIENCE[SIGNAL].to_raise, PATIENCE[SIGNAL].to_clear


def seen(level: float, moment: float = 0.0, signal: Signal = SIGNAL) -> Observation:
    return Observation(signal, level, 0.5, 0.6, 0.0, moment)


_clock = itertools.count(1)


def stages(book: AlertBook, *levels: float, key: StationKey = KEY) -> list[str]:
    """Take levels one moment after the other."""
    return [done.stage for level in levels for done in book.take(key, seen(level, next(_clock)))]


def test_an_alert_is_raised_after_enough_levels_in_a_row_and_once() -> None:
    book = AlertBook()
    assert stages(book, *[1.2, 0.9] * 10) == []
    assert stages(book, *[1.2] * (TO_RAISE + 50)) == ["raised"]


def test_an_alert_is_cleared_only_after_a_long_calm() -> None:
    book = AlertBook()
    stages(book, *[1.2] * TO_RAISE)
    assert stages(book, *[0.1] * (TO_CLEAR - 1), 0.8, *[0.1] * (TO_CLEAR - 1)) == []
    assert stages(book, 0.1) == ["cleared"]
    assert SIGNAL not in book.open


def test_an_alert_escalates_once_and_is_never_quietly_downgraded() -> None:
    book = AlertBook()
    assert stages(book, 1.2, 1.2, 2.1, 1.2, 2.3) == ["raised", "escalated"]
    assert book.open[SIGNAL].acts


def test_one_known_defect_that_passes_is_enough_to_act() -> None:
    book = AlertBook()
    (done,) = book.take(KEY, seen(2.0, signal=Signal.CHALLENGE_MISSED))
    assert (done.stage, done.alert.acts) == ("raised", True)


def test_a_new_artifact_clears_what_was_open_about_the_old_one() -> None:
    book = AlertBook()
    stages(book, *[1.5] * TO_RAISE)
    newer = KEY._replace(artifact="sha256:b")
    (gone,) = book.swap(newer, next(_clock))
    assert (gone.stage, gone.alert.artifact) == ("cleared", "sha256:a")
    assert "sha256:b" in gone.why
    assert book.swap(newer, next(_clock)) == []
    assert stages(book, *[1.5] * TO_RAISE, key=newer) == ["raised"]
    assert book.open[SIGNAL].artifact == "sha256:b"


def test_a_level_that_comes_again_counts_once() -> None:
    book = AlertBook()
    assert [book.take(KEY, seen(1.5, 7.0)) for _ in range(TO_RAISE + 5)] == [[]] * (TO_RAISE + 5)


def test_another_product_neither_raises_a_second_alert_nor_clears_the_first() -> None:
    book = AlertBook()
    stages(book, *[1.5] * TO_RAISE)
    other = KEY._replace(product="disc")
    assert stages(book, *[1.5] * 10, *[0.0] * 2 * TO_CLEAR, key=other) == []
    assert book.open[SIGNAL].product == "pcb"


@given(st.lists(st.floats(CLEAR_LEVEL + 0.01, 1.9), max_size=300), st.booleans())
def test_a_signal_that_hovers_between_the_limits_changes_at_most_once(levels: list[float], raised: bool) -> None:
    book = AlertBook()
    if raised:
        stages(book, *[1.5] * TO_RAISE)
    assert len(stages(book, *levels)) <= (0 if raised else 1)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 150)), max_size=20), st.integers(0, 19))
def test_raises_and_clears_alternate_with_all_the_patience_between(runs: list[tuple[float, int]], kept: int) -> None:
    book = AlertBook()
    levels = [level for level, times in runs for _ in range(times)]
    last = None
    since = 0
    for number, level in enumerate(levels):
        if number == kept:
            book = AlertBook.from_json(book.to_json())
        since += 1
        for stage in stages(book, level):
            if stage == "escalated":
                continue
            assert stage == ("cleared" if last == "raised" else "raised")
            assert since >= (TO_CLEAR if stage == "cleared" else TO_RAISE)
            last, since = stage, 0
