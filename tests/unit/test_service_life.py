"""The ready file: there while a service takes work, gone before and after."""

import asyncio
import gc
from pathlib import Path

import pytest

from neverblink.service_life import READY_FILE, ready, run_service, running


async def test_the_ready_file_is_there_only_while_the_service_takes_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ready"
    file.touch()  # left by a killed predecessor
    monkeypatch.setenv(READY_FILE, str(file))
    seen = []

    async def main(stop: asyncio.Event) -> None:
        seen.append(file.exists())
        ready("test")
        seen.append(file.exists())

    await run_service("test", main)
    assert seen == [False, True]
    assert not file.exists()


async def test_a_loop_that_turns_keeps_the_ready_file_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ready"
    monkeypatch.setenv(READY_FILE, str(file))
    monkeypatch.setattr(running, "_BEAT_S", 0.01)

    async def main(stop: asyncio.Event) -> None:
        ready("test")
        first = file.stat().st_mtime_ns
        for _ in range(200):
            await asyncio.sleep(0.01)
            if file.stat().st_mtime_ns > first:
                return
        pytest.fail("the file grew old while the loop turned")

    await run_service("test", main)


async def test_a_ready_file_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(READY_FILE, str(tmp_path / "absent" / "ready"))
    done = []

    async def main(stop: asyncio.Event) -> None:
        ready("test")
        done.append(True)

    await run_service("test", main)
    assert done


async def test_the_collector_does_not_walk_again_what_was_there_before_the_work_began() -> None:
    libraries: dict[str, list[int]] = {"imported": []}
    walked: list[bool] = []

    async def main(stop: asyncio.Event) -> None:
        walked.append(any(one is libraries for one in gc.get_objects()))

    assert any(one is libraries for one in gc.get_objects())
    await run_service("bridge", main)
    assert walked == [False]
