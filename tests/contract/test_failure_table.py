"""The page of failures: every pair of services and faults has its row, and what is promised names tests that exist."""

import ast
import re
from pathlib import Path

from rigs.faults.pairs import FAULTS, PAIRS, SERVICES
from rigs.faults.table import IN_TESTS, rows_in

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/failure.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def defined_in(file: str) -> set[str]:
    """Return the names of a file's tests."""
    path = ROOT / file
    body = ast.parse(path.read_text()).body if path.is_file() else []
    functions = (one for one in body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {one.name for one in functions if one.name.startswith("test_")}


def test_every_test_that_the_failure_table_names_exists() -> None:
    named = NAMED.findall(TABLE)
    assert len(named) >= 25
    assert [f"{file}::{name}" for file, name in named if name not in defined_in(file)] == []


def test_every_row_of_what_happens_then_names_its_test() -> None:
    rows: list[str] = []
    has_tests = False
    for line in TABLE.splitlines():
        if line.startswith("| what"):
            has_tests = line.endswith("| test |")
        elif line.startswith("| ") and has_tests:
            rows.append(line)
    assert len(rows) >= 25
    assert [row for row in rows if NAMED.search(row) is None] == []


def test_every_pair_of_the_fault_bench_has_its_row_as_it_was_seen() -> None:
    rows = rows_in(TABLE)
    assert [pair.name for pair in PAIRS if pair.name not in rows] == []
    assert [name for name, row in rows.items() if "**" in row] == []  # not healed, or killed


def test_a_row_says_that_tests_try_its_pair_where_they_do() -> None:
    rows = rows_in(TABLE)
    told = {name for name, row in rows.items() if IN_TESTS in row}
    assert told == {pair.name for pair in PAIRS if pair.in_tests}
    assert len(told) == 12


def test_the_pairs_leave_out_no_service_and_no_fault() -> None:
    assert {pair.service for pair in PAIRS} == set(SERVICES)
    assert {pair.fault for pair in PAIRS} == set(FAULTS)
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    for service in SERVICES:
        on = {pair.on for pair in PAIRS if pair.service == service}
        assert {"Kafka", "collector"} <= on
