"""How tests are shared out among workers: `pytest -n 2 --dist loadgroup`."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_ALONE = {_TESTS / "broker", _TESTS / "plc"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one worker, with the models they share; and all that waits for brokers and PLCs in one.

    They have one Apache Kafka between them, and deadlines that two of them at once would miss.
    """
    for item in items:
        group = "lines" if item.path.parent in _ALONE else str(item.path.relative_to(_TESTS))
        item.add_marker(pytest.mark.xdist_group(group))
