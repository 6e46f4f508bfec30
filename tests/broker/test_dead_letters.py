"""Poison records in people's hands: seen, written again once, with who did it, and never in circles."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from neverblink.brokers.development import DevelopmentBroker
from neverblink.cli import main
from neverblink.events import TOPICS, DeadLetter, Message, Replay, Verdict, encode
from neverblink.events.examples import examples
from neverblink.kafka import DeadLetters, EventConsumer, EventProducer, Place, Record, ensure_topics
from neverblink.kafka.replaying import Seen, letters, planned
from neverblink.plant import Kafka

NOW = datetime.now(UTC)
(VERDICT,) = (event for event in examples() if isinstance(event, Verdict))


class Plant:
    """A plant file on a broker, and what a shell would see of it."""

    def __init__(self, folder: Path, broker: DevelopmentBroker, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=1, replication=1)
        self.file = folder / "plant.yaml"
        self._capsys = capsys

    async def run(self, *words: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._run, words)

    def _run(self, words: Sequence[str]) -> tuple[int, str]:
        before, sys.argv = sys.argv, ["neverblink", "dead-letters", *words, "--plant", str(self.file)]
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = before
        told = self._capsys.readouterr()
        return code, told.out + told.err

    async def read(self, topic: str) -> list[Record]:
        async with EventConsumer(self.kafka, topic, client_id="test") as consumer, asyncio.timeout(20):
            ends, found = await consumer.ends(), list[Record]()
            while len(found) < sum(ends.values()):
                found += await consumer.poll(100)
        return found

    async def set_aside(self, *records: Record, by: str = "ledger", why: str = "it does not fit its contract") -> None:
        async with EventProducer(self.kafka, source="/plant-1/test", client_id="test") as producer:
            for record in records:
                await DeadLetters(producer, by).send(record, why)


def record(message: Message, offset: int = 7, **changed: object) -> Record:
    fields = {"topic": message.topic, "partition": 0, "offset": offset, "time": NOW, "key": message.key.decode(),
              "value": message.value, "headers": tuple(message.headers), **changed}  # fmt: skip
    return Record(**fields)  # type: ignore[arg-type]


def verdict(number: int = 0) -> Message:
    return encode(VERDICT.model_copy(update={"id": f"v-{number}"}), source="/plant-1/scorer")


@pytest.fixture
async def plant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Plant]:
    async with DevelopmentBroker() as broker:
        made = Plant(tmp_path, broker, capsys)
        await ensure_topics(made.kafka)
        kafka = f"kafka: {{bootstrap: '{broker.bootstrap}', topic_prefix: {made.kafka.topic_prefix}, partitions: 1"
        made.file.write_text(
            f"site: plant-1\n{kafka}, replication: 1}}\nproducts: [{{name: pcb, artifact: pcb}}]\n"
            "lines: [{name: line-1, timing: {distance_to_gate_m: 2, speed_m_s: 1},"
            " stations: [{name: top, product: pcb, source: {kind: simulated, drawing: board},"
            " trigger: {kind: timer}}]}]\n"
        )
        yield made


async def test_a_record_is_written_again_as_it_was_once_and_who_did_it_stays(plant: Plant) -> None:
    message = verdict()
    await plant.set_aside(record(message))
    code, told = await plant.run("list", "--json")
    (letter,) = orjson.loads(told)
    assert (code, letter["service"], letter["refusal"]) == (0, "ledger", None)
    words = ("replay", letter["id"][:8], "--yes", "--by", "r.lindqvist", "--why", "the ledger was updated")
    code, told = await plant.run(*words)
    assert code == 0, told
    readers = "(bridge, scorer, drift"
    assert f"1 records go to {plant.kafka.topic_prefix}.verdicts again, for all its readers {readers}" in told
    assert "verdicts[0]@7 is written again as verdicts[0]@0" in told
    (again,) = await plant.read("verdicts")
    assert (again.key, again.value) == (message.key.decode(), message.value)
    assert list(again.headers) == [*message.headers, ("ce_replayof", letter["id"].encode())]
    assert again.read(Verdict)[0].id == "v-0"
    (kept,) = await plant.read("replays")
    replay = kept.read(Replay)[0]
    assert (replay.letter, replay.by, replay.why) == (letter["id"], "r.lindqvist", "the ledger was updated")
    assert kept.time <= again.time
    code, told = await plant.run(*words)
    assert code == 1
    assert "r.lindqvist had it written again at" in told
    assert len(await plant.read("verdicts")) == 1
    code, told = await plant.run("list")
    assert "r.lindqvist" in told


async def test_nothing_is_written_before_somebody_says_yes(plant: Plant) -> None:
    await plant.set_aside(record(verdict()))
    code, told = await plant.run("replay", "--topic", "verdicts")
    assert code == 1
    assert "nothing was written; --yes does it without a question" in told
    assert await plant.read("verdicts") == await plant.read("replays") == []


async def test_a_record_that_is_set_aside_again_is_not_written_in_circles(plant: Plant) -> None:
    await plant.set_aside(record(verdict()))
    assert (await plant.run("replay", "--topic", "verdicts", "--yes"))[0] == 0
    (again,) = await plant.read("verdicts")
    await plant.set_aside(again)
    code, told = await plant.run("replay", "--topic", "verdicts", "--yes")
    assert code == 1
    assert "it was written again already, and set aside once more" in told
    assert len(await plant.read("verdicts")) == 1
    assert (await plant.run("replay", "--topic", "verdicts", "--yes", "--again"))[0] == 0
    found = await plant.read("verdicts")
    assert [sum(name == "ce_replayof" for name, _ in one.headers) for one in found] == [1, 1, 1]


async def test_what_this_version_cannot_read_either_stays_where_it_is_and_the_others_go(plant: Plant) -> None:
    torn = record(verdict(1), 8, value=b'{"id": "v-1"')
    await plant.set_aside(record(verdict(0), 7), torn, record(verdict(2), 9))
    code, told = await plant.run("replay", "--service", "ledger", "--yes")
    assert code == 1
    assert "this version cannot read it either: the value of a neverblink.verdict.v1 is not JSON" in told.replace(
        "\n", " "
    )
    assert "2 of 3 records were written again" in told
    assert [one.read(Verdict)[0].id for one in await plant.read("verdicts")] == ["v-0", "v-2"]
    assert len(await plant.read("replays")) == 2


async def test_a_record_that_two_services_set_aside_goes_out_once(plant: Plant) -> None:
    await plant.set_aside(record(verdict()))
    await plant.set_aside(record(verdict()), by="drift")
    code, told = await plant.run("replay", "--topic", "verdicts", "--yes")
    assert code == 0
    assert "the same record as in letter" in told
    assert len(await plant.read("verdicts")) == 1


async def test_more_than_was_asked_for_is_refused_before_anything_is_written(plant: Plant) -> None:
    await plant.set_aside(*(record(verdict(number), number) for number in range(5)))
    code, told = await plant.run("replay", "--topic", "verdicts", "--yes", "--most", "4")
    assert code == 2
    assert "these are 5 records, more than --most 4" in told
    assert await plant.read("verdicts") == []


async def test_a_topic_that_is_misspelt_and_an_unknown_letter_are_told(plant: Plant) -> None:
    code, told = await plant.run("list", "--topic", "verdict")
    assert code == 2
    assert "did you mean 'verdicts'" in told
    code, told = await plant.run("replay", "nobody")
    assert code == 2
    assert "no dead letter is called 'nobody'" in told
    code, told = await plant.run("replay")
    assert code == 2
    assert "name letters, or choose them" in told


async def test_what_a_hostile_record_says_is_shown_and_obeyed_by_nobody(plant: Plant) -> None:
    message = verdict()
    poison = record(message, key="[bold red]line-1[/]", headers=(("\x1b[2J", b"\xff"), *message.headers))
    await plant.set_aside(poison, why="[link=x]\x1b]0;owned\x07")
    async with EventProducer(plant.kafka, source="/x", client_id="test") as producer:
        await producer.send_record(Message("dead-letters", b"line-1", b"no letter", [("ce_type", b"x")]))
    code, told = await plant.run("list")
    assert code == 0
    assert "\x1b" not in told
    assert "[bold red]" in told.replace("\n", "")
    (seen,) = await letters(plant.kafka)
    assert seen.refusal(again=False) == "the letter does not hold all bytes of the record's headers"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"topic": "models"}, "the newest record of models is what holds"),
        ({"topic": "context"}, "the newest record of context is what holds"),
        ({"topic": "dead-letters"}, "nothing is written to 'dead-letters' from here"),
        ({"topic": "replays"}, "nothing is written to 'replays' from here"),
        ({"topic": "elsewhere"}, "nothing is written to 'elsewhere' from here"),
        ({"truncated": True}, "only the record's beginning"),
        ({"recordkey": "line-\ufffd"}, "the record's whole key"),
        ({"recordkey": "k" * 512}, "the record's whole key"),
        ({"recordheaders": '[["ce_id","\ufffd"]]'}, "all bytes of the record's headers"),
    ],
)
def test_a_letter_that_does_not_hold_its_record_or_would_undo_something_is_refused(
    changed: dict[str, object], why: str
) -> None:
    (letter,) = (event for event in examples() if isinstance(event, DeadLetter))
    seen = Seen(letter.model_copy(update=changed), Place(0, 0), 12)
    plan = planned([seen], again=True)
    assert plan.wanted == ()
    ((_, said),) = plan.refused
    assert why in said


def test_every_topic_that_can_be_replayed_is_read_by_somebody() -> None:
    assert all(topic.readers for topic in TOPICS.values())
