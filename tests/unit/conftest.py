"""What unit tests of one subject share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from console_desk import Console, plant_in, quick_hashes


@pytest.fixture
def quick_hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords are hashed with the least work."""
    with quick_hashes(monkeypatch):
        yield


@pytest.fixture
async def console(quick_hashing: None, tmp_path: Path) -> AsyncIterator[Console]:
    """A console of a plant without records, of which nobody has an account yet."""
    async with Console(plant_in(tmp_path)) as found:
        yield found
