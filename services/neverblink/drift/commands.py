"""`neverblink drift`: runs the drift service."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

from neverblink import telemetry
from neverblink.alarms.webhook import Webhook, WebhookError
from neverblink.drift.alert_sink import AlertSink
from neverblink.drift.app import DriftApp
from neverblink.drift.changelog import layout
from neverblink.drift.errors import DriftError
from neverblink.drift.faust_app import Store
from neverblink.drift.instruments import Instruments, instruments
from neverblink.kafka import DeadLetters, EventProducer, ensure_topics
from neverblink.kafka.service_reports import ServiceReports
from neverblink.kafka.trouble import Watch
from neverblink.plant import Plant
from neverblink.plant.references import ReferenceFile
from neverblink.service_life import Duty, end_all, given_time, keeping, run_service, wait_or_stop, walk_seldom
from neverblink.service_life.standing import Standing, in_words

_TICK_S = 0.5
_STOP_S = 6.0
_KEEP_S = 2.0
_RECOVERY_TIMEOUT_S = 120.0


async def run(plant: Plant, data_dir: Path | None) -> None:
    """Count verdicts and report closed windows until SIGTERM.

    The state is kept in memory, or on disk under `data_dir`, and in either case rebuilt from Kafka.
    Raises DriftError when the state cannot be used, KafkaError when Kafka cannot be reached.
    """

    async def main(stop: asyncio.Event) -> None:
        await serve(plant, data_dir, stop)

    telemetry.setup("drift", plant.site)
    walk_seldom()
    await run_service("drift", main)


async def serve(plant: Plant, data_dir: Path | None, stop: asyncio.Event) -> None:
    """Run the drift service until `stop` is set; open windows stay in the table for the next start."""
    if data_dir is not None:
        _check_writable(data_dir)
    await ensure_topics(plant.kafka, ("verdicts", "drift", "dead-letters"))
    found = await layout(plant.kafka)
    source = f"/{plant.site}/drift"
    producer = EventProducer(plant.kafka, source=source, client_id="neverblink-drift-reports")
    async with contextlib.AsyncExitStack() as stack:
        # Faust makes its folders even when the state is in memory; these go with the service.
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="neverblink-drift-"))
        await stack.enter_async_context(producer)
        store = Store(data_dir or Path(scratch), on_disk=data_dir is not None)
        letters = DeadLetters(producer, "drift")
        measured = instruments()
        sink = AlertSink(measured, await _webhook(plant, measured, stack))
        references = ReferenceFile(plant.proof.challenges.references)

        def known_good(name: str) -> bool:
            part = references.read().get(name)
            return part is not None and part.is_good

        drift = DriftApp(
            plant.kafka, plant.drift, found, producer, letters, store, sink, measured, known_good=known_good
        )
        try:
            await drift.app.start()
            if await _recovered(drift, stop):
                standing = Standing("drift", partitions=found.partitions, store=str(data_dir or "memory"))
                keeping_it = Duty("keeping what was counted", lambda: drift.keep_in_time(stop))
                async with ServiceReports(plant, "drift", amiss=lambda: standing.amiss), keeping("drift", keeping_it):
                    await _watch(drift, producer, standing, stop)
        finally:
            await _stop(drift)


async def _webhook(plant: Plant, measured: Instruments, stack: contextlib.AsyncExitStack) -> Webhook | None:
    if plant.drift.webhook is None:
        return None
    try:
        webhook = Webhook(
            plant.drift.webhook, "drift", "drift.webhook", measured.webhook_sent, measured.webhook_dropped
        )
        return await stack.enter_async_context(webhook)
    except WebhookError as error:
        raise DriftError(str(error)) from error


async def _watch(drift: DriftApp, producer: EventProducer, standing: Standing, stop: asyncio.Event) -> None:
    """Close the windows of silent stations, say what cannot be read or told, and notice when Faust gives up."""
    reading = Watch()
    closing: asyncio.Task[None] | None = None
    try:
        while True:
            _raise_if_crashed(drift)
            reading.follow(drift.unreachable_since, lambda: "no broker answers, so no verdicts are read")
            drift.measure()
            standing.update({"verdicts": in_words([reading.now]), "reports": in_words(producer.troubles)})
            # Not awaited here: while a report waits for Kafka, the service must say so, and stop when it is told to.
            if closing is None or closing.done():
                if closing is not None:
                    closing.result()
                closing = asyncio.create_task(drift.close_quiet_windows(), name="closing quiet windows")
            if await wait_or_stop(stop, _TICK_S):
                return
    finally:
        if closing is not None:
            await end_all([closing], within_s=2.0)


async def _stop(drift: DriftApp) -> None:
    """Stop the stream processor; with its brokers away it waits for them, and is left: its state is in Kafka."""
    await given_time(drift.keep_now(), seconds=_KEEP_S, name="keeping what was counted")
    ended = await given_time(drift.app.stop(), seconds=_STOP_S, name="the stream processor's end", cancelled_s=2.0)
    if not ended:
        telemetry.logger("drift").warning(
            f"the stream processor did not stop within {_STOP_S:g} s and is left; its state is rebuilt from Kafka"
        )
    elif not ended[0].cancelled() and (fault := ended[0].exception()) is not None:
        telemetry.logger("drift").warning(f"the stream processor stopped with {fault!r}")


async def _recovered(drift: DriftApp, stop: asyncio.Event) -> bool:
    """Wait for the table; returns False when told to stop meanwhile."""
    give_up = asyncio.get_running_loop().time() + _RECOVERY_TIMEOUT_S
    while not drift.is_recovered:
        _raise_if_crashed(drift)
        if asyncio.get_running_loop().time() > give_up:
            raise DriftError(
                f"the drift state was not rebuilt from Kafka within {_RECOVERY_TIMEOUT_S:.0f} s; "
                "are all brokers up, and may its user Create, Read and Write the topic of its state? "
                "With --data-dir only the newest changes are read"
            )
        if await wait_or_stop(stop, 0.05):
            return False
    return True


def _raise_if_crashed(drift: DriftApp) -> None:
    if drift.app.crashed:
        raise DriftError(f"the stream processor gave up: {drift.in_words(drift.app.crash_reason)}")
    if drift.refused is not None:
        raise drift.refused
    if drift.fault is not None:
        raise DriftError(f"the drift state could not be written to Kafka: {drift.in_words(drift.fault)}")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DriftError(
            f"the state cannot be kept in {folder}: {error.strerror}; give --data-dir a folder that this user may write"
        ) from error
