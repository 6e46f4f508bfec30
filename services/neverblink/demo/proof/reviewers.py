"""Simulated reviewers: they take what waits as people do, at the same desk, and answer from the truth."""

import asyncio
from collections.abc import Callable

from neverblink.events import Judgement
from neverblink.plant import Plant
from neverblink.records.database import LedgerAbsent
from neverblink.records.questions.review_queue import Judged
from neverblink.reviewing import Answer, Desk
from neverblink.reviewing.desk import Where

_EVERY_S = 2.0
_AT_ONCE = 200


class Reviewers:
    """Answers whatever waits. `truth` says a part's defect by line and number, None for a good part."""

    def __init__(self, plant: Plant, truth: Callable[[str, int], str | None]) -> None:
        self._desk = Desk(plant, "simulated reviewer")
        self._truth = truth
        self._answered: set[str] = set()

    @property
    def answered(self) -> int:
        """Return how many verdicts were answered."""
        return len(self._answered)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.answer_waiting()
            await asyncio.sleep(_EVERY_S)

    async def answer_waiting(self) -> int:
        """Answer what waits now, a page of it; return how many that were."""
        try:
            page, _ = await self._desk.waiting(Where(), _AT_ONCE)
        except LedgerAbsent:
            return 0
        # The ledger may not know yet what was answered a moment ago.
        waiting = [row.judged for row in page.rows if row.judged.verdict not in self._answered]
        if waiting:
            await self._desk.answer([self._answer(one) for one in waiting])
            self._answered.update(one.verdict for one in waiting)
        return len(waiting)

    def _answer(self, judged: Judged) -> Answer:
        defect = self._truth(judged.line, int(judged.part.rpartition("/")[2]))
        if defect is None:
            return Answer(judged.verdict, Judgement.NORMAL)
        return Answer(judged.verdict, Judgement.DEFECT, defect)
