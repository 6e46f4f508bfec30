"""`neverblink camera`: runs the nodes of one or more stations in one process, and learns a station's limits."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neverblink import telemetry
from neverblink.camera.holdouts import Holdouts
from neverblink.camera.instruments import instruments, observe_waiting
from neverblink.camera.known_parts import KnownParts
from neverblink.camera.learnt_limits import FEWEST, LearntLimits, learn
from neverblink.camera.line_contexts import LineContexts
from neverblink.camera.live import LiveSource
from neverblink.camera.picture import SourceError
from neverblink.camera.service import CameraNode
from neverblink.camera.sources import open_source, ordered_images
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.kafka.service_reports import ServiceReports
from neverblink.plant import HardwareTrigger, Line, Plant, PlantError, Station, Storage
from neverblink.service_life import Duty, keeping, run_service, supervise
from neverblink.service_life.standing import Parts, Standing, in_words, keep_standing
from neverblink.storage.frame_objects import ObjectError, ObjectStore
from neverblink.vision.decode import ImageError, read_image
from neverblink.vision.quality import measure

_SWEEP_EVERY_S = 600.0
_SILENT_S = 30.0
_CONTEXT_WITHIN_S = 3.0


def chosen_stations(plant: Plant, names: Sequence[str]) -> list[tuple[Line, Station]]:
    """Return the stations named `LINE/STATION`, all of the plant when none is named. Raises PlantError."""
    if not names:
        return list(plant.stations())
    found = []
    for name in names:
        line_name, slash, station_name = name.partition("/")
        if not slash:
            raise PlantError(f"{name!r} names no station; write LINE/STATION, such as line-1/top")
        line = plant.line(line_name)
        found.append((line, line.station(station_name)))
    return found


async def run(plant: Plant, names: Sequence[str] = ()) -> None:
    """Run the nodes until SIGTERM, or until every timer's parts are through."""
    stations = chosen_stations(plant, names)
    holdouts = Holdouts(plant.proof.holdouts)

    telemetry.setup("camera", plant.site)

    async def main(stop: asyncio.Event) -> None:
        await ensure_topics(plant.kafka, ("frames", "verdicts"))
        client_id = f"camera-{stations[0][0].name}"
        producer = EventProducer(
            plant.kafka, source=f"/{plant.site}/camera", client_id=client_id, writes=("frames", "verdicts")
        )
        sweep = Duty("sweeping large images", partial(_sweep_objects, plant.storage), may_finish=True)
        contexts = LineContexts(plant.kafka, {line.name for line, _ in stations}, client_id=f"{client_id}-context")
        following = Duty("following the context", contexts.follow)
        drawing = Duty("following the holdout keys", holdouts.follow)
        for line in {line.name: line for line, _ in stations}.values():
            telemetry.logger("camera").info(holdouts.told(line), extra={"fields": {"line": line.name}})
        places = [(line.name, station.name) for line, station in stations]
        known = KnownParts(plant.kafka, places, plant.proof.challenges.references, client_id=f"{client_id}-challenges")
        challenges = (
            Duty("following announcements of reference parts", known.follow),
            Duty("reading the reference parts", known.read_references),
        )
        async with producer, keeping("camera", sweep, following, drawing, *challenges):
            await asyncio.gather(contexts.known(_CONTEXT_WITHIN_S), known.known(_CONTEXT_WITHIN_S))
            measured = instruments()
            nodes = [
                CameraNode(
                    line,
                    station,
                    producer,
                    plant.storage,
                    depth=plant.depth(station),
                    context=contexts.of(line.name),
                    mark=holdouts.of(line),
                    known=known.of(line.name, station.name),
                    measured=measured,
                )
                for line, station in stations
            ]
            observe_waiting(
                lambda: [(line, station, node.waiting) for (line, station), node in zip(places, nodes, strict=True)]
            )
            names = [f"{line.name}/{station.name}" for line, station in stations]
            duties = [
                # What a node holds is gone with it: a process that ends is started anew, whole.
                Duty(f"station {name}", partial(node.run, stop), again=False, may_finish=True)
                for name, node in zip(names, nodes, strict=True)
            ]
            standing = Standing("camera", stations=names)
            parts = partial(_parts, dict(zip(names, nodes, strict=True)), producer)
            # Beside the stations, not among them: these may finish, and then the node has.
            telling = Duty("the standing", partial(keep_standing, standing, parts, stop), may_finish=True)
            reports = ServiceReports(
                plant,
                "camera",
                instance=",".join(names),
                lines=sorted({line.name for line, _ in stations}),
                amiss=lambda: standing.amiss,
            )
            async with reports, keeping("camera", telling):
                await supervise("camera", duties, stop)

    await run_service("camera", main)


