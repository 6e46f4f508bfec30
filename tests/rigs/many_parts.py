"""A ledger with millions of parts, made by SQL in the database itself: what months of a plant's lines leave.

Rows are those that the ledger's writer would make of such events, with indexes and rollups; the same seed makes the
same rows in both kinds of database. A third of the parts passes two stations. Of the parts 3 % are rejected and 0.5 %
not scored; half of the rejects and 1 % of the passes are reviewed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

from neverblink.records.columns import Table
from neverblink.records.database import Database

END = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LINES = 6
TYPES = 12
PARTS_OF_A_LOT = 2000
_ROWS = 100_000
_VERDICTS_OF_SIX_PARTS = 8


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many verdicts over so many days, up to END."""

    verdicts: int
    days: int = 60
    seed: int = 18

    @property
    def parts(self) -> int:
        """Return the number of parts, the same on each line."""
        return self.verdicts // _VERDICTS_OF_SIX_PARTS * LINES

    @property
    def begin_ms(self) -> int:
        """Return when the first part is triggered, in ms since 1970."""
        return int((END - timedelta(days=self.days)).timestamp() * 1000)

    @property
    def step_ms(self) -> int:
        """Return the time between two parts of the plant."""
        return max(1, self.days * 86_400_000 // self.parts)


class _Dialect:
    """The few things that the two databases say differently."""

    def __init__(self, name: str) -> None:
        self._sqlite = name == "sqlite"

    def at(self, ms: str) -> str:
        if self._sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f', ({ms}) / 1000.0, 'unixepoch') || '000'"
        return f"to_timestamp(({ms}) / 1000.0)"

    def hour(self, ms: str) -> str:
        return self.at(f"({ms}) / 3600000 * 3600000")

    def hexadecimal(self, number: str, width: int) -> str:
        return f"printf('%0{width}x', {number})" if self._sqlite else f"lpad(to_hex({number}), {width}, '0')"

    def words(self, number: str) -> str:
        return f"CAST({number} AS TEXT)"

    @property
    def no_list(self) -> str:
        return "'[]'" if self._sqlite else "'[]'::json"

    def series(self, first: int, last: int) -> str:
        if self._sqlite:
            return (
                f"(WITH RECURSIVE s(k) AS (SELECT {first} UNION ALL SELECT k + 1 FROM s WHERE k < {last})"
                " SELECT k FROM s) AS g"
            )
        return f"generate_series({first}::bigint, {last}::bigint) AS g(k)"

    def identity(self, number: str) -> str:
        """Return a text like a UUID, in no order of the numbers, as real ids are."""
        mixed = self.hexadecimal(f"(({number}) * 2654435761) % 4294967296", 8)
        return f"{mixed} || '-0000-5000-8000-' || {self.hexadecimal(number, 12)}"


def fill(url: str, crowd: Crowd) -> None:
    """Make the ledger at `url`, which must not be there yet, with a crowd in it."""
    Database(url, create=True).close()
    parsed = make_url(url)
    driver = parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed
    engine = create_engine(driver)
    try:
        _fill(engine, crowd)
    finally:
        engine.dispose()


def _fill(engine: Engine, crowd: Crowd) -> None:
    say = _Dialect(engine.dialect.name)
    indexes = [index for table in Table.metadata.sorted_tables for index in table.indexes]
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Without a journal, which would be as large as the ledger; a crash leaves a file that is thrown away.
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
        for index in indexes:
            index.drop(connection)
    with engine.begin() as connection:
        for first in range(0, crowd.parts, _ROWS):
            last = min(first + _ROWS, crowd.parts) - 1
            _insert(connection, "parts", _parts(say, crowd), say.series(first, last))
            some = f"parts AS p WHERE p.id BETWEEN {first + 1} AND {last + 1}"
            _insert(
                connection,
                "verdicts",
                _verdicts(say),
                f"(SELECT 0 AS n UNION ALL SELECT 1) AS s, {some} AND s.n < p.stations",
            )
            for stage in ("told", "gate"):
                _insert(connection, "actuations", _actuations(say, stage), some)
            _insert(
                connection,
                "defects",
                _defects(say),
                f"(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2) AS s, {some} AND p.decision = 'reject'"
                f" AND s.n <= {_chance('p.id', 7, crowd)} % 3",
            )
            _insert(connection, "reviews", _reviews(say), f"{some} AND p.judgement IS NOT NULL")
        connection.exec_driver_sql(
            "INSERT INTO part_defects (type, triggered, part_id) SELECT DISTINCT d.type, p.triggered, p.id"
            " FROM defects d JOIN verdicts v ON v.id = d.verdict_id JOIN parts p ON p.id = v.part_id"
        )
        for table, source in (("rollups", _rollups(say, crowd)), ("word_rollups", _words(say, crowd))):
            for columns, query in source:
                asked = f"INSERT INTO {table} ({columns}) {query}"
                connection.exec_driver_sql(asked, execution_options={"no_parameters": True})
        connection.exec_driver_sql(f"UPDATE last_revision SET revision = {crowd.parts}")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('parts', 'id'), {crowd.parts})")
        for index in indexes:
            index.create(connection)
    # The ledger's own database is never analysed by hand; PostgreSQL's autovacuum does so.
    after = "VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "PRAGMA journal_mode=WAL"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(after))


