"""Are all parts judged, and rightly, while every service is stopped and started again under load, on a locked Kafka?

Apache Kafka with SCRAM over TLS, certificates and the registry's rights, one user for each service. Two simulated lines
with their PLCs, a camera node for each, two scorers, bridge, ledger, drift and console, each a process. Each is told to
stop and started anew in turn while parts go by. What must be 0: frames without a verdict, verdicts and actuations that
the records lack, parts that a gate passed and no first verdict did, parts whose records say otherwise than the topic.
What may be: parts that were late or that the PLC rejected by itself, counted by what stood still at that moment.
"""

import argparse
import asyncio
import contextlib
import platform
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Console

from neverblink.demo.conveyor_control import start_conveyor, stop_conveyor
from neverblink.demo.fitting import fit_models
from neverblink.demo.plant_file import write_plant
from neverblink.demo.stream import simulated_streams
from neverblink.demo.summary import gate_entries
from neverblink.events import Actuation, Decision, Frame, Reason, Verdict
from neverblink.kafka import EventConsumer
from neverblink.plant import Plant, load_plant
from neverblink.service_life.children import ProcessError, Services

# isort: split
from rigs.locked_plant import LockedPlant
from rigs.secured_kafka import SecuredKafka

SECOND = "disc"
"""What the second line's parts are: the demonstration's lie anyhow, and finding them is not what is measured."""
READY_S = 180.0
ATTEMPTS = 3
DRAIN_S = 120.0
NOBODY = "nothing stood still"


@dataclass
class Fleet:
    """The services, and when each was not there: from being told to stop until it said that it was ready."""

    services: Services
    commands: dict[str, list[str]]
    away: list[tuple[str, float, float]] = field(default_factory=list)
    _starts: Counter[str] = field(default_factory=Counter)

    async def start(self, *names: str) -> None:
        """Start these and wait until they are ready; each start has a log of its own.

        One that ends instead is started again, as whoever keeps services does: a busy broker may not answer in time.
        """
        for name in names:
            await self._begin(name)
        for name in names:
            for attempt in range(ATTEMPTS):
                try:
                    await self.services.until_ready([self._child(name)], READY_S, lambda _: None)
                    break
                except ProcessError as error:
                    if attempt == ATTEMPTS - 1:
                        raise
                    say(f"{name} is started again: {str(error).splitlines()[0]}")
                    await self.services.end(self._child(name))
                    await self._begin(name)

    async def _begin(self, name: str) -> None:
        self._starts[name] += 1
        await self.services.start(self._child(name), *self.commands[name])

    async def restart(self, name: str) -> None:
        """Tell one to stop, wait until it has gone, and start it again."""
        began = time.time()
        await self.services.end(self._child(name))
        await self.start(name)
        self.away.append((name, began, time.time()))
        say(f"{name} was away for {time.time() - began:.1f} s")

    def _child(self, name: str) -> str:
        return f"{name}.{self._starts[name]}"

    def away_at(self, begin: float, end: float) -> str:
        """Say who was not there at any time between two instants."""
        kinds = {name.split("-")[0] for name, gone, back in self.away if gone <= end and back >= begin}
        return ", ".join(sorted(kinds)) or NOBODY


