"""The duties of standing by, beside a scorer's work: they begin again by themselves, and their trouble is theirs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

from neverblink import telemetry
from neverblink.kafka import EventProducer, KafkaError, Partition
from neverblink.kafka.group_progress import GroupProgress
from neverblink.plant import Plant
from neverblink.scorer.service import Scorer
from neverblink.scorer.slot_follower import Freshness
from neverblink.scorer.standby.answer_follower import BY_STANDBY, AnswerFollower
from neverblink.scorer.standby.standby import Standby
from neverblink.service_life import Duty, keeping

_AGAIN_S = 2.0
_KNOWN_WITHIN_S = 2.0


def group_of(plant: Plant) -> str:
    """Return the group that shares the frames among its scorers."""
    return f"{plant.kafka.topic_prefix}-scorer"


@contextlib.asynccontextmanager
async def standing_by(
    plant: Plant,
    name: str,
    scorer: Scorer,
    answers: AnswerFollower | None,
    freshness: Freshness,
    *,
    own: Callable[[], Collection[Partition]],
) -> AsyncIterator[None]:
    """Follow the others' answers and stand by for them until the block is left; without `answers` do neither.

    `own` are the partitions that this scorer has.
    """
    if answers is None:
        yield
        return
    stand = partial(_stand_by, plant, name, scorer, answers, freshness, own)
    following = Duty("following what others answer", answers.run)
    async with keeping("scorer", following, Duty("standing by for other scorers", stand)):
        # Who comes again has frames in hand that were answered meanwhile.
        await answers.known(_KNOWN_WITHIN_S)
        yield


async def _stand_by(
    plant: Plant,
    name: str,
    scorer: Scorer,
    answers: AnswerFollower,
    freshness: Freshness,
    own: Callable[[], Collection[Partition]],
) -> None:
    recurring = telemetry.Recurring(telemetry.logger("scorer"))
    client_id = f"scorer-{name}-standby"
    while True:
        try:
            async with AsyncExitStack() as stack:
                # Its own: a write that waits for a broker must keep no write of this scorer's lines waiting.
                source = f"/{plant.site}/scorer{BY_STANDBY}"
                writes = ("verdicts", "evidence")
                producer = EventProducer(plant.kafka, source=source, client_id=client_id, writes=writes)
                await stack.enter_async_context(producer)
                progress = GroupProgress(plant.kafka, "frames", group_of(plant), client_id=client_id)
                await stack.enter_async_context(progress)
                emitter = scorer.emitter_of(producer)
                stack.callback(emitter.close)
                hedging = scorer.for_others(emitter, freshness)
                await Standby(
                    progress, answers, hedging, plant, own, scorer.taken, clock=lambda: datetime.now(UTC)
                ).run()
        except KafkaError as error:
            recurring.tell("away", f"{error}; no frame of another scorer is answered here meanwhile")
            await asyncio.sleep(_AGAIN_S)
