"""Did the gates do to every part what they should, and does every part have its outcome? Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neverblink.events import Actuation, Decision, Outcome
from neverblink.plc.contract import Code
from neverblink.records.database import Database
from neverblink.records.questions.ledger_figures import gate_agreement
from rigs.plc_faults import Fault
from rigs.plc_floor import Part, Scanned, part_of

BEFORE_S, AFTER_S = 1.2, 3.0
"""So long before and after a fault a part of that line may suffer: its way to the gate, reconnect and restart."""

UNSAFE = ("fail-safe", "stale")
CIRCUMSTANCES = ("calm", "another line's fault", "its own or everybody's fault")


@dataclass
class Tally:
    """Parts of one line under one circumstance, and what was wrong with them."""

    parts: int = 0
    fail_safe: int = 0
    not_confirmed: int = 0


@dataclass
class Audit:
    """What was found. The lists hold a sentence for each thing that must not be.

    `silent` parts passed because nobody had spoken of them, as profiles B and C have it, and `told_not_good` are those
    that the bridge told as unsure there for want of a verdict. `not_served` came in a count that was refused.
    """

    parts: int = 0
    defects: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    late_on_purpose: int = 0
    unseen: int = 0
    told_again: int = 0
    told_otherwise: int = 0
    incidents: int = 0
    silent: int = 0
    silent_defects: int = 0
    told_not_good: int = 0
    not_served: int = 0
    missed_defects: list[str] = field(default_factory=list)
    wrong_rejects: list[str] = field(default_factory=list)
    without_outcome: list[str] = field(default_factory=list)
    tallies: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))

    @property
    def faults(self) -> list[str]:
        """Return all that must not be."""
        return [*self.missed_defects, *self.wrong_rejects, *self.without_outcome]

    def sum(self, circumstance: str, line: str | None = None) -> Tally:
        """Return the tallies of all lines, or of one, added up."""
        found = [tally for (name, kind), tally in self.tallies.items() if kind == circumstance and line in (None, name)]
        return Tally(
            sum(tally.parts for tally in found),
            sum(tally.fail_safe for tally in found),
            sum(tally.not_confirmed for tally in found),
        )


def audit(
    truth: Sequence[Mapping[str, Any]],
    scanned: Mapping[Part, Scanned],
    actuations: Iterable[Actuation],
    faults: Sequence[Fault],
    budget_s: float,
    *,
    silence_passes: bool = False,
) -> Audit:
    """Compare what the gates did with what was true, and with what the bridge reported."""
    found = Audit()
    told = _outcomes(actuations, found)
    gated = {(row["line"], row["epoch"], row["number"]): row for row in truth if not row.get("again")}
    _not_served([row for row in truth if row.get("again")], found, silence_passes=silence_passes)
    newest: dict[tuple[str, int], int] = defaultdict(int)
    for line, epoch, number in {*scanned, *told}:
        newest[line, epoch] = max(newest[line, epoch], number)
    last_epoch: dict[str, int] = defaultdict(int)
    for line, epoch, _ in {*scanned, *told, *gated}:
        last_epoch[line] = max(last_epoch[line], epoch)
    found.parts = len({*gated, *scanned})
    for part in sorted({*gated, *scanned}):
        seen, row, outcome = scanned.get(part), gated.get(part), told.get(part)
        action = row["action"] if row is not None else "never reached the gate"
        found.actions[action] += 1
        found.defects += seen is not None and seen.defective
        late = seen is not None and seen.takes_s > budget_s
        found.late_on_purpose += late
        silent = silence_passes and action == "passed" and row is not None and row["code"] == Code.PENDING
        found.silent += silent
        found.silent_defects += silent and seen is not None and seen.defective
        if action == "passed" and not silent and (seen is None or seen.decision is not Decision.PASS):
            found.missed_defects.append(f"{part}: the gate passed it, and the scorer said {seen and seen.decision}")
        told_not_good = silence_passes and row is not None and row["code"] == Code.UNSURE
        found.told_not_good += told_not_good
        if action == "rejected" and not told_not_good and seen is not None and seen.decision is Decision.PASS:
            found.wrong_rejects.append(f"{part}: rejected by the word {row and row['word']:#010x}, and it was passed")
        if outcome is not None:
            found.outcomes[outcome] += 1
        elif seen is None and part[2] > newest[part[:2]] and part[1] < last_epoch[part[0]]:
            found.unseen += 1  # the PLC was switched off before anybody could have read its number
        else:
            found.without_outcome.append(f"{part}: no outcome; the gate: {action}")
        if row is not None and not late:
            tally = found.tallies[part[0], _circumstance(part[0], row["triggered"], row["gate_at"], faults)]
            tally.parts += 1
            tally.fail_safe += action in UNSAFE
            tally.not_confirmed += outcome is not Outcome.CONFIRMED
    return found


def _not_served(rows: Sequence[Mapping[str, Any]], found: Audit, *, silence_passes: bool) -> None:
    """Take the parts of a count that began anew in an epoch that was seen: none of them may pass by a word."""
    found.not_served = len(rows)
    for row in rows:
        if row["action"] != "passed":
            continue
        if silence_passes and row["code"] == Code.PENDING:
            found.silent += 1
        else:
            found.missed_defects.append(f"{row['line']}, {row['epoch']}, {row['number']}: passed in a refused count")


def false_escapes(truth: Sequence[Mapping[str, Any]], scanned: Mapping[Part, Scanned], database: Database) -> int:
    """Return how many parts the ledger says were let by beyond those that were."""
    seen = [scanned.get((row["line"], row["epoch"], row["number"])) for row in truth if row["action"] == "passed"]
    let_by = sum(1 for one in seen if one is not None and one.decision is not Decision.PASS)
    with database.session() as session:
        return max(0, sum(one.escaped for one in gate_agreement(session)) - let_by)


def _outcomes(actuations: Iterable[Actuation], found: Audit) -> dict[Part, Outcome]:
    """Return each part's outcome, the last one by its id as the ledger keeps it."""
    told: dict[Part, Outcome] = {}
    for event in actuations:
        found.incidents += event.incident
        if event.outcome is None:
            continue
        part = part_of(event)
        if part in told:
            found.told_again += 1
            found.told_otherwise += told[part] is not event.outcome
        told[part] = event.outcome
    return told


def _circumstance(line: str, triggered: float, gate_at: float, faults: Sequence[Fault]) -> str:
    around = [fault for fault in faults if fault.began - BEFORE_S <= gate_at and triggered <= fault.ended + AFTER_S]
    if any(fault.line in (None, line) for fault in around):
        return CIRCUMSTANCES[2]
    return CIRCUMSTANCES[1] if around else CIRCUMSTANCES[0]
