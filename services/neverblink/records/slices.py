"""Many values, some at a time: a question to a database binds a bounded number, a transaction takes a bounded time."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value")


def slices(values: Sequence[Value], at_once: int) -> Iterator[Sequence[Value]]:
    """Yield the values in their order, at most `at_once` of them at a time."""
    return (values[start : start + at_once] for start in range(0, len(values), at_once))
