"""What is on a line goes from a person to the camera nodes, and its history to the records."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from neverblink.brokers.development import DevelopmentBroker
from neverblink.camera.line_contexts import LineContexts
from neverblink.camera.triggers import Trigger
from neverblink.cli import main
from neverblink.kafka.line_contexts import context_history
from neverblink.plant import EXAMPLE, load_plant


async def context(capsys: pytest.CaptureFixture[str], plant: Path, *words: str) -> tuple[int, str]:
    """Run `neverblink context` as a shell would; returns its exit code and what it says."""

    def run() -> int:
        sys.argv = ["neverblink", "context", *words, "--plant", str(plant)]
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    before = sys.argv
    try:
        code = await asyncio.to_thread(run)
    finally:
        sys.argv = before
    told = capsys.readouterr()
    return code, told.out + told.err


def lot_on(contexts: LineContexts) -> str | None:
    values = contexts.of("line-1")(Trigger("p", 1, datetime.now(UTC)))
    return "not known" if values is None else values.identity.lot


async def test_what_a_person_puts_on_a_line_reaches_its_parts_and_is_remembered(
    development: DevelopmentBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plant.yaml"
    whole = EXAMPLE.replace("kafka-1:9092,kafka-2:9092,kafka-3:9092", development.bootstrap)
    head, _, rest = whole.partition("  security:")
    file.write_text(f"{head}  topic_prefix: t{uuid4().hex[:8]}\nstorage:{rest.partition('storage:')[2]}")
    plant = load_plant(file)
    contexts = LineContexts(plant.kafka, ["line-1"], client_id="test")
    following = asyncio.create_task(contexts.follow())

    async def lot_is(lot: str | None) -> None:
        async with asyncio.timeout(20):
            while lot_on(contexts) != lot:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)

    code, told = await context(capsys, file, "show")
    assert (code, told.split(":")[0]) == (0, "nothing is on line-1")
    code, told = await context(
        capsys, file, "set", "line-1", "--order", "4711", "--lot", "L42", "--attribute", "crew=2", "--by", "m.okafor"
    )
    assert code == 0, told
    assert "line-1: order 4711, lot L42, crew 2 from" in told
    await lot_is("L42")
    assert (await context(capsys, file, "set", "line-1", "--lot", "L43", "--from-part", "line-1/3/500"))[0] == 0
    code, told = await context(capsys, file, "set", "line-1", "--lot", "L44")
    assert (code, "whether that part has come is not known" in told) == (2, True)
    code, told = await context(capsys, file, "set", "line-1", "--clear", "--product", "gear")
    assert "not scheduled any more: order 4711, lot L43, crew 2 from part 3/500 on" in told
    assert "line-1 inspects pcb and goes on so: the product is recorded" in told.replace("\n", " ")
    await lot_is(None)
    code, told = await context(capsys, file, "show", "--json")
    (shown,) = orjson.loads(told)
    assert shown["entries"][-1]["product"] == "gear"
    history = await context_history(plant.kafka, ["line-1"])
    assert [(change.values.identity.lot, change.by == "m.okafor") for change in history] == [
        ("L42", True),
        ("L43", False),
        (None, False),
    ]
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
