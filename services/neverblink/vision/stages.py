"""Which stage of judging a batch begins, for whoever wants to say how long each took; nobody listens by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener to stages", default=None)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Call the listener with the name of each stage that begins inside of the block, in this thread."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def begins(stage: str) -> None:
    """Say that a stage begins: `embed`, `search` or `find`; the one before it has ended."""
    listener = _listener.get()
    if listener is not None:
        listener(stage)
