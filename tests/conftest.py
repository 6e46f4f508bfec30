"""How tests are shared out among workers: `pytest -n 2 --dist loadgroup`."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_LINES = {_TESTS / "broker": "kafka", _TESTS / "plc": "plc", _TESTS / "chaos": None}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one worker, with the models they share; all that waits for Kafka in one, for PLCs in one.

    They have one Apache Kafka between them, and deadlines that many of them at once would miss.
    """
    for item in items:
        group = _LINES.get(item.path.parent, str(item.path.relative_to(_TESTS)))
        if group is None:
            group = "plc" if "plc" in item.path.name else "kafka"
        item.add_marker(pytest.mark.xdist_group(group))
