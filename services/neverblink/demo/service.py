"""The demonstration: fit, start everything, run the conveyors, watch, compare, stop everything."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from neverblink.brokers.apache import free_port
from neverblink.demo import first_visit, summary
from neverblink.demo.board import Board
from neverblink.demo.conveyor_control import start_conveyor
from neverblink.demo.fitting import fit_models, known_weights
from neverblink.demo.observing.observers import Observers, observers_of
from neverblink.demo.observing.programs import deployed
from neverblink.demo.plant_file import write_plant
from neverblink.demo.proof import setting as proof
from neverblink.demo.proof.trial import Trial
from neverblink.demo.stream import Stream, folder_streams, simulated_streams
from neverblink.events import Verdict
from neverblink.kafka import EventConsumer, ensure_topics
from neverblink.plant import Plant
from neverblink.service_life.children import ProcessError, Services

EXIT_INTERRUPTED = 130
_READY_TIMEOUT_S = 120.0
_QUIET_LIMIT_S = 60.0
_TEXT_EVERY_S = 10.0
_BOARD_EVERY_S = 0.5
_LAST_EVENTS_S = 3.0
_SHOWING = ("broker", "ledger", "console")
"""What goes on for whoever looks at the parts of a run that has ended."""
_WHOLE: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False}
"""How a line with an address or a password is printed: it can be copied."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `neverblink demo` was asked for. `parts` None runs until Ctrl-C."""

    parts: int | None = None
    kafka: str = "development"
    images: Path | None = None
    weights: Path | None = None
    rate_per_s: float = 2.0
    folder: Path = Path("runs/demo")
    proof: bool = False
    """With parts that the model cannot see, holdouts, reference parts and simulated reviewers."""
    observe: bool = False
    """With what watches a plant: traces, metrics and alerts."""


async def run(settings: DemoSettings, console: Console) -> int:
    """Run the demonstration; return 0 when every gate did what the verdicts say, 1 when not, 130 interrupted."""
    weights_file = known_weights(settings.images, settings.weights)
    streams = _streams(settings, weights_file)
    if settings.observe:
        deployed()
    folder = first_visit.fresh(settings.folder)
    began = time.monotonic()
    fit_began = datetime.now(UTC)
    async with contextlib.AsyncExitStack() as stack:
        observers = await stack.enter_async_context(observers_of(folder)) if settings.observe else None
        services = Services(folder / "logs", observers.environment if observers else None)
        # Before what watches them: their last spans are still taken.
        stack.push_async_callback(services.stop)
        bootstrap = await stack.enter_async_context(_kafka(settings.kafka, services, console))
        weights = {s.product: weights_file for s in streams if weights_file and "resnet18" in s.product}
        proven = proof.section() if settings.proof else None
        trace_url = observers.trace_url if observers else None
        plant = write_plant(folder, streams, bootstrap, weights, proven, first_visit.console_port(), trace_url)
        # Before the minutes of fitting: a cluster that nobody answers at is told at once.
        await ensure_topics(plant.kafka)
        console.print(await asyncio.to_thread(first_visit.invitation, plant, folder), **_WHOLE)
        await services.start("console", "console", "--plant", str(folder / "plant.yaml"), *_asked(observers, "console"))
        await asyncio.to_thread(fit_models, plant, streams, settings.images, weights, console)
        board = Board({stream.line: stream.title for stream in streams})
        parts = _parts_per_line(settings, streams)
        trial = Trial(plant, streams, parts, settings.rate_per_s) if settings.proof else None
        note = "Ctrl-C stops the lines" if not parts else f"{parts} parts on each line"
        note = f"{note}; the console is at {first_visit.address_of(plant)}"
        async with EventConsumer(plant.kafka, "verdicts", "actuations", "drift", client_id="demo-board") as consumer:
            if trial is not None:
                await trial.prepare()
            await _start_services(services, plant, folder, console, observers)
            if observers is not None:
                observers.measure()
                console.print(await observers.table())
            for line in plant.lines:
                assert line.plc is not None
                await start_conveyor(line.plc, settings.rate_per_s, parts)
            async with trial.judging() if trial is not None else contextlib.nullcontext():
                finished = await _watch(console, board, consumer, services, folder, parts * len(streams), note)
        if trial is not None and finished:
            await trial.conclude(console, {line: state.verdicts for line, state in board.lines.items()})
        # As long as a person sits there who has just seen how it went: then what is shown can be looked at.
        stays = console.is_terminal and (observers is not None if finished else not parts)
        if stays and not finished:
            await services.stop(but=_SHOWING)
        code = _conclude(console, board, streams, folder, fit_began, time.monotonic() - began)
        if not finished:
            console.print("interrupted: parts that were between camera and gate are counted as they stood", style="dim")
        _lead_on(console, plant, first_visit.rejected_part(plant, streams, board.lines), stays)
        await _lead_to_trace(console, observers, plant, first_visit.last_not_passed(streams, board.lines))
        if stays:
            await _interrupted().wait()
    return code if finished else EXIT_INTERRUPTED


