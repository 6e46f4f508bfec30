"""The end of a demonstration: gate against verdict, verdict against truth."""

from collections import Counter
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
from neverblink.events import Decision, Verdict

_PASSED = "passed"


@dataclass(slots=True)
class Outcome:
    """One line's parts, as the simulated PLC's own log tells them, joined with verdicts and truth."""

    title: str
    parts: int = 0
    agree: int = 0
    without_verdict: int = 0
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
            continue
        outcome.agree += passed == (verdict.decision is Decision.PASS)
        if verdict.ratio is not None:
            scores.append(verdict.ratio)
            truths.append(defect is not None)
    if 0 < sum(truths) < len(truths):
        outcome.auroc = float(roc_auc_score(truths, scores))
    return outcome


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
