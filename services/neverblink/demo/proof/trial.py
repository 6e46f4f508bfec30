"""One run of the demonstration of proof: what is prepared, who judges meanwhile, and what comes of it."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

from rich.console import Console

from neverblink.demo.proof.conclusion import conclude, show, true_shares
from neverblink.demo.proof.reviewers import Reviewers
from neverblink.demo.proof.setting import announce, sent_parts, write_proof
from neverblink.demo.stream import Stream
from neverblink.events import Verdict
from neverblink.plant import Plant
from neverblink.service_life import Duty, keeping

_SPARE = timedelta(minutes=10)


class Trial:
    """The parts `streams` of a plant whose file has the section of `setting`; `parts` on each line."""

    def __init__(self, plant: Plant, streams: Sequence[Stream], parts: int, rate_per_s: float) -> None:
        self._plant = plant
        self._streams = streams
        self._longest = timedelta(seconds=parts / rate_per_s) + _SPARE
        self._sent = sent_parts(streams, parts)
        truths = {stream.line: stream.truth for stream in streams}
        self._reviewers = Reviewers(plant, lambda line, number: truths[line](number))

    async def prepare(self) -> None:
        """Write key and reference parts and announce these, before the first part."""
        write_proof(self._plant, self._sent)
        await announce(self._plant, self._sent, self._longest)

    @contextlib.asynccontextmanager
    async def judging(self) -> AsyncIterator[None]:
        """Let the simulated reviewers work meanwhile."""
        async with keeping("demo", Duty("the simulated reviewers", self._reviewers.run)):
            yield

    async def conclude(self, console: Console, verdicts: Mapping[str, Mapping[str, Verdict]]) -> None:
        """Have the rest judged, and print the estimates beside the truth. `verdicts` are each line's, by part."""
        heard = {line: list(by_part.values()) for line, by_part in verdicts.items()}
        parts = sum(map(len, heard.values()))
        truth = true_shares(self._streams, heard)
        found = await conclude(self._plant, self._reviewers, parts, truth, self._sent)
        show(console, found, self._reviewers)
