"""One scorer of two is killed again and again: how many parts are late each time, with a standby and without?

One Apache Kafka node on the local JVM, two scorers as processes, stations in pairs on lines, frames at a share of what
**one** scorer does at most. Each time one of the two, in turn, is killed (and started again at once, as an orchestrator
does), the frames that are due until the next time count for it. Then the same with planned stops (SIGTERM). Before all
that, for some calm seconds, what standing by costs: CPU time of both scorers, and what their networks carry.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import neverblink  # before torch: says how OpenMP waits  # noqa: F401

# isort: split
from neverblink.brokers.apache import LocalKafka
from neverblink.events import Decision, Reason, Verdict
from neverblink.kafka import EventProducer, ensure_topics
from rigs.chaos_audit import Expected
from rigs.chaos_run import MEMBERS, Chaos, ChaosLine, Outcome, answered, fit_models, saturation, warm
from rigs.cuttable_network import CuttableNetwork
from rigs.steadiness import watched
from rigs.supervised_scorer import SupervisedScorer

READY = '"state":"ready"'
MIB = 1024 * 1024


@dataclass
class Found:
    """What came of one run. `kills` and `stops` are instants at which a scorer was killed or told to stop."""

    standby: str
    rate: float
    calm_s: float = 0.0
    cpu_s: float = 0.0
    carried: int = 0
    kills: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    ended: float = 0.0
    late: dict[float, int] = field(default_factory=dict)
    due: dict[float, int] = field(default_factory=dict)
    stood: dict[float, float] = field(default_factory=dict)
    """After each kill or stop, the longest time in which a thread of this program that only sleeps was not woken."""
    late_parts: list[str] = field(default_factory=list)
    without: int = 0
    hedged: int = 0


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


async def feed(line: ChaosLine, producer: EventProducer, rate: float, left_s: float, sent: list[Expected]) -> None:
    """Send frames until cancelled."""
    began, number = time.monotonic(), 0
    sends: set[asyncio.Task[None]] = set()

    async def send(count: int) -> None:
        sent.append(await line.publish(producer, count, left_s))

    while True:
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        task = asyncio.create_task(send(number))
        sends.add(task)
        task.add_done_callback(sends.discard)
        number += 1


async def each_in_turn(
    members: Sequence[SupervisedScorer], times: int, hit: Callable[[SupervisedScorer], None], settle_s: float
) -> dict[float, float]:
    """Hit one member after the other, and wait each time until it works again.

    Returns when, and how long the machine stood still meanwhile, seconds.
    """
    instants = {}
    for number in range(times):
        member = members[number % len(members)]
        before = member.restarts
        with watched() as seen:
            at = time.time()
            hit(member)
            await member.started_again(before)
            await member.said(READY, within_s=180)
            back_s = time.time() - at
            await asyncio.sleep(settle_s)
        instants[at] = seen.stood_s
        say(f"{number + 1} of {times}: back after {back_s:.1f} s; the machine stood for {seen.stood_s:.2f} s at most")
    return instants


async def measured(given: argparse.Namespace, artifacts: Path, folder: Path, standby: Literal["all", "none"]) -> Found:
    """Run once."""
    chaos = Chaos(
        frames=1, faults=0, stations=given.stations, nodes=1, budget_s=given.budget, standby=standby,
        saturate=given.saturate,
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(LocalKafka(1, heap_mib=320, routes=MEMBERS))
        line = ChaosLine(kafka, artifacts, folder, chaos)
        await ensure_topics(line.kafka)
        networks = [await stack.enter_async_context(CuttableNetwork(kafka.route(one))) for one in range(MEMBERS)]
        producer = await stack.enter_async_context(line.camera())
        members = [SupervisedScorer(f"scorer-{n}", line.seen_by(one), folder) for n, one in enumerate(networks)]
        outcome, sent = Outcome(chaos, 0.0, 0.0, []), list[Expected]()
        following = asyncio.create_task(line.follow(outcome.arrivals))
        async with AsyncExitStack() as running:
            await running.enter_async_context(members[0])
            await members[0].ready()
            await warm(line, producer, outcome)
            most = given.rate / given.load if given.rate else await saturation(line, producer, outcome)
            found = Found(standby, given.load * most)
            say(f"standby {standby}: one scorer does {most:.1f} frames/s, {found.rate:.1f} are sent")
            await running.enter_async_context(members[1])
            await members[1].ready()
            await warm(line, producer, outcome)
            feeding = asyncio.create_task(feed(line, producer, found.rate, given.budget, sent))
            await asyncio.sleep(3)
            began = [*(one.cpu_s for one in members)], [one.carried_bytes for one in networks], time.monotonic()
            await asyncio.sleep(given.calm)
            found.calm_s = time.monotonic() - began[2]
            found.cpu_s = sum(one.cpu_s for one in members) - sum(began[0])
            found.carried = sum(one.carried_bytes for one in networks) - sum(began[1])
            kills = await each_in_turn(members, given.kills, SupervisedScorer.kill, given.settle)
            stops = await each_in_turn(members, given.stops, lambda one: one.send(signal.SIGTERM), given.settle)
            found.kills, found.stops, found.stood = list(kills), list(stops), kills | stops
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            found.ended = time.time()
            await answered(outcome, sent, 60)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        records = await line.whole("verdicts")
    firsts: dict[str, Verdict] = {}
    for record in records:
        verdict, envelope = record.read(Verdict)
        if verdict.frame_id not in firsts:
            found.hedged += envelope.source.endswith("/standby")
            firsts[verdict.frame_id] = verdict
    count(found, sent, firsts)
    for one in found.late_parts:
        say(one)
    return found


def count(found: Found, sent: Sequence[Expected], firsts: dict[str, Verdict]) -> None:
    """Count for each kill and stop what was due until the next, and what of it was late."""
    instants = sorted([*found.kills, *found.stops])
    for one in sent:
        first = firsts.get(one.frame)
        if first is None:
            found.without += 1
            continue
        before = [at for at in instants if at <= one.deadline.timestamp()]
        if before:
            is_late = first.decision is Decision.UNSCORED and first.reason == Reason.LATE
            found.due[before[-1]] = found.due.get(before[-1], 0) + 1
            found.late[before[-1]] = found.late.get(before[-1], 0) + is_late
            if is_late:
                found.late_parts.append(_told_late(first, before[-1]))


def _told_late(verdict: Verdict, hit: float) -> str:
    told, due = verdict.times.emitted, verdict.deadline.timestamp()
    after = "" if told is None else f", told as late {told.timestamp() - due:.1f} s after that"
    return (
        f"late: partition {verdict.frame_partition}, captured {verdict.times.captured.timestamp() - hit:+.2f} s from"
        f" the kill or stop, due {due - hit:+.2f} s{after}"
    )


def table(runs: Sequence[Found], budget_s: float) -> None:
    """Print the figures, a column a run."""

    def late(one: Found, instants: Sequence[float]) -> list[int]:
        return [one.late.get(at, 0) for at in instants]

    def share(one: Found, instants: Sequence[float]) -> str:
        due = sum(one.due.get(at, 0) for at in instants)
        return f"{sum(late(one, instants))} of {due} ({sum(late(one, instants)) / max(1, due):.1%})"

    def spread(numbers: Sequence[float]) -> str:
        return f"{median(numbers):g} / {max(numbers)}" if numbers else "–"

    print(f"\n{budget_s:g} s from trigger to deadline, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n")
    print("| scorer.standby | " + " | ".join(one.standby for one in runs) + " |\n|---|" + "---|" * len(runs))
    rows: dict[str, Callable[[Found], str]] = {
        "frames/s sent": lambda one: f"{one.rate:.1f}",
        "kills": lambda one: str(len(one.kills)),
        "parts late per kill, median / worst": lambda one: spread(late(one, one.kills)),
        "parts late of those due between kills": lambda one: share(one, one.kills),
        "kills without a late part": lambda one: str(sum(not number for number in late(one, one.kills))),
        "planned stops, parts late": lambda one: f"{len(one.stops)}, {share(one, one.stops)}",
        "machine stood still, s, median / worst": lambda one: spread([round(at, 2) for at in one.stood.values()]),
        "frames that the standby answered first": lambda one: str(one.hedged),
        "frames without a verdict": lambda one: str(one.without),
        "calm, CPU of both scorers, cores": lambda one: f"{one.cpu_s / max(1e-9, one.calm_s):.3f}",
        "calm, MB/s of both scorers' networks": lambda one: f"{one.carried / max(1e-9, one.calm_s) / 1e6:.2f}",
    }
    for name, shown in rows.items():
        print(f"| {name} | " + " | ".join(shown(one) for one in runs) + " |")


def main() -> None:
    """Fit two models, run without and with a standby, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stops", type=int, default=10, help="planned ones")
    parser.add_argument("--stations", type=int, default=8, help="an even number: two on each line")
    parser.add_argument("--load", type=float, default=0.6, help="share of what one scorer can do at most")
    parser.add_argument("--rate", type=float, help="frames/s to send instead")
    parser.add_argument("--budget", type=float, default=1.5, help="seconds from capture to deadline")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds from a scorer's return to the next kill")
    parser.add_argument("--calm", type=float, default=60.0, help="seconds in which the cost is measured")
    parser.add_argument("--saturate", type=int, default=400, help="frames that measure what one can do at most")
    parser.add_argument("--size", type=int, default=256, help="side of what the model sees, pixels")
    parser.add_argument("--hedging", nargs="+", choices=("on", "off"), default=["off", "on"])
    parser.add_argument("--keep", type=Path, help="folder for the scorers' logs")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began = time.monotonic()
    with TemporaryDirectory() as place:
        artifacts, _ = fit_models(Path(place), given.size)
        runs = []
        for hedging in given.hedging:
            folder = (given.keep or Path(place)) / hedging
            folder.mkdir(parents=True)
            standby: Literal["all", "none"] = "all" if hedging == "on" else "none"
            runs.append(asyncio.run(measured(given, artifacts, folder, standby)))
            if given.rate is None:
                given.rate = runs[0].rate  # the others are compared at the same
    table(runs, given.budget)
    print(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