def _insert(connection: Connection, table: str, columns: Mapping[str, str], source: str) -> None:
    asked = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {source}"
    connection.exec_driver_sql(asked, execution_options={"no_parameters": True})


def _chance(number: str, salt: int, crowd: Crowd) -> str:
    """Return a number from 0 to 2147483646 that looks drawn."""
    first = f"(({number}) + {salt * 1_000_003 + crowd.seed * 7919}) * 2654435761 % 4294967291"
    return f"((({first}) % 2147483647) * 48271 % 2147483647)"


def _parts(say: _Dialect, crowd: Crowd) -> dict[str, str]:
    line, nth, ms = f"(k % {LINES})", f"(k / {LINES})", _ms("k", crowd)
    drawn = f"({_chance('k', 1, crowd)} % 1000)"
    decision = f"CASE WHEN {drawn} < 30 THEN 'reject' WHEN {drawn} < 35 THEN 'unscored' ELSE 'pass' END"
    looked = f"({_chance('k', 2, crowd)} % 1000)"
    judged = (
        f"CASE WHEN {drawn} < 30 AND {looked} < 400 THEN 'defect' WHEN {drawn} < 30 AND {looked} < 500 THEN 'normal'"
        f" WHEN {drawn} >= 35 AND {looked} < 9 THEN 'normal' WHEN {drawn} >= 35 AND {looked} < 10 THEN 'defect' END"
    )
    return {
        "id": "k + 1",
        "line": f"'line-' || {say.words(f'{line} + 1')}",
        "product": f"'product-' || {say.words(f'{line} / 2 + 1')}",
        "epoch": "1",
        "number": nth,
        "part": f"'1-' || {say.words(nth)}",
        "triggered": say.at(ms),
        "opened": say.at(ms),
        "closed": say.at(f"{ms} + 2000"),
        "shift": f"'shift ' || {say.words(f'({ms}) / 28800000')}",
        "decision": decision,
        "reason": f"CASE WHEN {drawn} < 20 THEN 'anomaly' WHEN {drawn} < 30 THEN 'defect' WHEN {drawn} < 33 THEN 'late'"
        f" WHEN {drawn} < 35 THEN 'blurred' END",
        "late": f"{drawn} BETWEEN 30 AND 32",
        "unsure": f"{drawn} BETWEEN 35 AND 44",
        "holdout": f"{looked} BETWEEN 990 AND 994",
        "challenge": f"{looked} BETWEEN 995 AND 996",
        "ratio": f"{drawn} / 1000.0",
        "stations": f"CASE WHEN {line} < 2 THEN 2 ELSE 1 END",
        "artifact_digest": f"'sha256:' || {say.hexadecimal(f'{line} * 100 + ({ms}) / 604800000', 64)}",
        "told_outcome": f"CASE WHEN {drawn} BETWEEN 30 AND 32 THEN 'late' ELSE 'confirmed' END",
        "told_at": say.at(f"{ms} + 300"),
        "told_code": f"CASE WHEN {drawn} < 35 THEN 2 ELSE 1 END",
        "slack_ms": "1700.0",
        "trigger_to_told_ms": "300.0",
        "gate": f"CASE WHEN {drawn} < 35 THEN 'rejected' ELSE 'passed' END",
        "gate_at": say.at(f"{ms} + 2000"),
        "incident": "FALSE",
        "judgement": judged,
        "partly_judged": f"({judged}) IS NOT NULL AND {drawn} >= 35 AND {line} < 2"
        f" AND ({drawn} <= 44 OR {looked} BETWEEN 990 AND 994)",
        "reviewed_at": f"CASE WHEN ({judged}) IS NOT NULL THEN {say.at(f'{ms} + 3600000')} END",
        "changed": say.at(f"{ms} + 2500"),
        "revision": "k + 1",
        "order_no": f"'order-' || {say.words(line)} || '-' || {say.words(f'{nth} / {5 * PARTS_OF_A_LOT}')}",
        "lot": f"'lot-' || {say.words(line)} || '-' || {say.words(f'{nth} / {PARTS_OF_A_LOT}')}",
        "serial": f"'SN-' || {say.hexadecimal('(k * 2654435761) % 4294967296', 8)}",
        "carrier": f"'carrier-' || {say.words(f'{nth} % 500')}",
        "trace_id": say.hexadecimal("k", 32),
    }


