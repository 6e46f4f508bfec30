"""What the console costs while parts stream, and how fast its pages come over millions of parts.

`live`: a seeded plant's console as a process of its own, events of RATE parts a second on the development broker, some
viewers that follow the wall and one Chromium among them: from an event's publication to the tile on the screen, the
browser's memory, the console's processor time with and without viewers. `pages`: the first answer of each page over a
ledger of `rigs.many_parts`, the console's clock at that ledger's end.

    python -m bench.line.console live --seconds 60
    python -m bench.line.console pages --ledger sqlite:////var/tmp/many-parts.db
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from bench.processes import cpu_s
from neverblink.brokers.apache import free_port
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ArtifactRef, Event, Slot
from neverblink.events.parts import Identity
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.model_registry.changes import Stamp, Target, activated
from neverblink.plant import Plant, load_plant
from rigs.many_parts import END, LINES
from rigs.seeded_console import PASSWORD, make_accounts, make_artifact, make_models, plant_in
from rigs.seeded_day import Model, Shape, parts_of
from rigs.served_console import chromium, signed_in

GOAL_MS, PAGE_GOAL_MS = 300.0, 150.0
ASKED = 40
PARTS, THRESHOLD = 5000, 4.2
# How long the console is looked at without viewers, and with many; with one: as long as is asked for.
BESIDE_S = 60.0
LOT, DAY = "lot-0-410", "2026-03-01"
# The first page of each view. `turn` makes each time another address, where an answer is kept for some seconds.
PAGES = (
    "/wall", "/wall/line-1", "/parts/{last}", "/review", "/review/queue", "/quality", f"/quality?line=line-1&lot={LOT}",
    "/quality?line=*", "/quality/drift", "/quality/reports", f"/quality/report?line=line-1&day={DAY}",
    f"/quality/report?line=line-1&lot={LOT}", "/quality/agreement", "/proven", "/alarms", "/alarms/performance",
    "/models", "/models/artifacts/{artifact}", "/models/at/line-1/top", "/models/at/line-1/top/threshold?last={turn}",
    "/onboarding", "/health", "/runs", "/accounts", "/audit",
)  # fmt: skip
# What the browser notes: of each new tile, the milliseconds from its event's publication (in its title) to the frame
# after the one that draws it.
_WATCH = """() => {
  window.seen = [];
  let known = new Set([...document.querySelectorAll('.tile .label')].map((one) => one.title));
  new MutationObserver(() => {
    const shown = [...document.querySelectorAll('.tile .label')];
    const fresh = shown.filter((one) => !known.has(one.title));
    known = new Set(shown.map((one) => one.title));
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const now = Date.now();
      for (const one of fresh) if (one.title.startsWith('at-')) window.seen.push(now - Number(one.title.slice(3, 16)));
    }));
  }).observe(document.getElementById('live'), { subtree: true, childList: true, attributes: true });
}"""


@asynccontextmanager
async def console_of(file: Path, plant: Plant, now: datetime | None = None) -> AsyncIterator[tuple[str, int]]:
    """Run a console as a process, its clock at `now`, and give its address and process id."""
    command = [sys.executable, "-m", "bench.line.console", "serve", str(file)]
    command += [] if now is None else ["--at", now.isoformat()]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    address = f"http://127.0.0.1:{plant.console.port}"
    try:
        async with httpx.AsyncClient() as asks, asyncio.timeout(60):
            while True:
                with suppress(httpx.HTTPError):
                    if (await asks.get(f"{address}/livez")).status_code == 200:
                        break
                await asyncio.sleep(0.2)
        yield address, process.pid
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def signed(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client that has signed in as administrator."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        form = (await client.get("/sign-in")).text
        mark = form.split('name="csrf" value="')[1].split('"')[0]
        body = {"csrf": mark, "name": "admin", "password": PASSWORD}
        answer = await client.post("/sign-in", data=body, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 303, answer.text
        yield client


async def stream(plant: Plant, models: Mapping[str, Sequence[Model]], rate: float, seconds: float) -> None:
    """Publish the events of so many parts a second; each part's serial number says when it was published."""
    now = datetime.now(UTC)
    shape = Shape(hours=0.001 + rate * seconds / 3600, every_s=2.0, last_minutes=0)
    parts = parts_of(shape, now, models)
    async with EventProducer(plant.kafka, source="/bench", client_id="bench") as producer:
        begin, sending = time.monotonic(), []
        for place, part in enumerate(parts[: int(rate * seconds)]):
            await asyncio.sleep(max(0.0, begin + place / rate - time.monotonic()))
            at, first = datetime.now(UTC), part.verdicts[0].times.captured
            told = f"at-{int(at.timestamp() * 1000)}-{place}"
            shown = part.events[: len(part.verdicts) + 2]
            sending += [producer.post(_moved(event, at - first, told)) for event in shown]
        await asyncio.gather(*sending)