@dataclass
class Found:
    """What the topics hold: frames, first verdicts by part and by frame, actuations."""

    frames: set[str] = field(default_factory=set)
    by_frame: dict[str, Verdict] = field(default_factory=dict)
    by_part: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    actuations: set[str] = field(default_factory=set)
    again: int = 0

    async def follow(self, kafka: EventConsumer) -> None:
        """Read until cancelled."""
        while True:
            for record in await kafka.poll():
                event = record.read(Frame, Verdict, Actuation)[0]
                if isinstance(event, Frame):
                    self.frames.add(event.id)
                elif isinstance(event, Actuation):
                    self.actuations.add(event.id)
                elif isinstance(event, Verdict) and event.frame_id in self.by_frame:
                    self.again += 1
                elif isinstance(event, Verdict):
                    self.by_frame[event.frame_id] = event
                    self.by_part.setdefault((event.line, event.part), event)


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def commands_of(locked: LockedPlant, folder: Path, plant: Plant) -> dict[str, list[str]]:
    """Return how each service is started, with the plant file of its user."""
    whole = folder / "plant.yaml"
    file = {
        party: str(locked.write(whole, party)) for party in ("scorer", "bridge", "ledger", "drift", "camera", "console")
    }
    return {
        **{f"scorer-{n}": ["scorer", "--plant", file["scorer"], "--instance", f"scorer-{n}"] for n in (1, 2)},
        "bridge": ["bridge", "--plant", file["bridge"]],
        "ledger": ["ledger", "run", "--plant", file["ledger"]],
        "drift": ["drift", "--plant", file["drift"]],
        "console": ["console", "--plant", file["console"]],
        **{
            f"camera-{line.name}": ["camera", "--plant", file["camera"], "--station", f"{line.name}/{station.name}"]
            for line, station in plant.stations()
        },
    }


def small_pictures(file: Path) -> Plant:
    """Have a plant's cameras send JPEG, and read it back: lossless pictures of 20 parts a second, encrypted, drawn and
    read again by who counts them, leave two cores no time to start anything.
    """
    document = yaml.safe_load(file.read_text())
    for line in document["lines"]:
        for station in line["stations"]:
            station["payload"] = {"format": "jpeg"}
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_plant(file)


async def run(secured: SecuredKafka, folder: Path, rate: float, rounds: int, settle_s: float) -> list[str]:
    """Restart everything so often; print what came of the parts, and return what must not be."""
    first = simulated_streams()[0]
    drawn = first.source.model_copy(update={"drawing": SECOND})
    streams = [first, replace(first, line="line-2", product=SECOND, title=f"simulated {SECOND}", source=drawn)]
    locked = LockedPlant(secured, folder, "rolling", partitions=4)
    await locked.allow()
    write_plant(folder, streams, locked.root.bootstrap, {}, console_port=0)
    plant = small_pictures(folder / "plant.yaml")
    if not all(plant.artifact_folder(product).exists() for product in plant.products):
        await asyncio.to_thread(fit_models, plant, streams, None, {}, Console(file=sys.stderr))
    root = plant.model_copy(update={"kafka": locked.root})
    services, found = Services(folder / "logs"), Found()
    fleet = Fleet(services, commands_of(locked, folder, plant))
    gates = folder / "gate.jsonl"
    reader = EventConsumer(root.kafka, "frames", "verdicts", "actuations", client_id="bench")
    try:
        plc = [
            "plc-sim", "--plant", str(folder / "plant.yaml"), "--truth", str(gates), "--standing",
            "--certificates", str(folder / "plcs"), "--reset-after", "1",
        ]  # fmt: skip
        await services.start("plc-sim", *plc)
        await fleet.start(*fleet.commands)
        async with reader:
            following = asyncio.create_task(found.follow(reader))
            for line in plant.lines:
                assert line.plc is not None
                await start_conveyor(line.plc, rate / len(plant.lines), 0)
            await asyncio.sleep(settle_s)
            for _ in range(rounds):
                for name in fleet.commands:
                    await fleet.restart(name)
                    await asyncio.sleep(settle_s)
            for line in plant.lines:
                assert line.plc is not None
                await stop_conveyor(line.plc)
            await asyncio.sleep(2 * max(line.timing.lead_s for line in plant.lines))
            missing = await settled(found, folder / "ledger.db")
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
    finally:
        await services.stop()
    return [*missing, *told(fleet, found, gate_entries(gates), folder / "ledger.db")]


async def settled(found: Found, ledger: Path) -> list[str]:
    """Wait until every frame has its verdict and the records have all; return what is missing after DRAIN_S."""
    give_up = time.monotonic() + DRAIN_S
    while True:
        verdicts = {one.id for one in found.by_frame.values()}
        missing = {
            "frames without a verdict": found.frames - found.by_frame.keys(),
            "verdicts that the records lack": verdicts - kept(ledger, "verdicts"),
            "actuations that the records lack": found.actuations - kept(ledger, "actuations"),
        }
        if not any(missing.values()) or time.monotonic() > give_up:
            return [f"{len(ids)} {what}" for what, ids in missing.items() if ids]
        await asyncio.sleep(2)


