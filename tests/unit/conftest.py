"""What unit tests of one subject share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from console_desk import Console

# The console takes seconds to import, and most unit tests have nothing to do with it.


@pytest.fixture
def quick_hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords are hashed with the least work."""
    from console_desk import quick_hashes

    with quick_hashes(monkeypatch):
        yield


@pytest.fixture
async def console(quick_hashing: None, tmp_path: Path) -> "AsyncIterator[Console]":
    """A console of a plant without records, of which nobody has an account yet."""
    from console_desk import Console, plant_in

    async with Console(plant_in(tmp_path)) as found:
        yield found