def _moved(event: Event, span: timedelta, serial: str) -> Event:
    identity = Identity(serial=serial)
    if hasattr(event, "times"):
        times = {name: moment + span for name, moment in event.times if moment is not None}
        moved = event.times.model_copy(update=times)
        return event.model_copy(
            update={"times": moved, "deadline": event.deadline + span, "identity": identity}  # type: ignore[attr-defined]
        )
    return event.model_copy(update={"at": event.at + span, "identity": identity})  # type: ignore[attr-defined]


async def follow(address: str, cookies: httpx.Cookies) -> None:
    """Follow the wall as a browser does, until cancelled."""
    async with (
        httpx.AsyncClient(base_url=address, cookies=cookies, timeout=60) as client,
        client.stream("GET", "/live?line=line-1&line=line-2") as answer,
    ):
        assert answer.status_code == 200, answer.status_code
        async for _ in answer.aiter_bytes():
            pass


async def live(rate: float, seconds: float, viewers: int) -> None:
    """Print what a console does while parts stream."""
    with tempfile.TemporaryDirectory(prefix="bench-console-") as name:
        folder = Path(name)
        async with DevelopmentBroker() as broker:
            plant = plant_in(folder, broker.bootstrap, {"port": free_port(), "viewers": viewers + 4}, {})
            await ensure_topics(plant.kafka)
            models, _ = make_models(plant, datetime.now(UTC))
            make_accounts(plant, datetime.now(UTC)).close()
            async with console_of(folder / "plant.yaml", plant) as (address, pid), chromium() as browser:
                beside = min(seconds, BESIDE_S)
                alone = await _used(pid, stream(plant, models, rate, beside), beside)
                print(f"console without viewers: {alone:.1%} of a core at {rate:g} parts/s ({beside:g} s)")
                page = await signed_in(browser, address, "admin", PASSWORD)
                await page.goto(f"{address}/wall")
                await page.evaluate(_WATCH)
                memory = [await _heap(page)]
                noting = asyncio.create_task(_held(page, memory))
                one = await _used(pid, stream(plant, models, rate, seconds), seconds)
                noting.cancel()
                seen = np.array(await page.evaluate("window.seen"), float)
                memory.append(await _heap(page))
                async with signed(address) as client:  # so many pages of one person: sign-ins are slowed
                    others = [asyncio.create_task(follow(address, client.cookies)) for _ in range(viewers)]
                await asyncio.sleep(3)
                many = await _used(pid, stream(plant, models, rate, beside), beside)
                memory.append(await _heap(page))
                crowded = np.array(await page.evaluate("window.seen"), float)[len(seen) :]
                assert not any(follower.done() for follower in others), "each follows to the end"
                for follower in others:
                    follower.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                _told("one viewer", seen)
                _told(f"{viewers} more viewers", crowded)
                print(f"console with one viewer: {one:.1%} of a core; with {viewers} more: {many:.1%}, each"
                      f" {(many - one) / viewers:.2%}")  # fmt: skip
                print("browser's heap after a collection: " + ", ".join(f"{used / 1e6:.1f} MB" for used in memory))


def _told(who: str, ms: "np.ndarray[Any, Any]") -> None:
    if len(ms):
        middle, high = np.percentile(ms, (50, 95))
        print(f"event to pixel, {who}: median {middle:.0f} ms, p95 {high:.0f} ms of {len(ms)} tiles (goal {GOAL_MS:g})")


async def _used(pid: int, work: Any, seconds: float) -> float:
    before, began = cpu_s(pid), time.monotonic()
    await work
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    return (cpu_s(pid) - before) / (time.monotonic() - began)


async def _held(page: Any, memory: list[int]) -> None:
    """Note every minute what the page holds."""
    while True:
        await asyncio.sleep(60)
        memory.append(await _heap(page))


async def _heap(page: Any) -> int:
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    return int((await session.send("Runtime.getHeapUsage"))["usedSize"])


