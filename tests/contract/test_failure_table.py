"""The failure table names tests that exist, in every row."""

import ast
import re
from pathlib import Path

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
