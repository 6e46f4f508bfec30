"""The end of a demonstration: gate against verdict, verdict against truth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from neverblink.demo.board import LineState, quantile
from neverblink.demo.stream import Stream
from neverblink.events import Decision, GateAction, Verdict
from neverblink.plc.contract import Code

_PASSED = GateAction.PASSED.value
_FAIL_SAFE = (GateAction.FAIL_SAFE.value, GateAction.STALE.value)

MOST_FAIL_SAFE = 0.05
"""So large a share of the parts may be rejected by the PLC itself: a machine that is busy is late now and then."""


@dataclass(slots=True)
class Outcome:
    """One line's parts, as the simulated PLC's own log tells them, joined with verdicts and truth.

    Where gate and verdict differ: `let_by` passed what was rejected, not scored, or has no verdict; `fail_safe` counts
    by reason the good parts that the PLC rejected by itself, `lost` those that it rejected though it was told to pass.
    """

    title: str
    parts: int = 0
    agree: int = 0
    without_verdict: int = 0
    let_by: int = 0
    lost: int = 0
    fail_safe: Counter[str] = field(default_factory=Counter)
    confusion: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    auroc: float | None = None

    @property
    def recall(self) -> float | None:
        """Share of defective parts that the gate rejected."""
        return _share(self.confusion[True, True], self.confusion[True, False])

    @property
    def false_reject(self) -> float | None:
        """Share of good parts that the gate rejected."""
        return _share(self.confusion[False, True], self.confusion[False, False])


@dataclass(frozen=True, slots=True)
class Ending:
    """What all lines come to, in sentences, and whether a plant may work so."""

    sentences: tuple[str, ...]
    good: bool


def ending_of(outcomes: Sequence[Outcome], incidents: int) -> Ending:
    """Return how the demonstration ended; `incidents` is how often the bridge saw a gate pass what was not to pass.

    A fail-safe part is thrown away though it was good: safe, and no fault below MOST_FAIL_SAFE of all parts.
    """
    parts, agree, missing, let_by, lost = (
        sum(getattr(one, name) for one in outcomes) for name in ("parts", "agree", "without_verdict", "let_by", "lost")
    )
    reasons = sum((one.fail_safe for one in outcomes), Counter[str]())
    most = MOST_FAIL_SAFE * parts
    sentences = [f"gate decisions equal to the verdicts: {agree} of {parts}; parts without verdict: {missing}"]
    if let_by or incidents:
        sentences.append(f"passed by a gate although they were not to pass: {max(let_by, incidents)}")
    if lost:
        sentences.append(f"rejected by a gate although it was told to pass them: {lost}")
    if reasons:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        allowed = "at most" if reasons.total() <= most else "more than the"
        sentences.append(
            f"fail-safe, good parts that the PLC rejected by itself: {reasons.total()} of {parts} ({why});"
            f" {allowed} {MOST_FAIL_SAFE:.0%} that a busy machine may cost"
        )
    good = parts > 0 and not (missing or let_by or lost or incidents) and reasons.total() <= most
    return Ending(tuple(sentences), good)


def gate_entries(path: Path) -> list[dict[str, object]]:
    """Read the simulated PLC's log: one entry per part at a gate."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def outcome_of(stream: Stream, entries: list[dict[str, object]], state: LineState) -> Outcome:
    """Join one line's gate log with its verdicts and the truth."""
    outcome = Outcome(stream.title)
    scores: list[float] = []
    truths: list[bool] = []
    for entry in entries:
        if entry["line"] != stream.line:
            continue
        number = int(str(entry["number"]))
        defect = stream.truth(number)
        passed = entry["action"] == _PASSED
        verdict = state.verdicts.get(f"{stream.line}/{entry['epoch']}/{number}")
        outcome.parts += 1
        outcome.confusion[defect is not None, not passed] += 1
        if defect is not None:
            outcome.defects[defect] += 1
            outcome.missed[defect] += passed
        if verdict is None:
            outcome.without_verdict += 1
            outcome.let_by += passed
            continue
        told = verdict.decision is Decision.PASS
        outcome.agree += passed == told
        outcome.let_by += passed and not told
        if told and entry["action"] in _FAIL_SAFE:
            outcome.fail_safe[_reason(entry)] += 1
        elif told and not passed:
            outcome.lost += 1
        if verdict.ratio is not None:
            scores.append(verdict.ratio)
            truths.append(defect is not None)
    if 0 < sum(truths) < len(truths):
        outcome.auroc = float(roc_auc_score(truths, scores))
    return outcome


def _reason(entry: dict[str, object]) -> str:
    """Return why a PLC rejected a part by itself."""
    if entry["action"] == GateAction.STALE.value:
        return "word of another part"
    return "no word in time" if entry["code"] == Code.PENDING else "no sign of life from the bridge"


def show(console: Console, outcomes: list[Outcome]) -> None:
    """Print the confusion at each gate, with image AUROC, recall and false-reject rate."""
    table = Table(title="at the gate, against the truth", box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column("stream")
    for heading in (
        "parts", "gate = verdict", "no verdict", "defect ✗", "defect ✓", "good ✗", "good ✓",
        "recall", "false reject", "image AUROC",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.title,
            str(outcome.parts),
            f"{outcome.agree} of {outcome.parts}",
            str(outcome.without_verdict),
            *(str(outcome.confusion[key]) for key in ((True, True), (True, False), (False, True), (False, False))),
            _rate(outcome.recall),
            _rate(outcome.false_reject),
            _rate(outcome.auroc),
        )
    console.print(table)
    console.print("✗ rejected, ✓ passed. Columns 'defect' and 'good' are the truth.", style="dim")
    for outcome in outcomes:
        escaped = {name: count for name, count in outcome.missed.items() if count}
        if escaped:
            words = ", ".join(f"{name} {count} of {outcome.defects[name]}" for name, count in escaped.items())
            console.print(f"{outcome.title}: escaped {words}", style="dim")


def latency_of_stages(verdicts: list[Verdict]) -> dict[str, float | None]:
    """Return the median milliseconds of each stage from capture to emission."""
    names = ("captured", "published", "received", "batched", "scored", "emitted")
    medians: dict[str, float | None] = {}
    for earlier, later in pairwise(names):
        spans = [
            (after - before).total_seconds() * 1000
            for verdict in verdicts
            if (before := getattr(verdict.times, earlier)) and (after := getattr(verdict.times, later))
        ]
        medians[f"{earlier} → {later}"] = quantile(spans, 0.5)
    return medians


def _share(hits: int, others: int) -> float | None:
    return hits / (hits + others) if hits + others else None


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