def kept(ledger: Path, table: str) -> set[str]:
    """Return the ids of events in the records."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)) as database:
        return {str(row[0]) for row in database.execute(f"SELECT id FROM {table}")}


def decided(ledger: Path) -> dict[str, str]:
    """Return each verdict's decision as the records have it."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)) as database:
        return {str(row[0]): str(row[1]) for row in database.execute("SELECT id, decision FROM verdicts")}


def told(fleet: Fleet, found: Found, gates: list[dict[str, object]], ledger: Path) -> list[str]:
    """Print the table; return what must not be."""
    faults: list[str] = []
    how: Counter[str] = Counter()
    why: Counter[tuple[str, str]] = Counter()
    for entry in gates:
        line, action = str(entry["line"]), str(entry["action"])
        verdict = found.by_part.get((line, f"{line}/{entry['epoch']}/{entry['number']}"))
        passed = action == "passed"
        if passed and (verdict is None or verdict.decision is not Decision.PASS):
            faults.append(f"{line} passed part {entry['number']}, whose verdict is {verdict and verdict.decision}")
        what = outcome(verdict, passed=passed, action=action)
        how[what] += 1
        if what not in {"passed", "rejected"}:
            why[what, fleet.away_at(float(str(entry["triggered"])), float(str(entry["gate_at"])))] += 1
    says = decided(ledger)
    faults += [
        f"the records say {says[one.id]} of {one.part}, the topic {one.decision}"
        for one in found.by_frame.values()
        if says.get(one.id, one.decision) != one.decision
    ]
    print(f"\n{platform.processor() or platform.machine()}, {len(gates)} parts at the gates,"
          f" {len(fleet.away)} restarts, {found.again} verdicts that came twice\n")  # fmt: skip
    print("| service | restarts | away, s: least to most |\n|---|---|---|")
    for name in fleet.commands:
        spans = [back - gone for one, gone, back in fleet.away if one == name]
        print(f"| {name} | {len(spans)} | {min(spans):.1f} to {max(spans):.1f} |")
    print("\n| what became of a part | parts |\n|---|---|")
    for what, count in how.most_common():
        print(f"| {what} | {count} |")
    print("\n| late, or rejected by the PLC itself | while away | parts |\n|---|---|---|")
    for (what, who), count in why.most_common():
        print(f"| {what} | {who} | {count} |")
    return faults


def outcome(verdict: Verdict | None, *, passed: bool, action: str) -> str:
    """Say in words what became of a part."""
    if verdict is None:
        return "no picture: the PLC rejected it"
    if verdict.decision is Decision.UNSCORED:
        return "late" if verdict.reason == Reason.LATE else f"unscored: {verdict.reason}"
    if verdict.decision is Decision.PASS:
        return "passed" if passed else f"to pass, not told in time: {action}"
    return "rejected"


def main() -> None:
    """Run and say whether something was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="parts a second, of both lines together")
    parser.add_argument("--rounds", type=int, default=3, help="how often each service is restarted")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds between two restarts")
    parser.add_argument("--keep", type=Path, default=None, help="keep all in this folder; models there are used")
    asked = parser.parse_args()

    async def work(folder: Path) -> list[str]:
        secured = SecuredKafka(session_ms=0, heap_mib=512)
        try:
            await secured.start()
            return await run(secured, folder, asked.rate, asked.rounds, asked.settle)
        finally:
            secured.stop()

    with TemporaryDirectory(prefix="neverblink-rolling-") as made:
        folder = asked.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        faults = asyncio.run(work(folder.resolve()))
    print(f"\nlost or wrong: {len(faults)}")
    for fault in faults[:20]:
        print(f"  {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
