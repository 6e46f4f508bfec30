"""`neverblink scorer`: reads which models are active, loads them, then joins the group."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial

from neverblink import telemetry
from neverblink.events import ModelSlots
from neverblink.kafka import EventConsumer, EventProducer, LatestEvents, ensure_topics
from neverblink.kafka.membership import Membership
from neverblink.kafka.service_reports import ServiceReports
from neverblink.plant import Plant
from neverblink.scorer.instruments import Instruments, instruments, observe_models
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.scorer.slot_follower import READ_WITHIN_S, Freshness, SlotFollower
from neverblink.scorer.standby.answer_follower import AnswerFollower
from neverblink.scorer.standby.standing_by import group_of, standing_by
from neverblink.service_life import Duty, keeping, run_service, supervise
from neverblink.service_life.standing import Parts, Standing, in_words, keep_standing
from neverblink.storage.frame_objects import ObjectStore

_GRACE_S = 8.0
"""Five seconds for the frames in hand, and time to commit: what cannot be sent is scored again by who comes next."""

_TOPICS = ("frames", "verdicts", "shadow-verdicts", "evidence", "models", "dead-letters")


async def run(plant: Plant, instance: str | None = None) -> None:
    """Run one scorer until SIGTERM. `instance` names it among the group's members, the host by default."""
    name = instance or socket.gethostname()

    telemetry.setup("scorer", plant.site)

    async def main(stop: asyncio.Event) -> None:
        await ensure_topics(plant.kafka, _TOPICS)
        # Before joining: a member that holds partitions must be able to score at once.
        measured = instruments()
        freshness = Freshness()
        models_of = partial(followed_models, client_id=f"scorer-{name}-models", freshness=freshness)
        async with models_of(plant, measured) as models:
            observe_models(models.faults, lambda: models.held_bytes)
            consumer = EventConsumer(
                plant.kafka,
                "frames",
                client_id=f"scorer-{name}",
                group=group_of(plant),
                membership=Membership(f"scorer-{name}", plant.scorer.session_s, plant.scorer.heartbeat_s),
            )
            producer = EventProducer(
                plant.kafka,
                source=f"/{plant.site}/scorer",
                client_id=f"scorer-{name}",
                writes=("verdicts", "evidence"),
            )
            answers = None if plant.scorer.standby == "none" else AnswerFollower.of(plant, client_id=f"scorer-{name}")
            async with producer:
                objects = ObjectStore.of(plant.storage)
                scorer = Scorer(
                    consumer,
                    producer,
                    models,
                    plant.scorer,
                    scales=plant.scales(),
                    depths=plant.depths(),
                    objects=objects,
                    measured=measured,
                    answers=answers,
                )
                standing = Standing("scorer", products=[product.name for product in plant.products])

                def parts() -> Parts:
                    return {"frames": in_words([consumer.trouble]), "verdicts": in_words(producer.troubles)}

                duties = [
                    # Its group and its work in hand are gone with it: a process that ends is started anew, whole.
                    Duty("scoring", partial(scorer.run, stop), again=False),
                    Duty("what waits", partial(scorer.backlog.follow, stop)),
                    Duty("the standing", partial(keep_standing, standing, parts, stop)),
                ]
                reports = ServiceReports(plant, "scorer", instance=name, amiss=lambda: standing.amiss)
                beside = standing_by(plant, name, scorer, answers, freshness, own=lambda: consumer.assignment)
                # Last of all: whose session runs has partitions, and their frames wait until it can score. And first to
                # go, while it can still answer for others.
                async with reports, beside, consumer:
                    await supervise("scorer", duties, stop, grace_s=_GRACE_S)

    await run_service("scorer", main)


@contextlib.asynccontextmanager
async def followed_models(
    plant: Plant, measured: Instruments | None = None, *, client_id: str, freshness: Freshness | None = None
) -> AsyncIterator[Models]:
    """Load the models that the topic says are active, and follow its changes until the block is left.

    `freshness` says afterwards, to whoever asks, whether they are those of now.
    Raises KafkaError when the topic cannot be read, and ModelError when nothing can score.
    """
    log = telemetry.logger("scorer")
    log.info("reading which models are active")
    async with LatestEvents(plant.kafka, ModelSlots, client_id=client_id) as events:
        slots = dict(await events.to_the_end(READ_WITHIN_S))
        log.info("loading models", extra={"fields": {"stations_with_slots": len(slots)}})
        wanted = [event for event in slots.values() if event is not None]
        models = await asyncio.to_thread(Models.load, plant, wanted, measured)
        async with keeping(
            "scorer", Duty("following the models", SlotFollower(events, models, freshness=freshness).run)
        ):
            yield models
