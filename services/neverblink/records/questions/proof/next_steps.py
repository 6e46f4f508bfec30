"""What to do next about a line, from its figures: the most urgent first, each with why."""

from collections.abc import Iterator

from neverblink.records.questions.proof.answer import Proof
from neverblink.records.questions.proof.changes import Change
from neverblink.records.questions.proof.shift_chart import ShiftChart
from neverblink.records.questions.proof.words import between, whole

MOST = 7
WAITING = 0.1
"""From this share without an answer on, people are asked to answer before the figures are believed."""


def next_steps(
    line: str, proof: Proof, before: Proof, chart: ShiftChart, changes: tuple[Change, ...]
) -> tuple[str, ...]:
    """Return at most seven sentences; none where nothing is to do."""
    found = [
        *_open(changes),
        *_moved(proof, before),
        *_missed(proof, changes),
        *_waiting(line, proof),
        *_unsteady(chart),
    ]
    found += [*_good_ones(proof), *_unknown(proof)]
    return tuple(dict.fromkeys(found))[:MOST]


def _open(changes: tuple[Change, ...]) -> Iterator[str]:
    for one in changes:
        if one.next_step is not None:
            yield f"{one.what[:1].upper()}{one.what[1:]}: {one.next_step}"


def _moved(proof: Proof, before: Proof) -> Iterator[str]:
    for name, words, better in (("recall", "Recall", 1), ("escapes", "The escape rate", -1)):
        now, then = getattr(proof.estimates, name), getattr(before.estimates, name)
        if not (now.sample and then.sample):
            continue
        worse = now.high < then.low if better == 1 else now.low > then.high
        if worse:
            yield (
                f"{words} got worse: {between(now.low, now.high)} after {between(then.low, then.high)}. Look at the"
                " escapes of the week, and at what changed before them."
            )


def _missed(proof: Proof, changes: tuple[Change, ...]) -> Iterator[str]:
    told = [one.what for one in changes if one.next_step is not None]
    missed = [one for one in proof.references if one.passed and not any(one.reference in what for what in told)]
    if missed:
        names = ", ".join(one.reference or "without a name" for one in missed[:4])
        yield f"Reference parts passed: {names}. If they are defective ones, stop and find out why."


def _waiting(line: str, proof: Proof) -> Iterator[str]:
    for drawn, words in ((proof.held_out, "held-out parts"), (proof.judged_rejects, "rejects")):
        if drawn.drawn and drawn.waiting >= max(1, WAITING * drawn.drawn):
            yield (
                f"Judge the {whole(drawn.waiting)} {words} that wait (of {whole(drawn.drawn)}):"
                f" `neverblink review list --line {line}`"
            )


def _unsteady(chart: ShiftChart) -> Iterator[str]:
    outside = [one for one in chart.points if one.outside]
    if outside:
        worst = max(outside, key=lambda one: abs(one.share - (chart.centre or 0)))
        yield (
            f"{len(outside)} of {len(chart.points)} shifts are outside their limits, the farthest"
            f" {worst.shift or 'that'} of {worst.begins:%Y-%m-%d}: {whole(worst.rejected)} of {whole(worst.parts)}"
            " rejected. Look at what changed then."
        )


def _good_ones(proof: Proof) -> Iterator[str]:
    precision = proof.estimates.precision
    if precision.value is not None and precision.high < 0.5:
        yield (
            f"Most rejects are good parts (precision {between(precision.low, precision.high)}): teach the model with"
            " them, `neverblink retrain`."
        )


def _unknown(proof: Proof) -> Iterator[str]:
    recall, share = proof.estimates.recall, proof.held_out.share
    if recall.value is None and recall.more:
        held = proof.held_out.answered
        needed = (
            f": `proof.holdouts.share: {min(1.0, share * (held + recall.more) / held):.2g}`" if share and held else ""
        )
        raised = f", or draw more of them{needed}" if needed else ""
        yield (
            f"Recall is not known to ±{100 * recall.within:g} points: {whole(recall.more)} more held-out passed parts."
            f" Look at a longer period{raised}."
        )
