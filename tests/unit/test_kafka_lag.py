"""How far a reader is behind: what is on its partitions and not taken, and how old the oldest of it is."""

from datetime import UTC, datetime, timedelta

from neverblink.kafka import Record
from neverblink.kafka.lag import LagWatch

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def record(partition: int, offset: int, at_s: float) -> Record:
    return Record("verdicts", partition, offset, NOON + timedelta(seconds=at_s), "line-1", b"", ())


def test_a_reader_that_has_read_nothing_yet_or_taken_everything_is_not_behind() -> None:
    watch = LagWatch()
    assert watch.now({("verdicts", 0): 100}, NOON) == (0, 0.0)
    watch.read([record(0, 98, 0), record(0, 99, 1)])
    watch.taken([record(0, 98, 0), record(0, 99, 1)])
    assert watch.now({("verdicts", 0): 100}, NOON + timedelta(hours=1)) == (0, 0.0)


def test_what_is_in_hand_while_the_database_is_away_counts_as_behind() -> None:
    watch = LagWatch()
    watch.read([record(0, 10, 0), record(0, 11, 1), record(1, 5, 30)])
    behind = watch.now({("verdicts", 0): 20, ("verdicts", 1): 6}, NOON + timedelta(seconds=90))
    assert behind == (11, 90.0)
    assert behind.sentence("kept") == "11 events are not kept yet, the oldest is 90 s old"
    watch.taken([record(0, offset, offset) for offset in range(10, 20)])
    assert watch.now({("verdicts", 0): 20, ("verdicts", 1): 6}, NOON + timedelta(seconds=40)) == (1, 10.0)


def test_a_lag_of_less_than_a_minute_is_not_told() -> None:
    watch = LagWatch()
    watch.read([record(0, 10, 0)])
    assert watch.now({("verdicts", 0): 5000}, NOON + timedelta(seconds=59)).sentence("kept") is None