def _streams(settings: DemoSettings, weights: Path | None) -> list[Stream]:
    if settings.images is None:
        return simulated_streams(proof.HIDDEN_RATE if settings.proof else 0.0)
    backbones = ["efficientnet-lite0"] if weights is None else ["resnet18", "efficientnet-lite0"]
    return folder_streams(settings.images.resolve(), backbones)


def _parts_per_line(settings: DemoSettings, streams: list[Stream]) -> int:
    if settings.parts is None:
        return 0
    # Real images: each line is shown all of them, so that its figures compare.
    return settings.parts if settings.images else -(-settings.parts // len(streams))


@contextlib.asynccontextmanager
async def _kafka(kind: str, services: Services, console: Console) -> AsyncIterator[str]:
    """Yield the address of the brokers: our development broker, Apache Kafka started here, or a cluster."""
    if kind == "development":
        port = free_port()
        await services.start("broker", "broker", "--port", str(port))
        await services.until_ready(["broker"], _READY_TIMEOUT_S, lambda name: None)
        console.print(f"development broker on 127.0.0.1:{port} (memory only)")
        yield f"127.0.0.1:{port}"
    elif kind == "local":
        from neverblink.brokers.apache import LocalKafka

        console.print("starting Apache Kafka on the local JVM …")
        async with LocalKafka() as kafka:
            console.print(f"Apache Kafka on {kafka.bootstrap}")
            yield kafka.bootstrap
    else:
        yield kind


def _asked(observers: Observers | None, service: str) -> list[str]:
    return [] if observers is None else observers.asked(service)


async def _start_services(
    services: Services, plant: Plant, folder: Path, console: Console, observers: Observers | None
) -> None:
    file = str(folder / "plant.yaml")
    commands = {
        # In the demonstration's own folder its PLCs remember nothing of an earlier one: parts are of epoch 1.
        "plc-sim": [
            "plc-sim", "--plant", file, "--truth", str(folder / "gate.jsonl"), "--standing",
            "--certificates", str(folder / "simulated-plcs"),
        ],
        "scorer": ["scorer", "--plant", file],
        "bridge": ["bridge", "--plant", file],
        "ledger": ["ledger", "run", "--plant", file],
        "drift": ["drift", "--plant", file],
        **{
            f"camera-{line.name}": ["camera", "--plant", file, "--station", f"{line.name}/{station.name}"]
            for line, station in plant.stations()
        },
    }  # fmt: skip
    for name, arguments in commands.items():
        # The simulated PLCs are no service of ours: nobody asks them.
        await services.start(name, *arguments, *([] if name == "plc-sim" else _asked(observers, name)))
    names = ["console", *commands]
    await services.until_ready(names, _READY_TIMEOUT_S, lambda name: console.print(f"  {name} is ready"))


def _lead_on(console: Console, plant: Plant, reject: str | None, stays: bool) -> None:
    """Say where the console shows what was decided: first of all a rejected part."""
    place = reject or first_visit.address_of(plant)
    what = "a rejected part, with what the model saw" if reject else "what was decided"
    if stays:
        console.print(f"{what}: {place} (the console goes on; Ctrl-C ends it)", **_WHOLE)
        return
    console.print(f"{what}: {place} once the console runs again:", **_WHOLE)
    console.print(f"  neverblink console --plant {plant.storage.artifacts.parent / 'plant.yaml'}", **_WHOLE)


async def _lead_to_trace(console: Console, observers: Observers | None, plant: Plant, told: Verdict | None) -> None:
    """Say where the trace of a part that was not passed is shown, once all of it has come."""
    if observers is None or told is None:
        return
    place = await observers.trace_of(plant.site, told.part)
    if place is not None:
        console.print(f"the trace of a part that was not passed, from the trigger to the record: {place}", **_WHOLE)


async def _watch(
    console: Console,
    board: Board,
    consumer: EventConsumer,
    services: Services,
    folder: Path,
    parts: int,
    note: str,
) -> bool:
    """Follow the topics until `parts` have passed the gates; False when Ctrl-C or SIGTERM came first."""
    gate_log = folder / "gate.jsonl"
    clock = asyncio.get_running_loop().time
    watched = console.is_terminal
    last_shown = last_change = clock()
    gated = -1
    stop = _interrupted()
    with Live(board.table(note), console=console, auto_refresh=False) if watched else contextlib.nullcontext() as live:
        while not stop.is_set():
            for record in await consumer.poll(timeout_s=0.2):
                board.take(record)
            services.check()
            if clock() - last_shown >= (_BOARD_EVERY_S if watched else _TEXT_EVERY_S):
                last_shown = clock()
                if live is not None:
                    live.update(board.table(note), refresh=True)
                else:
                    console.print(board.line_of_text())
            now_gated = len(summary.gate_entries(gate_log))
            if now_gated != gated:
                gated, last_change = now_gated, clock()
            if parts and gated >= parts:
                break
            if parts and clock() - last_change > _QUIET_LIMIT_S:
                raise ProcessError(f"no part reached a gate for {_QUIET_LIMIT_S:.0f} s; see {folder / 'logs'}")
        # What the gates did last is still on its way.
        until = clock() + _LAST_EVENTS_S
        while parts and clock() < until:
            for record in await consumer.poll(timeout_s=0.2):
                board.take(record)
        if live is not None:
            live.update(board.table(), refresh=True)
    if not watched:
        console.print(board.table())
    return not stop.is_set()


def _interrupted() -> asyncio.Event:
    """Return an event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    import signal

    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        event.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return event


def _conclude(
    console: Console,
    board: Board,
    streams: list[Stream],
    folder: Path,
    fit_began: datetime,
    took_s: float,
) -> int:
    entries = summary.gate_entries(folder / "gate.jsonl")
    outcomes = [summary.outcome_of(stream, entries, board.lines[stream.line]) for stream in streams]
    summary.show(console, outcomes)
    first = board.first_verdict
    if first is not None:
        wait = (first.occurred - fit_began).total_seconds()
        console.print(f"first verdict {wait:.0f} s after the start of fitting; {took_s:.0f} s in all")
    stages = summary.latency_of_stages([v for state in board.lines.values() for v in state.verdicts.values()])
    shown = ", ".join(f"{name} {value:.0f} ms" for name, value in stages.items() if value is not None)
    console.print(f"median of each stage: {shown}", style="dim")
    console.print(f"plant file, models, logs and ledger are in {folder}", style="dim")
    console.print(f"  neverblink ledger stats --plant {folder / 'plant.yaml'}", style="dim")
    ending = summary.ending_of(outcomes, sum(state.incidents for state in board.lines.values()))
    for sentence in ending.sentences:
        console.print(sentence, style="bold green" if ending.good else "bold red")
    sys.stdout.flush()
    return 0 if ending.good else 1
