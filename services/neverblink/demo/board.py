"""The live board: what every line does now, from the same topics that everybody else reads."""

from collections import Counter
from dataclasses import dataclass, field

from rich import box
from rich.table import Table
from rich.text import Text

from neverblink.events import (
    Actuation,
    Decision,
    DriftReport,
    DriftState,
    EventError,
    GateAction,
    Reason,
    Verdict,
)
from neverblink.kafka import Record

_DRIFT_COLOURS = {
    DriftState.LEARNING: "dim",
    DriftState.STEADY: "green",
    DriftState.WATCH: "yellow",
    DriftState.ACT: "red",
}


@dataclass(slots=True)
class LineState:
    """What has been seen of one line. A verdict id counts once, however often it arrives."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    gate: Counter[GateAction] = field(default_factory=Counter)
    told_ms: list[float] = field(default_factory=list)
    slack_ms: list[float] = field(default_factory=list)
    drift: DriftState = DriftState.LEARNING
    incidents: int = 0
    _seen: set[str] = field(default_factory=set)

    def take(self, record: Record) -> None:
        """Count one record of the topics verdicts, actuations and drift; what is no event is left out."""
        try:
            event, _ = record.read(Verdict, Actuation, DriftReport)
        except EventError:
            return
        if event.id in self._seen:
            return
        self._seen.add(event.id)
        if isinstance(event, Verdict):
            self.verdicts[event.part] = event
        elif isinstance(event, DriftReport):
            self.drift = event.state
        elif isinstance(event, Actuation):
            self.incidents += event.incident
            if event.gate is not None:
                self.gate[event.gate] += 1
            if event.trigger_to_told_ms is not None:
                self.told_ms.append(event.trigger_to_told_ms)
            if event.slack_ms is not None:
                self.slack_ms.append(event.slack_ms)

    def decided(self, decision: Decision) -> int:
        """Return how many parts have this decision."""
        return sum(verdict.decision is decision for verdict in self.verdicts.values())

    @property
    def late(self) -> int:
        """Return how many verdicts came after their deadline."""
        return sum(verdict.late or verdict.reason == Reason.LATE for verdict in self.verdicts.values())


class Board:
    """All lines, drawn as one table."""

    def __init__(self, titles: dict[str, str]) -> None:
        self._titles = titles
        self.lines = {name: LineState() for name in titles}

    def take(self, record: Record) -> None:
        """Count one record for its line."""
        state = self.lines.get(record.key)
        if state is not None:
            state.take(record)

    @property
    def first_verdict(self) -> Verdict | None:
        """Return the verdict that was emitted first."""
        found = [verdict for state in self.lines.values() for verdict in state.verdicts.values()]
        return min(found, key=lambda verdict: verdict.occurred, default=None)

    def table(self, note: str = "") -> Table:
        """Return the board as it stands."""
        table = Table(title="neverblink", caption=note, box=box.SIMPLE_HEAD, title_style="bold", expand=False)
        table.add_column("line")
        table.add_column("product")
        for heading in ("parts", "pass", "reject", "unscored", "late", "gate ✓", "gate ✗", "fail-safe"):
            table.add_column(heading, justify="right")
        for heading in ("told p50", "p99", "slack min"):
            table.add_column(heading, justify="right")
        table.add_column("drift")
        for name, state in self.lines.items():
            unscored, fail_safe = state.decided(Decision.UNSCORED), _fail_safe(state)
            table.add_row(
                name,
                self._titles[name],
                str(len(state.verdicts)),
                str(state.decided(Decision.PASS)),
                str(state.decided(Decision.REJECT)),
                Text(str(unscored), "yellow" if unscored else ""),
                Text(str(state.late), "red" if state.late else ""),
                str(state.gate[GateAction.PASSED]),
                str(state.gate[GateAction.REJECTED]),
                Text(str(fail_safe), "red" if fail_safe else ""),
                _ms(quantile(state.told_ms, 0.5)),
                _ms(quantile(state.told_ms, 0.99)),
                _ms(min(state.slack_ms, default=None)),
                Text(state.drift, _DRIFT_COLOURS[state.drift]),
            )
        return table

    def line_of_text(self) -> str:
        """Return the board in one line, for where nobody watches a terminal."""
        return "; ".join(
            f"{name}: {len(state.verdicts)} parts, {state.decided(Decision.PASS)} pass, "
            f"{state.decided(Decision.REJECT)} reject, {state.decided(Decision.UNSCORED)} unscored, "
            f"told p99 {_ms(quantile(state.told_ms, 0.99))}, drift {state.drift}"
            for name, state in self.lines.items()
        )


def quantile(values: list[float], share: float) -> float | None:
    """Return the value below which `share` of the values lie (nearest rank), None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _fail_safe(state: LineState) -> int:
    return sum(state.gate[action] for action in (GateAction.FAIL_SAFE, GateAction.STALE, GateAction.CONFIRM_FAIL))


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