def _ms(number: str, crowd: Crowd) -> str:
    return f"({crowd.begin_ms} + ({number}) * {crowd.step_ms})"


_SAME = ("line", "part", "epoch", "number", "order_no", "lot", "serial", "carrier", "trace_id")
_FLAGS = ("late", "holdout", "challenge", "unsure")
_REVIEWED = ("line", "part", "product", "judgement", "order_no", "lot", "serial", "trace_id")
_DECIDED = {"passed": "pass", "rejected": "reject", "unscored": "unscored"}


def _verdicts(say: _Dialect) -> dict[str, str]:
    worst = "s.n = 0"
    return {
        **{
            name: f"p.{name}"
            for name in (*_SAME, "product", "artifact_digest", "late", "holdout", "challenge", "unsure")
        },
        "id": say.identity("p.id * 4 + s.n"),
        "frame_id": say.identity("p.id * 4 + s.n + 2"),
        "station": "CASE WHEN s.n = 0 THEN 'top' ELSE 'side' END",
        "seq": "p.number",
        "decision": f"CASE WHEN {worst} THEN p.decision ELSE 'pass' END",
        "reason": f"CASE WHEN {worst} THEN p.reason END",
        "score": "p.ratio * 4.2",
        "threshold": "4.2",
        "ratio": "p.ratio",
        "artifact_name": "p.product",
        "artifact_version": "'3'",
        "brightness": "101.5",
        "contrast": "33.25",
        "sharpness": "410.125",
        "saturation": "0.015625",
        **dict.fromkeys(("captured", "published", "received", "batched", "scored", "emitted"), "p.triggered"),
        "deadline": "p.gate_at",
        "recorded": "p.changed",
        "part_id": "p.id",
        "judgement": f"CASE WHEN {worst} THEN p.judgement END",
        "evidence": say.no_list,
        "frame_partition": "p.id % 48",
        "frame_offset": "p.number",
    }


def _actuations(say: _Dialect, stage: str) -> dict[str, str]:
    told = stage == "told"
    return {
        **{name: f"p.{name}" for name in _SAME},
        "id": say.identity(f"p.id * 4 + {0 if told else 1}"),
        "stage": f"'{stage}'",
        "verdicts": say.no_list,
        "decision": "p.decision",
        "code": "p.told_code",
        ("outcome" if told else "gate"): "p.told_outcome" if told else "p.gate",
        "at": "p.told_at" if told else "p.gate_at",
        "deadline": "p.gate_at",
        **({"slack_ms": "p.slack_ms", "trigger_to_told_ms": "p.trigger_to_told_ms"} if told else {}),
        "attempts": "1",
        "incident": "FALSE",
        "recorded": "p.changed",
        "part_id": "p.id",
    }