def _parts(nodes: Mapping[str, CameraNode], producer: EventProducer) -> Parts:
    listening = {
        name: None if node.listening.is_set() else "it does not hear its trigger" for name, node in nodes.items()
    }
    return {**listening, "sending": in_words(producer.troubles)}


def sweep_objects(plant: Plant) -> int:
    """Delete images that are older than the plant keeps them; return how many hours of them. Raises PlantError."""
    objects = ObjectStore.of(plant.storage)
    if objects is None:
        raise PlantError("the plant file has no storage.objects: there is nothing to sweep")
    return objects.sweep(timedelta(hours=plant.storage.objects_keep_h), datetime.now(UTC))


def learn_limits(plant: Plant, name: str, images: Path | None, pictures: int, every_s: float) -> LearntLimits:
    """Learn a station's quality limits from a folder of good parts, or from pictures of its own source.

    Raises PlantError, LimitsError.
    """
    ((_, station),) = chosen_stations(plant, [name])
    depth = plant.depth(station)
    found: Iterator[tuple[str, NDArray[np.uint8]]]
    if images is None:
        own = islice(_pictures_of(station, name, every_s, depth), pictures)
        found = ((f"picture {number}", pixels) for number, pixels in enumerate(own, start=1))
    else:
        found = _images_of(images, depth)
    names, qualities, sizes = [], [], []
    for called, pixels in found:
        names.append(called)
        qualities.append(measure(pixels))
        sizes.append((pixels.shape[1], pixels.shape[0]))
    return learn(qualities, sizes, names)


async def _sweep_objects(storage: Storage) -> None:
    objects = ObjectStore.of(storage)
    log = telemetry.logger("camera")
    keep = timedelta(hours=storage.objects_keep_h)
    while objects is not None:
        try:
            hours = await asyncio.to_thread(objects.sweep, keep, datetime.now(UTC))
            if hours:
                log.info(f"{hours} hours of large images are deleted: they were older than {keep}")
        except ObjectError as error:
            log.warning(str(error))
        await asyncio.sleep(_SWEEP_EVERY_S)


def _images_of(folder: Path, depth: int | None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    files = ordered_images(folder, shuffle=False, seed=0) if folder.is_dir() else []
    if len(files) < FEWEST:
        raise PlantError(f"{folder} has {len(files)} images, and {FEWEST} are the fewest to learn limits from")
    for path in files:
        try:
            yield path.relative_to(folder).as_posix(), read_image(path, depth=depth)
        except ImageError as error:
            raise PlantError(f"{error}; good parts only, please") from error


def _pictures_of(station: Station, name: str, every_s: float, depth: int | None) -> Iterator[NDArray[np.uint8]]:
    """Yield pictures of the station's source: each that its camera fires, or one every `every_s`."""
    source = open_source(station, name, depth=depth)
    try:
        if isinstance(source, LiveSource) and isinstance(station.trigger, HardwareTrigger):
            yield from _fired(source)
            return
        number = 1
        asked = time.monotonic()
        while True:
            try:
                picture = source.grab(number, datetime.now(UTC))
            except SourceError as error:
                # A camera that is fired by its photo-eye shows nothing between two parts.
                if isinstance(source, LiveSource) and time.monotonic() - asked < _SILENT_S:
                    continue
                raise PlantError(f"{name}: picture {number} could not be had: {error}") from error
            yield picture.pixels
            time.sleep(every_s)
            number += 1
            asked = time.monotonic()
    finally:
        source.close()


def _fired(source: LiveSource) -> Iterator[NDArray[np.uint8]]:
    changed = threading.Event()
    source.start(changed.set)
    while True:
        changed.clear()
        ended = source.ended
        while (arrival := source.take()) is not None:
            if arrival.shot.fault is None:
                yield arrival.shot.pixels
        if ended:
            return
        if not changed.wait(_SILENT_S):
            raise PlantError(f"the camera has not fired for {_SILENT_S:.0f} s: let parts pass while limits are learnt")
