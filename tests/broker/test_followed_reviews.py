"""Reviewers of a console share one producer and one consumer, and are told what others told a moment ago."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from review_page import now
from review_plant import plant_file, reviewed_plant, scored

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.reviews import followed
from neverblink.console.reviews.followed import FollowedTopics
from neverblink.events import Judgement
from neverblink.events.identity import verdict_id
from neverblink.kafka import KafkaError
from neverblink.plant import Plant
from neverblink.records.claims import LONGEST
from neverblink.reviewing import Answer, Desk, ReviewError
from neverblink.reviewing.desk import Where

PARTS = [scored(number) for number in (1, 2, 3)]


@asynccontextmanager
async def following(plant: Plant) -> AsyncIterator[FollowedTopics]:
    topics, stop = FollowedTopics(plant, now), asyncio.Event()
    task = asyncio.create_task(topics.follow(stop))
    try:
        yield topics
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_who_follows_and_who_reads_for_each_act_are_told_the_same(tmp_path: Path) -> None:
    async with DevelopmentBroker() as broker:
        file = plant_file(broker.bootstrap, tmp_path)
        async with reviewed_plant(file, *PARTS) as plant, following(plant) as topics:
            ann, bob = Desk(plant, "ann", topics=topics), Desk(plant, "bob")
            mine = await ann.take(Where())
            his = await bob.take(Where())
            assert mine is not None
            assert his is not None
            assert [mine.judged.part, his.judged.part] == ["1-1", "1-2"]
            with pytest.raises(ReviewError, match="bob holds 1-2"):
                await ann.take_named(verdict_id("line-1-2"))
            await bob.answer([Answer(his.judged.verdict, Judgement.NORMAL)])
            (answered,) = await ann.answer([Answer(mine.judged.verdict, Judgement.NORMAL)])
            assert answered.judgement == "normal"
            last = await ann.take(Where())
            assert last is not None
            assert last.judged.part == "1-3", "what bob answered a moment ago is not asked again"
            seen = await ann.show(his.judged.verdict)
            assert (seen.held_by, seen.judgement) == (None, "normal")
            later = Desk(plant, "bob", lambda: now() + 2 * LONGEST, topics=topics)
            again = await later.take_named(last.judged.verdict)
            assert again.judged.part == "1-3", "a claim of long ago holds nothing"


async def test_with_kafka_away_an_act_is_refused_within_its_time_and_works_again_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "_AGAIN_S", 0.1)
    async with DevelopmentBroker() as broker:
        file = plant_file(broker.bootstrap, tmp_path)
        async with reviewed_plant(file, *PARTS) as plant, following(plant) as topics:
            desk = Desk(plant, "ann", topics=topics)
            first = await desk.take(Where())
            assert first is not None
            await broker.stop()
            monkeypatch.setattr(followed, "WITHIN_S", 0.5)
            answers = [Answer(first.judged.verdict, Judgement.NORMAL)]
            with pytest.raises((KafkaError, TimeoutError)):
                await desk.answer(answers)
            await broker.start()
            monkeypatch.setattr(followed, "WITHIN_S", 20.0)
            async with asyncio.timeout(60):
                while True:
                    try:
                        await desk.answer(answers)
                        break
                    except (KafkaError, TimeoutError):
                        await asyncio.sleep(0.1)
            following_part = await desk.take(Where())
            assert following_part is not None
            assert following_part.judged.part == "1-2"
