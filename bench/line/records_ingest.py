"""How many events a second the ledger keeps with parts and counts, against the plain insert of the version before.

The same events, as a plant's lines make them: a part's verdicts (a third of the parts has two stations), what the PLC
was told, its gate, defects of rejects, a review now and then. Both ways write batches of the same size to a database of
their own, in turns, and of five rounds the median counts. The plain insert is that of layout 3: rows by their ids,
nothing else. `--postgresql` starts a server; its commits are not forced to disk there, SQLite's are.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, Table, create_engine, event, insert
from sqlalchemy.dialects import postgresql, sqlite

from neverblink.events import (
    Actuation,
    ArtifactRef,
    BoundingBox,
    Decision,
    Defect,
    Event,
    GateAction,
    Identity,
    Judgement,
    Outcome,
    Review,
    Times,
    Tracking,
    Verdict,
)
from neverblink.ledger.writing import keep
from neverblink.records.database import Database
from neverblink.records.parts import PartRules
from neverblink.records.tables import defect_rows, row_of
from rigs.postgresql import PostgresqlServer

BEGIN = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
ROUNDS = 5
LAYOUT_3 = Path(__file__).resolve().parents[2] / "tests/unit/layout_3"
_ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)
_ROWS_OF_BEFORE = 500
_HEAD = """| batch | before, events/s | now | ratio | before, events per CPU second | now | ratio |
|---|---|---|---|---|---|---|"""


def events_of(parts: int, lines: int, seed: int) -> Iterator[Event]:
    """Yield the events of so many parts in the order in which lines make them."""
    chance = random.Random(seed)
    for number in range(parts):
        line = f"line-{number % lines + 1}"
        at = BEGIN + timedelta(seconds=number * 2 / lines)
        place, part = Tracking(epoch=1, number=number), f"{line}/1/{number}"
        identity = Identity(lot=f"lot-{number // 2000}", serial=f"sn-{number:08d}")
        rejected = chance.random() < 0.03
        for station in ("top", "side")[: 2 if number % 3 == 0 else 1]:
            frame = f"{chance.getrandbits(64):016x}"
            defect = Defect(type=f"type-{number % 7}", bbox=BoundingBox(x=1, y=2, width=3, height=4), area_px=9)
            verdict = Verdict(
                id=f"v-{frame}", frame_id=f"f-{frame}", line=line, station=station, product="pcb", part=part,
                seq=number, tracking=place, decision=Decision.REJECT if rejected else Decision.PASS,
                reason="anomaly" if rejected else None, score=1.5, threshold=2.0, ratio=0.75, artifact=_ARTIFACT,
                defects=(defect,) if rejected else (), times=Times(captured=at, published=at, emitted=at),
                deadline=at + timedelta(seconds=2), identity=identity, frame_partition=1, frame_offset=number,
            )  # fmt: skip
            yield verdict
        yield Actuation(
            id=f"t-{line}-{number}", line=line, part=part, tracking=place, stage="told", decision=verdict.decision,
            outcome=Outcome.CONFIRMED, at=at + timedelta(milliseconds=400), trigger_to_told_ms=400.0, slack_ms=900.0,
            deadline=at + timedelta(seconds=2), identity=identity,
        )  # fmt: skip
        yield Actuation(
            id=f"g-{line}-{number}", line=line, tracking=place, stage="gate", at=at + timedelta(seconds=2),
            gate=GateAction.REJECTED if rejected else GateAction.PASSED, identity=identity,
        )  # fmt: skip
        if rejected and number % 2:
            yield Review(
                id=f"r-{verdict.id}", verdict=verdict.id, frame_id=verdict.frame_id, line=line, station="top",
                product="pcb", part=part, judgement=Judgement.DEFECT, reviewer="ann", at=at + timedelta(hours=1),
            )  # fmt: skip


class Before:
    """The plain insert of layout 3."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        self._lite = self._engine.dialect.name == "sqlite"
        if self._lite:
            event.listen(self._engine, "connect", _durable)
        script = (LAYOUT_3 / f"{self._engine.dialect.name}.sql").read_text().split("\n", 1)[1]
        made = MetaData()
        with self._engine.begin() as connection:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.exec_driver_sql(statement)
            made.reflect(connection)
        self._tables = made.tables

    def keep(self, events: Sequence[Event]) -> None:
        """Write a batch."""
        rows: dict[str, list[dict[str, Any]]] = {}
        defects: list[dict[str, Any]] = []
        for one in events:
            table, row = row_of(one, BEGIN)
            rows.setdefault(table.__tablename__, []).append(self._plain(table.__tablename__, row))
            if isinstance(one, Verdict):
                defects += [self._plain("defects", defect) for defect in defect_rows(one)]
        dialect = sqlite if self._lite else postgresql
        with self._engine.begin() as connection:
            for name, found in rows.items():
                of: Table = self._tables[name]
                for start in range(0, len(found), _ROWS_OF_BEFORE):
                    statement = dialect.insert(of).on_conflict_do_nothing(index_elements=("id",))
                    connection.scalars(statement.values(found[start : start + _ROWS_OF_BEFORE]).returning(of.c.id))
            if defects:
                connection.execute(insert(self._tables["defects"]), defects)

    def close(self) -> None:
        """Close it."""
        self._engine.dispose()

    def _plain(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        known = {column.name: row[column.name] for column in self._tables[table].columns}
        if not self._lite:
            return known
        return {
            name: value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
            for name, value in known.items()
        }


class Now:
    """The ledger's writer."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, create=True)
        self._rules = PartRules(lambda moment: "early" if moment.hour < 14 else "late")

    def keep(self, events: Sequence[Event]) -> None:
        """Write a batch."""
        keep(self._database, events, BEGIN, self._rules)

    def close(self) -> None:
        """Close it."""
        self._database.close()


def _durable(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def rates(way: Before | Now, events: Sequence[Event], batch: int) -> tuple[float, float]:
    """Return how many events a way keeps in a second of the clock, and in one of this process's CPU time."""
    began, worked = time.perf_counter(), time.process_time()
    for start in range(0, len(events), batch):
        way.keep(events[start : start + batch])
    passed, work = time.perf_counter() - began, time.process_time() - worked
    way.close()
    return len(events) / passed, len(events) / work


def measure(new_url: Callable[[], str], parts: int, lines: int, batch: int) -> str:
    """Return a row of the table: events a second before and now, and their ratio, each the median of ROUNDS."""
    before, now = [], []
    for number in range(ROUNDS):
        events = list(events_of(parts, lines, number))
        before.append(rates(Before(new_url()), events, batch))
        now.append(rates(Now(new_url()), events, batch))
    cells = []
    for kind in (0, 1):
        ratios = [new[kind] / old[kind] for new, old in zip(now, before, strict=True)]
        cells += [
            f"{statistics.median(one[kind] for one in before):,.0f}",
            f"{statistics.median(one[kind] for one in now):,.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        ]
    return f"| {batch} | {' | '.join(cells)} |"


def main() -> None:
    """Measure both databases and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=1500)
    parser.add_argument("--lines", type=int, default=6)
    parser.add_argument("--batches", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = iter(range(10_000))
        places: dict[str, Callable[[], str]] = {"SQLite": lambda: f"sqlite:///{folder}/{next(count)}.db"}
        server = PostgresqlServer() if given.postgresql else None
        if server is not None:
            server.start()
            places["PostgreSQL"] = server.new_database
        try:
            for name, new_url in places.items():
                print(f"{name}\n\n{_HEAD}")
                for batch in given.batches:
                    print(measure(new_url, given.parts, given.lines, batch), flush=True)
        finally:
            if server is not None:
                server.end()


if __name__ == "__main__":
    main()