async def pages(ledger: str, asked: int) -> None:
    """Print how long the first answer of each page takes over a ledger."""
    last, digest = _newest(ledger)
    with tempfile.TemporaryDirectory(prefix="bench-console-") as name:
        folder = Path(name)
        async with DevelopmentBroker() as broker:
            plant = _many(folder, broker.bootstrap, ledger)
            await ensure_topics(plant.kafka)
            made = [
                make_artifact(plant.storage.artifacts, f"product-{number}", version, END - timedelta(days=9 * version))
                for number in range(1, LINES // 2 + 1)
                for version in (3, 4)
            ]
            reference = ArtifactRef(name="product-1", version="3", digest=digest)
            slot = Slot(artifact=reference, location="product-1-3", threshold=THRESHOLD)
            async with EventProducer(plant.kafka, source="/bench", client_id="bench") as producer:
                target, stamp = Target("line-1", "top", "product-1"), Stamp("bench", "to look at", END)
                await producer.send(activated(None, target, slot, stamp))
            make_accounts(plant, END).close()
            async with console_of(folder / "plant.yaml", plant, END) as (address, pid), signed(address) as client:
                await asyncio.sleep(5)  # so that it has read the topics
                for place in PAGES:
                    known = {"last": last, "artifact": made[-1].digest.removeprefix("sha256:")}
                    await _asked(client, pid, place, known, asked)


def _many(folder: Path, bootstrap: str, ledger: str) -> Plant:
    plant_in(folder, bootstrap, {"port": free_port(), "query_s": 30}, {})
    file = folder / "plant.yaml"
    described = yaml.safe_load(file.read_text())
    (first, *_), (product, *_) = described["lines"], described["products"]
    described["storage"]["ledger"] = ledger
    described["products"] = [
        {**product, "name": f"product-{n}", "artifact": f"product-{n}-3"} for n in range(1, LINES // 2 + 1)
    ]
    described["lines"] = [
        {
            **first,
            "name": f"line-{n + 1}",
            "plc": {**first["plc"], "endpoint": f"opc.tcp://127.0.0.1:48{n + 50}"},
            "stations": [{**one, "product": f"product-{n // 2 + 1}"} for one in first["stations"]],
        }
        for n in range(LINES)
    ]
    file.write_text(yaml.safe_dump(described, sort_keys=False))
    return load_plant(file)


def _newest(ledger: str) -> tuple[int, str]:
    """Return the last part, and the artifact that scored the last parts of line-1."""
    from sqlalchemy import func, select

    from neverblink.records.part_tables import PartRow
    from neverblink.records.reading import ReadOnlyRecords

    records = ReadOnlyRecords(ledger, answer_s=30)
    scored = select(PartRow.artifact_digest).where(PartRow.line == "line-1").order_by(PartRow.triggered.desc()).limit(1)
    with records.asking() as session:
        found = int(session.scalar(select(func.max(PartRow.id))) or 0), str(session.scalar(scored))
    records.close()
    return found


async def _asked(client: httpx.AsyncClient, pid: int, place: str, known: Mapping[str, Any], asked: int) -> None:
    times: list[float] = []
    status, used = 0, 0.0
    for turn in range(asked):
        used = cpu_s(pid) if turn == 1 else used
        address = place.format(turn=PARTS - turn, **known)
        began = time.perf_counter()
        status = (await client.get(address, follow_redirects=True)).status_code
        times.append((time.perf_counter() - began) * 1000)
    cost = (cpu_s(pid) - used) * 1000 / (asked - 1)
    first, p95 = times[0], float(np.percentile(times[1:], 95))
    verdict = "" if status != 200 else "holds" if p95 < PAGE_GOAL_MS else "missed"
    print(
        f"{place:42} {status} first {first:6.0f} ms, then median {np.median(times[1:]):5.0f}, p95 {p95:5.0f} {verdict};"
        f" {cost:4.0f} ms of a core each"
    )


def _serve(file: Path, at: datetime | None) -> None:
    """Be the console of a plant file, its clock at an instant where one is given."""
    from neverblink.console import commands, service

    if at is not None:
        behind = datetime.now(UTC) - at
        for module in (service, commands):
            setattr(module, "utc_now", lambda: datetime.now(UTC) - behind)  # noqa: B010 - one takes it from the other
    asyncio.run(commands.run(load_plant(file), print))


def _read(words: Sequence[str] | None = None) -> argparse.Namespace:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = reader.add_subparsers(dest="kind", required=True)
    streaming = kinds.add_parser("live")
    streaming.add_argument("--rate", type=float, default=50.0)
    streaming.add_argument("--seconds", type=float, default=600.0)
    streaming.add_argument("--viewers", type=int, default=20)
    paging = kinds.add_parser("pages")
    paging.add_argument("--ledger", required=True)
    paging.add_argument("--asked", type=int, default=ASKED)
    serving = kinds.add_parser("serve")
    serving.add_argument("file", type=Path)
    serving.add_argument("--at", type=datetime.fromisoformat)
    return reader.parse_args(words)


if __name__ == "__main__":
    asks = _read()
    if asks.kind == "live":
        asyncio.run(live(asks.rate, asks.seconds, asks.viewers))
    elif asks.kind == "pages":
        asyncio.run(pages(asks.ledger, asks.asked))
    else:
        _serve(asks.file, asks.at)