def _defects(say: _Dialect) -> dict[str, str]:
    # The product of two numbers that look drawn: a few types are frequent, most are rare.
    kind = f"((p.id * 2654435761 + s.n * 40503) % 4294967291 % {TYPES}) * ((p.id * 48271 + s.n) % {TYPES}) / {TYPES}"
    return {
        "verdict_id": say.identity("p.id * 4"),
        "position": "s.n",
        "type": f"'type-' || {say.words(kind)}",
        **dict.fromkeys(("x", "y", "width", "height", "area_px"), "10 * (s.n + 1)"),
        "confidence": "0.75",
        "seen_by": say.no_list,
    }


def _reviews(say: _Dialect) -> dict[str, str]:
    return {
        **{
            name: f"p.{name}"
            for name in ("line", "part", "product", "judgement", "order_no", "lot", "serial", "trace_id")
        },
        "id": say.identity("p.id * 4 + 3"),
        "verdict": say.identity("p.id * 4"),
        "frame_id": say.identity("p.id * 4 + 2"),
        "station": "'top'",
        "regions": say.no_list,
        "reviewer": "'reviewer-' || " + say.words("p.id % 7"),
        "at": "p.reviewed_at",
        "recorded": "p.reviewed_at",
        "withdrawn": "FALSE",
    }


def _sum(condition: str) -> str:
    return f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _counts() -> dict[str, str]:
    found: dict[str, Any] = {
        "parts": "COUNT(*)",
        **{name: _sum(f"x.decision = '{word}'") for name, word in _DECIDED.items()},
        "late": _sum("x.late"),
        "unsure": _sum("x.unsure"),
        "holdouts": _sum("x.holdout"),
        "challenges": _sum("x.challenge"),
    }
    names = Table.metadata.tables["rollups"].columns
    keys = {column.name for column in names if column.primary_key}
    return {**{column.name: "0" for column in names if column.name not in keys}, **found}


def _rollups(say: _Dialect, crowd: Crowd) -> Iterator[tuple[str, str]]:
    hour = say.hour(_ms("p.id - 1", crowd))
    reviewed = {
        "told_confirmed": _sum("x.told_outcome = 'confirmed'"),
        "told_late": _sum("x.told_outcome = 'late'"),
        "gate_passed": _sum("x.gate = 'passed'"),
        "gate_rejected": _sum("x.gate = 'rejected'"),
        "reviewed": _sum("x.judgement IS NOT NULL"),
        "judged_normal": _sum("x.judgement = 'normal'"),
        "judged_defect": _sum("x.judgement = 'defect'"),
        "false_rejects": _sum("x.judgement = 'normal' AND x.decision = 'reject'"),
        "escapes": _sum("x.judgement = 'defect' AND x.decision = 'pass'"),
        "passes_judged": _sum("x.judgement IS NOT NULL AND x.decision = 'pass'"),
        "rejects_judged": _sum("x.judgement IS NOT NULL AND x.decision = 'reject'"),
    }
    for station, source, counts in (
        ("''", "parts p", _counts() | reviewed),
        ("v.station", "verdicts v JOIN parts p ON p.id = v.part_id", _counts()),
    ):
        counted = {name: how.replace("x.", "p." if station == "''" else "v.") for name, how in counts.items()}
        keys = f"{hour}, p.shift, p.line, {station}, p.product, p.artifact_digest, p.lot"
        yield (
            "hour, shift, line, station, product, artifact_digest, lot, " + ", ".join(counted),
            f"SELECT {keys}, {', '.join(counted.values())} FROM {source} GROUP BY 1, 2, 3, 4, 5, 6, 7",
        )


def _words(say: _Dialect, crowd: Crowd) -> Iterator[tuple[str, str]]:
    hour = say.hour(_ms("p.id - 1", crowd))
    columns = "hour, shift, line, station, product, artifact_digest, lot, kind, decision, word, count"
    verdicts = "verdicts v JOIN parts p ON p.id = v.part_id"
    for station in ("''", "v.station"):
        keys = f"{hour}, p.shift, p.line, {station}, p.product, p.artifact_digest, p.lot"
        for kind, word, source in (
            ("reason", "v.reason", f"{verdicts} WHERE v.reason IS NOT NULL"),
            ("defect", "d.type", "defects d JOIN verdicts v ON v.id = d.verdict_id JOIN parts p ON p.id = v.part_id"),
        ):
            groups = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
            yield columns, f"SELECT {keys}, '{kind}', v.decision, {word}, COUNT(*) FROM {source} GROUP BY {groups}"
