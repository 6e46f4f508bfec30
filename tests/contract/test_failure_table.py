"""The failure table names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_row_of_the_failure_table_names_a_test_that_exists() -> None:
    rows = NAMED.findall((ROOT / "docs/failure.md").read_text())
    assert len(rows) >= 25
    missing = [f"{file}::{name}" for file, name in rows if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []
