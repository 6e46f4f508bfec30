"""Where frames wait although their scorer should have answered: from offsets and answers to stalls. Pure.

Instants are seconds of any clock that only goes forward.
"""

from collections.abc import Mapping
from typing import Final

from neverblink.kafka.group_progress import Progress
from neverblink.scorer.standby.answers import Front

LOOK_S: Final = 0.2
"""How often a standby looks: a stall is seen after one to two looks."""

SILENT_S: Final = 0.6
"""Three looks without a move, though something waits: a scorer that does so is taken for dead."""

_BLIND_S: Final = 1.0
"""After a longer pause between looks nobody knows who was silent meanwhile: perhaps it was Kafka, or ourselves."""


class _Watched:
    def __init__(self, committed: int, end: int, now: float) -> None:
        self.committed = committed
        self.end = end
        self.before: int | None = None  # the end at the look before: what lies below it waits for a look or longer
        self.moved_at = now
        self.answered = Front(committed)
        self.by_owner = Front(committed)


class Stalls:
    """What is known of the partitions of others. Whoever owns a partition moves by its answers and its commits.

    A standby's own answers are no sign of life of the one that they stand for.
    """

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._looked_at: float | None = None

    def looked(self, found: Mapping[int, Progress], now: float) -> None:
        """Take a look at all partitions of others; what is missing is nobody's, or ours."""
        blind = self._looked_at is not None and now - self._looked_at > _BLIND_S
        self._looked_at = now
        self._watched = {number: one for number, one in self._watched.items() if number in found}
        for number, (committed, end) in found.items():
            one = self._watched.get(number)
            if one is None or end < one.end:  # a topic that was made anew begins anew
                self._watched[number] = _Watched(committed, end, now)
                continue
            one.before, one.end = (None if blind else one.end), end
            if blind:
                one.moved_at = now
            if committed > one.committed:
                one.committed, one.moved_at = committed, now
                one.answered.begin_at(committed)
                one.by_owner.begin_at(committed)
            if one.by_owner.low >= end:
                one.moved_at = now

    def answered(self, partition: int, offset: int, now: float, *, by_standby: bool) -> None:
        """Take a verdict about the frame that lies there."""
        one = self._watched.get(partition)
        if one is None:
            return
        one.answered.add(offset)
        if not by_standby:
            one.by_owner.add(offset)
            one.moved_at = now

    def silent(self, now: float, *, patience_s: float = SILENT_S) -> dict[int, float]:
        """Return the partitions whose frames wait, and whose owner has given no sign of life for so long.

        Each with the seconds since it was taken for dead.
        """
        return {
            number: now - one.moved_at - patience_s
            for number, one in self._watched.items()
            if one.before is not None and one.by_owner.low < one.before and now - one.moved_at >= patience_s
        }

    def stalled(self) -> dict[int, int]:
        """Return the first offset that is not answered of each partition where one waits for a look or longer."""
        return {
            number: one.answered.low
            for number, one in self._watched.items()
            if one.before is not None and one.answered.low < one.before
        }

    def first_open(self, partition: int) -> int | None:
        """Return the first offset that is not answered, None of a partition that is not watched."""
        one = self._watched.get(partition)
        return None if one is None else one.answered.low
