"""The console loses Kafka, the records and its life while a line runs: its pages say so, and nothing else notices."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import yaml
from sqlalchemy import select

from neverblink.brokers.apache import free_port
from neverblink.brokers.route import Route
from neverblink.events import Actuation, Verdict
from neverblink.plant import load_plant
from neverblink.records.part_tables import PartRow
from neverblink.records.reading import ReadOnlyRecords
from rigs.cuttable_network import CuttableNetwork
from rigs.demo_line import DemoLine, demo_line
from rigs.seeded_console import PASSWORD, make_accounts
from rigs.supervised_process import SupervisedProcess

pytestmark = pytest.mark.plant

WITHIN_S = 120.0
PAGES = (
    "/wall", "/wall/line-1", "/review", "/review/queue", "/quality", "/quality/drift", "/quality/reports",
    "/quality/agreement", "/alarms", "/alarms/performance", "/models", "/models/at/line-1/top", "/onboarding",
    "/health", "/runs", "/accounts", "/tokens", "/audit",
)  # fmt: skip


class Looking:
    """Somebody before the console's pages."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def sign_in(self) -> None:
        form = (await self.http.get("/sign-in")).text
        mark = form.split('name="csrf" value="')[1].split('"')[0]
        body = {"csrf": mark, "name": "admin", "password": PASSWORD}
        answer = await self.http.post("/sign-in", data=body, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 303, answer.text

    async def until(self, true: Callable[[str], bool], place: str = "/wall") -> str:
        """Look at a page again and again until something holds of its text."""
        text = ""
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    with contextlib.suppress(httpx.TransportError):  # while it begins again
                        text = (await self.http.get(place)).text
                        if true(text):
                            return text
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"{place} said to the end: {text}") from None

    async def answers(self) -> dict[str, int]:
        """Return how each page answers: one that hangs is a time-out of the client's."""
        return {place: (await self.http.get(place)).status_code for place in PAGES}


@contextlib.asynccontextmanager
async def console(folder: Path, bootstrap: str, ledger: str) -> AsyncIterator[tuple[SupervisedProcess, Looking]]:
    """Run a console as an orchestrator does, with its own ways to Kafka and to the records."""
    described = yaml.safe_load((folder / "plant.yaml").read_text())
    described["kafka"]["bootstrap"] = bootstrap
    described["storage"]["ledger"] = ledger
    described["console"] = {"port": free_port(), "database": f"sqlite:///{folder}/console.db"}
    file = folder / "console.yaml"
    file.write_text(yaml.safe_dump(described))
    make_accounts(load_plant(file), datetime.now(UTC)).close()
    address = f"http://127.0.0.1:{described['console']['port']}"
    words = ("-m", "neverblink", "console", "--plant", str(file))
    async with (
        SupervisedProcess("console", words, folder) as process,
        httpx.AsyncClient(base_url=address, timeout=WITHIN_S) as http,
    ):
        await process.said("listens at", within_s=WITHIN_S)
        looking = Looking(http)
        await looking.sign_in()
        yield process, looking


def at_port(url: str, port: int) -> str:
    """Return the address of a database behind another port of this machine."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rsplit(':', 1)[0]}:{port}"))


@pytest.mark.timeout(600)
async def test_a_line_loses_no_part_while_its_console_loses_kafka_the_records_and_its_life(
    tmp_path: Path, postgresql: str
) -> None:
    port = urlsplit(postgresql).port
    assert port is not None
    route, to_records = Route(free_port(), free_port()), Route(port, free_port())
    async with (
        demo_line(tmp_path, ledger=postgresql, routes=[route]) as line,
        CuttableNetwork([route]) as network,
        CuttableNetwork([to_records]) as way,
        console(tmp_path, network.bootstrap, at_port(postgresql, to_records.advertised)) as found,
    ):
        process, looking = found

        def shows(number: int) -> Callable[[str], bool]:
            return lambda text: line.serial(number) in text

        await line.run(2)
        await looking.until(lambda text: shows(1)(text) and shows(2)(text))
        await looking.until(lambda text: "are away" not in text)

        network.reset()
        await line.run(2)
        text = await looking.until(lambda text: "Kafka is away" in text)
        assert "Parts are as they were at" in text
        assert not shows(4)(text)
        assert max((await looking.answers()).values()) == 200
        network.mend()
        await looking.until(lambda text: "Kafka is away" not in text and shows(3)(text) and shows(4)(text))

        await way.refuse()
        await line.run(2)
        text = await looking.until(lambda text: "The records are away" in text and shows(6)(text))
        assert "Counts and alarms are as they were at" in text
        codes = await looking.answers()
        assert set(codes.values()) <= {200, 503}, codes
        assert {codes[one] for one in ("/wall", "/alarms", "/models", "/health", "/runs", "/accounts")} == {200}
        assert "The line goes on" in (await looking.http.get("/quality")).text
        await way.open()
        await looking.until(lambda text: "The records are away" not in text)

        running = asyncio.create_task(line.run(3))
        await line.read(Verdict, lambda seen: len(seen) >= 7)
        process.send(signal.SIGKILL)
        await running
        await looking.until(shows(9))
        assert process.restarts == 1
        assert max((await looking.answers()).values()) == 200
        await every_part_was_served(line, 9, postgresql)


async def every_part_was_served(line: DemoLine, parts: int, ledger: str) -> None:
    """Assert that each part has one verdict, was told to the PLC, passed the gate, and is in the records."""
    numbers = list(range(1, parts + 1))
    verdicts = await line.read(Verdict, lambda seen: len(seen) >= parts)
    assert sorted(one.tracking.number for one in verdicts if one.tracking is not None) == numbers

    def stages(seen: list[Actuation], stage: str) -> list[int]:
        return sorted(one.tracking.number for one in seen if one.stage == stage)

    acts = await line.read(Actuation, lambda seen: len(stages(seen, "told")) >= parts <= len(stages(seen, "gate")))
    assert stages(acts, "told") == numbers
    assert stages(acts, "gate") == numbers
    assert [one for one in acts if one.incident] == []
    records = ReadOnlyRecords(ledger, answer_s=30)
    query = select(PartRow.number).where(PartRow.decision.is_not(None), PartRow.gate.is_not(None))
    kept: list[int | None] = []
    async with asyncio.timeout(WITHIN_S):
        while len(kept) < parts:
            with records.asking() as session:
                kept = sorted(session.scalars(query), key=lambda one: one or 0)
            await asyncio.sleep(0.2)
    records.close()
    assert kept == numbers
