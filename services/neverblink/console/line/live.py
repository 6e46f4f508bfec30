"""Pages that follow the lines: one batch of what has changed every 200 ms, each piece rendered once a language."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from neverblink.console.instruments import Instruments
from neverblink.console.line.feed import Feed
from neverblink.console.rendering import Rendering

BATCH_S: Final = 0.2
STATE_EVERY_S: Final = 2.0
CHECK_EVERY_S: Final = 10.0
"""How often it is asked whether whoever looks may still look."""

Version = tuple[int, int, int]


class Live:
    """What live pages are made of. `most` bounds how many there are at once."""

    def __init__(self, feed: Feed, most: int, clock: Callable[[], datetime], measured: Instruments) -> None:
        self.feed = feed
        self._most = most
        self._clock = clock
        self._measured = measured
        self._viewers = 0
        self._rendered: dict[tuple[str, str, int], tuple[Version, str]] = {}

    @property
    def full(self) -> bool:
        """Say whether no more pages may follow."""
        return self._viewers >= self._most

    def line(self, name: str, rendering: Rendering, tiles: int) -> str:
        """Return a line's piece of a page."""
        key, version = (name, rendering.language, tiles), self._version(name)
        held = self._rendered.get(key)
        if held is not None and held[0] == version:
            return held[1]
        feed = self.feed
        text = rendering.page(
            "line.html.jinja",
            {
                "view": feed.boards[name].view(),
                "counts": feed.counts.get(name),
                "counted": feed.counted,
                "troubles": feed.of(name),
                "shown": tiles,
                "unheard": feed.kafka is not None,
                "now": self._clock(),
            },
        )
        self._rendered[key] = (version, text)
        return text

    def state(self, rendering: Rendering) -> str:
        """Return what is stale, and since when."""
        values = {"kafka": self.feed.kafka, "database": self.feed.database, "counted": self.feed.counted}
        return rendering.page("state.html.jinja", {**values, "now": self._clock()})

    async def follow(
        self,
        lines: Sequence[str],
        rendering: Rendering,
        tiles: int,
        may_look: Callable[[], Awaitable[bool]],
        stop: asyncio.Event,
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events until `stop` is set or whoever looks may no longer: `line:NAME`, `state`, `gone`.

        What is sent slower than it changes is left out: the next batch is of what is then.
        """
        clock = asyncio.get_running_loop().time
        sent: dict[str, Version] = {}
        state_at, check_at = 0.0, clock() + CHECK_EVERY_S
        with self._counted():
            yield b"retry: 2000\n\n"
            while not stop.is_set():
                now = clock()
                if now >= check_at:
                    if not await may_look():
                        yield _event("gone", "")
                        return
                    check_at = clock() + CHECK_EVERY_S
                batch = []
                for name in lines:
                    version = self._version(name)
                    if sent.get(name) != version:
                        sent[name] = version
                        batch.append(_event(f"line:{name}", self.line(name, rendering, tiles)))
                if now >= state_at:
                    state_at = now + STATE_EVERY_S
                    batch.append(_event("state", self.state(rendering)))
                if batch:
                    yield b"".join(batch)
                await asyncio.sleep(BATCH_S)

    def _version(self, name: str) -> Version:
        """Return what changes whenever a line's piece does: by itself it grows older every other second."""
        beat = int(self._clock().timestamp() / STATE_EVERY_S)
        return self.feed.boards[name].version, self.feed.counts_version, beat

    @contextmanager
    def _counted(self) -> Any:
        self._viewers += 1
        self._measured.viewers.set(self._viewers)
        try:
            yield
        finally:
            self._viewers -= 1
            self._measured.viewers.set(self._viewers)


def _event(name: str, text: str) -> bytes:
    body = "".join(f"data: {line}\n" for line in text.splitlines()) or "data: \n"
    return f"event: {name}\n{body}\n".encode()
