"""People put a line on hold by a command: the bridge hears of it, and a bridge that begins later too."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from typer.testing import CliRunner

from neverblink.bridge.service import _following_holds
from neverblink.brokers.development import DevelopmentBroker
from neverblink.cli import app
from neverblink.events import Hold
from neverblink.plant import EXAMPLE, load_plant


class Session:
    """A line of the bridge that remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[Hold] = []

    def hear(self, said: Hold) -> None:
        self.heard.append(said)


async def heard_from_the_start(plant_file: Path) -> list[str]:
    """Return the states that a bridge hears of which begins now."""
    sessions: Mapping[str, Session] = {"line-1": Session()}
    holds = _following_holds(load_plant(plant_file), sessions)  # type: ignore[arg-type]
    following = asyncio.create_task(holds.follow())
    try:
        await holds.known(20)
        return [hold.state for hold in sessions["line-1"].heard]
    finally:
        following.cancel()


async def test_a_line_is_put_on_hold_and_released_by_commands_that_every_bridge_hears_of(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    file = tmp_path / "plant.yaml"
    whole = EXAMPLE.replace("kafka-1:9092,kafka-2:9092,kafka-3:9092", development.bootstrap)
    head, _, rest = whole.partition("  security:")
    file.write_text(f"{head}  topic_prefix: t{uuid4().hex[:8]}\nstorage:{rest.partition('storage:')[2]}")

    async def command(*words: str) -> str:
        ran = await asyncio.to_thread(CliRunner().invoke, app, ["bridge", *words, "--plant", str(file)])
        return f"{ran.exit_code} {ran.output}"

    assert await heard_from_the_start(file) == []
    told = await command("hold", "line-1", "--why", "a new blade", "--by", "m.okafor")
    assert told.startswith("0 line-1: on hold since"), told
    assert "by m.okafor: a new blade" in told
    assert await heard_from_the_start(file) == ["hold"]
    assert "it was so already" in await command("hold", "line-1", "--why", "still", "--by", "m.okafor")
    assert "line-1: on hold since" in await command("holds")
    assert "line-1: released since" in await command("release", "line-1", "--why", "tried", "--by", "m.okafor")
    assert "neither on hold nor in bypass" in await command("holds")
    assert (await heard_from_the_start(file))[-1] == "released"
