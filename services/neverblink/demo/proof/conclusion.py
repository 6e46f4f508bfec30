"""The end of the demonstration of proof: what was estimated beside what is true, and the alarms that were raised."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from neverblink.demo.proof.reviewers import Reviewers
from neverblink.demo.proof.setting import HIDDEN_RATE, HOLDOUT_SHARE, Sent
from neverblink.demo.stream import Stream
from neverblink.events import Decision, Verdict
from neverblink.plant import Plant
from neverblink.records.questions.alarms import KnownAlarm, alarms
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.proof.estimates import Exactness
from neverblink.records.questions.proof.words import figure_lines, left_out_lines, weight_lines
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.reviewing.asking import asking

EXACT = Exactness(shares=0.1, rates=0.02)
"""To so much a figure must be known to be told here. A plant asks for more, and has more parts."""
_SETTLED_WITHIN_S = 90.0
_ALARMS_WITHIN_S = 60.0
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class TrueShares:
    """What is true of the parts that were judged, reference parts left out; None where there was no such part."""

    recall: float | None
    escapes: float | None
    precision: float | None
    false_rejects: float | None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What was estimated, what is true, and what was raised. `figures` are those of a plant that asks for them."""

    proof: Proof
    truth: TrueShares
    alarms: tuple[KnownAlarm, ...]

    def inside(self) -> dict[str, bool]:
        """Return of each figure that is true of some part whether its interval holds the truth."""
        found = {}
        for name in TrueShares.__dataclass_fields__:
            true, estimate = getattr(self.truth, name), getattr(self.proof.estimates, name)
            if true is not None:
                found[name] = estimate.low <= true <= estimate.high
        return found


def true_shares(streams: Iterable[Stream], verdicts: Mapping[str, Iterable[Verdict]]) -> TrueShares:
    """Return what is true of each line's verdicts."""
    cells: Counter[tuple[bool, bool]] = Counter()
    for stream in streams:
        for verdict in verdicts[stream.line]:
            if verdict.decision is not Decision.UNSCORED and not verdict.challenge and verdict.tracking is not None:
                bad = stream.truth(verdict.tracking.number) is not None
                cells[bad, verdict.decision is Decision.REJECT] += 1

    def share(kind: tuple[bool, bool], other: tuple[bool, bool]) -> float | None:
        return cells[kind] / (cells[kind] + cells[other]) if cells[kind] + cells[other] else None

    caught, lost, clean, fine = (True, True), (True, False), (False, True), (False, False)
    return TrueShares(share(caught, lost), share(lost, fine), share(caught, clean), share(clean, fine))


async def conclude(
    plant: Plant, reviewers: Reviewers, parts: int, truth: TrueShares, sent: Sequence[Sent]
) -> Conclusion:
    """Answer what still waits, and return what the records say once they have all; after a while, what they have."""
    loop = asyncio.get_running_loop()
    async with asking(plant.storage.ledger) as records:
        give_up = loop.time() + _SETTLED_WITHIN_S
        while True:
            await reviewers.answer_waiting()
            proof = await records.ask(proof_of, RollupFilter(), EXACT)
            if _is_settled(proof, parts) or loop.time() > give_up:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        expected = {one.reference for one in sent if not one.reference.endswith("-seen")}
        give_up = loop.time() + _ALARMS_WITHIN_S
        while True:
            raised = await records.ask(alarms, [line.name for line in plant.lines])
            if expected <= {one.subject.get("reference") for one in raised} or loop.time() > give_up:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        return Conclusion(proof, truth, tuple(raised))


def _is_settled(proof: Proof, parts: int) -> bool:
    known = proof.parts + sum(one.came for one in proof.references)
    waiting = sum(one.waiting for one in (proof.held_out, proof.unsure_passes, proof.judged_rejects))
    return known >= parts and not waiting


def show(console: Console, found: Conclusion, reviewers: Reviewers) -> None:
    """Print the figures with their intervals beside the truth, and the alarms of reference parts."""
    table = Table(title="what people and holdouts say, and what is true", box=box.SIMPLE_HEAD, title_style="bold")
    for heading in ("figure", "estimate", "95 % interval", "truth", "in it", "of what"):
        table.add_column(heading, justify="left" if heading in ("figure", "of what") else "right")
    inside = found.inside()
    for line in figure_lines(found.proof):
        if line.key not in inside:
            continue
        true = getattr(found.truth, line.key)
        said = line.sample if line.more is None else f"{line.sample}; {line.more}"
        table.add_row(
            line.name, line.figure, line.interval, f"{100 * true:.1f} %", "yes" if inside[line.key] else "NO", said
        )
    console.print(table)
    for sentence in (*weight_lines(found.proof), *left_out_lines(found.proof)):
        console.print(sentence, style="dim")
    console.print(
        f"{HIDDEN_RATE:.0%} of the defects show in no picture, so the model cannot find them;"
        f" {HOLDOUT_SHARE:.0%} of the parts are holdouts; {reviewers.answered} verdicts were judged. A figure is told"
        f" when it is known to ±{100 * EXACT.shares:g} points (recall, precision), ±{100 * EXACT.rates:g} (rates).",
        style="dim",
    )
    for alarm in found.alarms:
        console.print(f"{alarm.kind}: {alarm.what}", style="yellow" if alarm.is_open else "dim")
