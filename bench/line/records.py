"""How fast the records answer, and how they grow: the first page of each question over millions of verdicts.

A ledger is filled by SQL (`rigs.many_parts`, the seed is printed), in SQLite and in PostgreSQL. Then each question is
asked with many different filters, the database's caches as they are after the questions before; of its times the 95th
percentile counts, and of five rounds the median of these. `records_ingest.py` measures the ledger's writer.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
from sqlalchemy.orm import Session

from neverblink.records.questions.figures import figures
from neverblink.records.questions.pareto import pareto
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.part_story import story_of
from neverblink.records.questions.parts import Order, parts
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.questions.yields import YieldBy, yields
from neverblink.records.reading import ReadOnlyRecords
from rigs.many_parts import END, LINES, PARTS_OF_A_LOT, TYPES, Crowd, fill
from rigs.postgresql import PostgresqlServer, PostgresqlUnavailable

ROUNDS = 5
ASKED = 40
PAGE = 100
GOAL_MS = 50.0

Question = Callable[[Session, random.Random], object]


class Questions:
    """Each question with a filter that is drawn anew each time it is asked."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def every(self) -> dict[str, Question]:
        """Return the questions by what they are of."""
        found: dict[str, Question] = {
            "parts, newest": self._page(lambda _: PartFilter()),
            "parts, oldest": self._page(lambda _: PartFilter(), "oldest"),
            "parts, changes": self._page(lambda _: PartFilter(), "changes"),
            "changes of a line": self._page(lambda draw: PartFilter(lines=(self._line(draw),)), "changes"),
            "rejects among changes": self._page(lambda _: PartFilter(decision="reject"), "changes"),
            "parts of a line": self._page(lambda draw: PartFilter(lines=(self._line(draw),))),
            "parts of three lines": self._page(lambda _: PartFilter(lines=("line-1", "line-3", "line-5"))),
            "parts of a station": self._page(
                lambda draw: PartFilter(lines=("line-1",), station=draw.choice(("top", "side")))
            ),
            "parts of a product": self._page(lambda draw: PartFilter(product=f"product-{draw.randint(1, LINES // 2)}")),
            "parts of a lot": self._page(lambda draw: PartFilter(lot=self._lot(draw))),
            "parts of an order": self._page(lambda draw: PartFilter(order=self._order(draw))),
            "parts on a carrier": self._page(lambda draw: PartFilter(carrier=f"carrier-{draw.randrange(500)}")),
            "parts of an hour": self._page(lambda draw: self._span(draw, 1)),
            "parts of a week of a line": self._page(lambda draw: self._span(draw, 168, self._line(draw))),
            "part by serial": self._page(lambda draw: PartFilter(serial=self._serial(draw))),
            "part by serial, in a line": self._page(
                lambda draw: PartFilter(lines=(self._line(draw),), serial=self._serial(draw))
            ),
            "rejects": self._page(lambda _: PartFilter(decision="reject")),
            "rejects of a line": self._page(lambda draw: PartFilter(lines=(self._line(draw),), decision="reject")),
            "unscored of a product": self._page(lambda _: PartFilter(product="product-2", decision="unscored")),
            "parts by reason": self._page(lambda draw: PartFilter(reason=draw.choice(("late", "anomaly", "blurred")))),
            "parts by defect type": self._page(lambda draw: PartFilter(defect=f"type-{draw.randrange(TYPES)}")),
            "parts by defect type of a line": self._page(
                lambda draw: PartFilter(lines=(self._line(draw),), defect=f"type-{draw.randrange(TYPES)}")
            ),
            "parts by judgement": self._page(lambda draw: PartFilter(judgement=draw.choice(("normal", "defect")))),
            "all of one part": lambda s, draw: story_of(s, draw.randint(1, self._crowd.parts)),
            "figures of a day": lambda s, draw: figures(s, self._counted(draw, 24)),
            "figures of all time": lambda s, _: figures(s, RollupFilter()),
            "pareto of defects, a week": lambda s, draw: pareto(s, "defects", self._counted(draw, 168)),
            "pareto of reasons, a week": lambda s, draw: pareto(s, "reasons", self._counted(draw, 168)),
            "pareto of defects, all time": lambda s, _: pareto(s, "defects", RollupFilter()),
        }
        groups: tuple[YieldBy, ...] = ("hour", "shift", "day", "line", "station", "product", "artifact", "lot")
        for by in groups:
            found[f"yield by {by}, a week"] = self._yield(by)
        found["yield by day, all time"] = lambda s, _: yields(s, "day", RollupFilter(), limit=PAGE)
        found["yield by lot, one line"] = lambda s, draw: yields(
            s, "lot", RollupFilter((self._line(draw),)), limit=PAGE
        )
        return found

    def _page(self, drawn: Callable[[random.Random], PartFilter], order: Order = "newest") -> Question:
        return lambda session, draw: parts(session, drawn(draw), order=order, limit=PAGE)

    def _yield(self, by: YieldBy) -> Question:
        return lambda session, draw: yields(session, by, self._counted(draw, 168), limit=PAGE)

    def _lots(self, session: Session, draw: random.Random) -> object:
        return yields(session, "lot", RollupFilter((self._line(draw),)), limit=PAGE)

    def _line(self, draw: random.Random) -> str:
        return f"line-{draw.randint(1, LINES)}"

    def _lot(self, draw: random.Random) -> str:
        lots = max(1, self._crowd.parts // LINES // PARTS_OF_A_LOT)
        return f"lot-{draw.randrange(LINES)}-{draw.randrange(lots)}"

    def _order(self, draw: random.Random) -> str:
        orders = max(1, self._crowd.parts // LINES // (5 * PARTS_OF_A_LOT))
        return f"order-{draw.randrange(LINES)}-{draw.randrange(orders)}"

    def _serial(self, draw: random.Random) -> str:
        return f"SN-{draw.randrange(self._crowd.parts) * 2654435761 % 4294967296:08x}"

    def _span(self, draw: random.Random, hours: int, line: str | None = None) -> PartFilter:
        until = END - timedelta(hours=draw.uniform(0, self._crowd.days * 24 - hours))
        return PartFilter(lines=(line,) if line else None, since=until - timedelta(hours=hours), until=until)

    def _counted(self, draw: random.Random, hours: int) -> RollupFilter:
        until = END - timedelta(hours=draw.uniform(0, self._crowd.days * 24 - hours))
        return RollupFilter(since=until - timedelta(hours=hours), until=until)


def measured(url: str, crowd: Crowd) -> dict[str, float]:
    """Return for each question the median of five rounds' 95th percentiles, in ms."""
    questions = Questions(crowd).every()
    found: dict[str, list[float]] = {name: [] for name in questions}
    records = ReadOnlyRecords(url, answer_s=120.0)
    try:
        for turn in range(ROUNDS + 1):
            for name, question in questions.items():
                draw = random.Random(f"{name} {turn}")
                times = sorted(_timed(records, question, draw) for _ in range(ASKED))
                if turn:  # the first round is for the caches
                    found[name].append(times[int(0.95 * (ASKED - 1))])
    finally:
        records.close()
    return {name: statistics.median(times) for name, times in found.items()}


def _timed(records: ReadOnlyRecords, question: Question, draw: random.Random) -> float:
    begun = time.perf_counter()
    with records.asking() as session:
        question(session, draw)
    return (time.perf_counter() - begun) * 1000


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    file = folder / "records.db"
    yield f"sqlite:///{file}", lambda: file.stat().st_size
    for path in folder.glob("records.db*"):
        path.unlink()


@contextmanager
def _postgresql(_: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    server = PostgresqlServer()
    try:
        server.start()
        url = server.new_database()

        def size() -> int:
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

        yield url, size
    finally:
        server.end()


KINDS = {"sqlite": _sqlite, "postgresql": _postgresql}


def main() -> None:
    """Fill, ask and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=5_000_000, help="how many verdicts")
    parser.add_argument("--seed", type=int, default=18, help="of what is drawn")
    parser.add_argument("--on", choices=KINDS, action="append", help="kind of database; default: both")
    parser.add_argument("--folder", type=Path, help="where SQLite's file lies; default: a temporary folder")
    given = parser.parse_args()
    crowd = Crowd(given.verdicts, seed=given.seed)
    results: dict[str, dict[str, float]] = {}
    for kind in given.on or KINDS:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            try:
                with KINDS[kind](Path(folder)) as (url, size):
                    begun = time.monotonic()
                    fill(url, crowd)
                    each, whole = size() / crowd.parts, size() / 2**30
                    print(
                        f"{kind}: {crowd.verdicts} verdicts of {crowd.parts} parts over {crowd.days} days,"
                        f" seed {crowd.seed}, filled in {time.monotonic() - begun:.0f} s; {each:.0f} bytes a part,"
                        f" {whole:.2f} GiB",
                        flush=True,
                    )
                    results[kind] = measured(url, crowd)
            except PostgresqlUnavailable as error:
                print(f"{kind}: not measured: {error}")
                continue
            print(f"{kind}: asked in {time.monotonic() - begun:.0f} s with filling", flush=True)
    _print(results)


def _print(results: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(results.values()), {}))
    print(f"\n| question, first {PAGE} rows: p95 in ms | {' | '.join(results)} |\n|---|{'---:|' * len(results)}")
    for name in names:
        print(f"| {name} | {' | '.join(f'{found[name]:.1f}' for found in results.values())} |")
    slow = [f"{name} on {kind}" for kind, found in results.items() for name in names if found[name] >= GOAL_MS]
    print(f"\nat {GOAL_MS:.0f} ms or above: {', '.join(slow) or 'none'}")


if __name__ == "__main__":
    main()
