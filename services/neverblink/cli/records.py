"""What the ledger has kept, as people see it: its last verdicts, its figures, its rows for other programs."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from neverblink.events import Decision
from neverblink.job_life.terminal import shown
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.questions import ledger_figures as queries

_FOLLOW_S = 0.5
# A second ledger member may commit an older `recorded` this much later than a newer one.
_OVERLAP = timedelta(seconds=5)
_FOLLOW_ROWS = 1000
_MEMORY = 20 * _FOLLOW_ROWS

_COLOURS = {Decision.PASS.value: "green", Decision.REJECT.value: "red", Decision.UNSCORED.value: "yellow"}


def tail(plant: Plant, follow: bool, limit: int) -> None:
    """Print the last `limit` verdicts, and with `follow` every new one until Ctrl-C. Raises LedgerError."""
    console = Console()
    with _opened(plant) as (database, session):
        rows = queries.latest_verdicts(session, limit)
        if not rows and not follow:
            console.print(_nothing_yet(database))
            return
        for row in rows:
            console.print(_line_of(row), highlight=False, soft_wrap=True)
        seen = dict.fromkeys(row.id for row in rows)
        while follow:
            time.sleep(_FOLLOW_S)
            session.rollback()  # the next question sees what was committed meanwhile
            since = rows[-1].recorded - _OVERLAP if rows else None
            news = [row for row in queries.latest_verdicts(session, _FOLLOW_ROWS, since) if row.id not in seen]
            for row in news:
                console.print(_line_of(row), highlight=False, soft_wrap=True)
                seen[row.id] = None
            rows = news or rows
            while len(seen) > _MEMORY:
                del seen[next(iter(seen))]


def stats(plant: Plant, as_json: bool) -> None:
    """Print what the ledger knows, as tables or as one JSON object. Raises LedgerError."""
    with _opened(plant) as (database, session):
        answers = _answers(session)
        held = queries.totals(session)
        if as_json:
            whole = {"ledger": database.name, "totals": held, **answers}
            print(orjson.dumps(whole, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode())  # noqa: T201
            return
        console = Console()
        if not held.verdicts and not held.actuations:
            console.print(_nothing_yet(database))
            return
        console.print(f"[bold]{shown(database.name)}[/bold]", highlight=False)
        for title, columns in _TABLES.items():
            table = _table(title, columns, answers[title])
            if table is not None:
                console.print(table)
        console.print(
            f"{held.verdicts} verdicts, {held.actuations} actuations, {held.reviews} reviews, "
            f"{held.drift_reports} drift reports, {held.shadow_verdicts} shadow verdicts, "
            f"{held.dead_letters} dead letters"
        )


def _answers(session: Session) -> dict[str, Sequence[Any]]:
    return {
        "yield per line": queries.yield_by(session, "line"),
        "yield per station": queries.yield_by(session, "station"),
        "yield per product": queries.yield_by(session, "product"),
        "decisions and reasons": queries.reasons(session),
        "defects of rejected parts": queries.defect_pareto(session),
        "trigger to told": queries.latency(session),
        "what the gates did": queries.gate_actions(session),
        "gate against verdict": queries.gate_agreement(session),
        "verdicts without effect": queries.unheeded(session),
    }


Column = tuple[str, Callable[[Any], str]]


def _share(value: float) -> str:
    return f"{value:.1%}"


_YIELD: tuple[Column, ...] = (
    ("", lambda row: row.group),
    ("verdicts", lambda row: str(row.verdicts)),
    ("pass", lambda row: str(row.passed)),
    ("reject", lambda row: str(row.rejected)),
    ("unscored", lambda row: str(row.unscored)),
    ("late", lambda row: str(row.late)),
    ("yield", lambda row: _share(row.good_share)),
)

_TABLES: dict[str, tuple[Column, ...]] = {
    "yield per line": _YIELD,
    "yield per station": _YIELD,
    "yield per product": _YIELD,
    "decisions and reasons": (
        ("decision", lambda row: row.decision),
        ("reason", lambda row: row.reason or "–"),
        ("count", lambda row: str(row.count)),
    ),
    "defects of rejected parts": (
        ("type", lambda row: row.type),
        ("count", lambda row: str(row.count)),
        ("share", lambda row: _share(row.share)),
        ("cumulative", lambda row: _share(row.cumulative)),
    ),
    "trigger to told": (
        ("line", lambda row: row.line),
        ("parts", lambda row: str(row.count)),
        ("p50 ms", lambda row: f"{row.p50_ms:.0f}"),
        ("p99 ms", lambda row: f"{row.p99_ms:.0f}"),
        ("least slack ms", lambda row: "–" if row.least_slack_ms is None else f"{row.least_slack_ms:.0f}"),
    ),
    "what the gates did": (
        ("line", lambda row: row.line),
        ("gate", lambda row: row.action),
        ("count", lambda row: str(row.count)),
    ),
    "gate against verdict": (
        ("line", lambda row: row.line),
        ("parts", lambda row: str(row.parts)),
        ("agreed", lambda row: str(row.agreed)),
        ("escaped", lambda row: str(row.escaped)),
        ("lost", lambda row: str(row.lost)),
        ("of these fail-safe", lambda row: str(row.lost_fail_safe)),
    ),
    "verdicts without effect": (
        ("line", lambda row: row.line),
        ("superseded", lambda row: str(row.superseded)),
        ("late or held", lambda row: str(row.late)),
    ),
}


def _table(title: str, columns: Sequence[Column], rows: Sequence[Any]) -> Table | None:
    if not rows:
        return None
    table = Table(title=title, title_justify="left")
    for position, (name, _) in enumerate(columns):
        table.add_column(name, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*(shown(text(row)) for _, text in columns))
    return table


def _line_of(row: queries.LatestVerdict) -> str:
    colour = _COLOURS.get(row.decision, "white")
    score = f"{'no score' if row.ratio is None else f'{row.ratio:.2f} of threshold':<18}"
    told = "" if row.trigger_to_told_ms is None else f"  told {row.outcome} in {row.trigger_to_told_ms:.0f} ms"
    gate = "" if row.gate is None else f"  gate {row.gate}"
    when = row.captured.astimezone().strftime("%H:%M:%S.%f")[:-3]
    place = shown(f"{row.line}/{row.station}".ljust(20))
    decision = f"[{colour}]{shown(row.decision.ljust(8))}[/{colour}]"
    reason, part = shown((row.reason or "").ljust(12)), shown(row.part.ljust(16))
    return f"{when}  {place} {part} {decision} {score}  {reason}{shown(told)}{shown(gate)}"


def _nothing_yet(database: Database) -> str:
    return (
        f"The ledger {shown(database.name)} is empty: no verdict has arrived yet. "
        "Is `neverblink ledger run` running, and do the scorers publish?"
    )


@contextmanager
def _opened(plant: Plant) -> Iterator[tuple[Database, Session]]:
    database = Database(plant.storage.ledger, create=False)
    try:
        with database.session() as session:
            yield database, session
    except SQLAlchemyError as fault:
        raise database.explained(fault) from fault
    finally:
        database.close()


def _plain(value: Any) -> dict[str, Any]:
    fields = dataclasses.asdict(value)
    return {**fields, "good_share": value.good_share} if isinstance(value, queries.Yield) else fields
