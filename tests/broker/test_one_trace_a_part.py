"""One trace a part, from the trigger to the record, over all processes; what is told of it is what an SRE looks for."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from neverblink.events import Actuation, Frame, Message, Verdict
from neverblink.kafka import EventConsumer, EventProducer
from rigs.registered_telemetry import REGISTRY
from rigs.span_tree import OtlpReceiver, Seen, Spans, faults_of, registered_as
from rigs.traced_plant import traced_plant

pytestmark = pytest.mark.plant

FRAMES, VERDICTS, ACTUATIONS = (f"neverblink.{name}" for name in ("frames", "verdicts", "actuations"))
SINGLE, DOUBLE = 8, 3
FIRST, TWICE = "line-1/1/1", "line-1/1/2"
LATE, SILENT = f"line-1/1/{SINGLE + 1}", f"line-2/1/{DOUBLE + 1}"

_KEPT_S = 2.0
"""For the ledger and drift to take what was told last; no claim is about that."""


@dataclass
class Told:
    """What was received, and what the topics say."""

    spans: Spans
    decisions: dict[str, str]

    def root(self, part: str) -> Seen:
        """Return a part's first span, of which there is one in all that was received."""
        (found,) = [one for one in self.spans.all if one.name == "part" and one["part"] == part]
        return found

    def any(self, line: str, decision: str) -> Seen:
        """Return the first span of a part that was so decided and told in time."""
        roots = [one for one in self.spans.all if one.name == "part" and one["part"] not in {FIRST, TWICE}]
        return next(
            one for one in roots if (one["line"], one["decision"], one["outcome"]) == (line, decision, "confirmed")
        )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Run all scenarios once; the processes have exported everything when they have ended."""
    with pytest.MonkeyPatch.context() as environment, OtlpReceiver() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.endpoint}/v1/traces")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "500")
        decisions = asyncio.run(_scenarios(tmp_path_factory.mktemp("traced")))
        yield Told(receiver, decisions)


async def _scenarios(folder: Path) -> dict[str, str]:
    async with (
        traced_plant(folder) as plant,
        EventConsumer(plant.plant.kafka, "frames", "verdicts", "actuations", client_id="test") as topics,
        EventProducer(plant.plant.kafka, source="/test", client_id="test") as producer,
    ):
        line = _Followed(topics, producer)
        # The first part of each line pays for what its processes do for the first time.
        await asyncio.gather(plant.run("line-1", 1), plant.run("line-2", 1))
        await line.until(gated=2, verdicts=3)
        await asyncio.gather(plant.run("line-1", SINGLE - 1), plant.run("line-2", DOUBLE - 1, 1.0))
        await line.until(gated=SINGLE + DOUBLE, verdicts=SINGLE + 2 * DOUBLE + 1)
        with plant.standing_still("scorer", "camera-2"):
            await asyncio.gather(plant.run("line-1", 1), plant.run("line-2", 1))
            await line.until(gated=SINGLE + DOUBLE + 2)
        await line.until(verdicts=SINGLE + 2 * DOUBLE + 2)
        await asyncio.sleep(_KEPT_S)
        return line.decisions


class _Followed:
    """What the topics say; the first frame of `TWICE` is sent again as soon as it is read, as a replay does."""

    def __init__(self, topics: EventConsumer, producer: EventProducer) -> None:
        self._topics, self._producer = topics, producer
        self._again = False
        self._gated: set[str] = set()
        self._verdicts = 0
        self.decisions: dict[str, str] = {}

    async def until(self, *, gated: int = 0, verdicts: int = 0) -> None:
        async with asyncio.timeout(90):
            while len(self._gated) < gated or self._verdicts < verdicts:
                for record in await self._topics.poll():
                    event = record.read(Frame, Verdict, Actuation)[0]
                    if isinstance(event, Frame) and event.part == TWICE and not self._again:
                        self._again = True
                        headers = list(record.headers)
                        await self._producer.send_record(
                            Message(record.topic, record.key.encode(), record.value, headers)
                        )
                    elif isinstance(event, Verdict):
                        self._verdicts += 1
                        self.decisions.setdefault(event.part, str(event.decision))
                    elif isinstance(event, Actuation) and event.stage == "gate":
                        self._gated.add(f"{event.line}/{event.tracking.number}")


def test_a_part_that_passes_has_one_trace_from_trigger_to_record(told: Told) -> None:
    root = told.any("line-1", "pass")
    spans, trace = told.spans, root.trace
    way = {
        "capture": ["trigger", "part"],
        "quality": ["trigger", "part"],
        "identify": ["trigger", "part"],
        "tell plc": [
            f"process {VERDICTS}",
            f"send {VERDICTS}",
            f"process {FRAMES}",
            f"send {FRAMES}",
            "trigger",
            "part",
        ],
    }
    for name, above in way.items():
        assert spans.ancestors(spans.one(trace, name)) == above, spans.tree(trace)
    assert [one.name for one in spans.of(trace) if not one.parent] == ["part"]
    gate, tell = spans.one(trace, "gate"), spans.one(trace, "tell plc")
    assert gate.parent == tell.id
    assert (gate["gate.action"], gate["fail_safe"]) == ("passed", False)
    assert spans.named(trace, "write")
    assert {one.parent for one in spans.named(trace, "write")} == {tell.id}
    assert len(spans.named(trace, f"send {ACTUATIONS}")) == 2
    takers = {one.service: spans.ancestors(one)[0] for one in spans.named(trace, f"process {VERDICTS}")}
    assert takers == dict.fromkeys(("bridge", "ledger", "drift"), f"send {VERDICTS}")
    assert len(spans.named(trace, f"process {ACTUATIONS}")) == 2


def test_the_trace_begins_at_the_plcs_trigger_and_times_follow_each_other(told: Told) -> None:
    root = told.any("line-1", "pass")
    trigger, capture, send, score, tell = (
        told.spans.one(root.trace, name) for name in ("trigger", "capture", f"send {FRAMES}", "score", "tell plc")
    )
    assert root.began <= trigger.began + 1_000_000
    order = [trigger.began, capture.began, send.began, score.began, tell.began, root.ended]
    assert order == sorted(order), told.spans.tree(root.trace)


def test_a_frame_and_its_batch_are_linked_both_ways_and_the_batch_names_its_stages(told: Told) -> None:
    spans, root = told.spans, told.any("line-1", "pass")
    score = spans.one(root.trace, "score")
    (link,) = score.links
    batch = spans.at(link)
    assert batch.name == "compute batch"
    assert (root.trace, spans.one(root.trace, f"process {FRAMES}").id) in batch.links
    assert set(batch.events) == {"embed", "search", "find"}
    assert set(score.events) == {"embed", "search", "find"}


def test_a_records_processing_is_linked_to_the_poll_that_brought_it_and_the_poll_to_what_sent_it(told: Told) -> None:
    spans, root = told.spans, told.any("line-1", "pass")
    process, send = spans.one(root.trace, f"process {FRAMES}"), spans.one(root.trace, f"send {FRAMES}")
    (link,) = process.links
    poll = spans.at(link)
    assert (poll.name, poll.kind) == (f"poll {FRAMES}", "client")
    assert (root.trace, send.id) in poll.links
    assert poll.attributes["messaging.consumer.group.name"] == process.attributes["messaging.consumer.group.name"]
    kept = next(one for one in spans.named(root.trace, f"process {VERDICTS}") if one.service == "ledger")
    names = sorted(spans.at(one).name.split(" ")[0] for one in kept.links)
    assert names == ["keep", "poll"]


def test_a_rejected_part_says_so_on_the_spans_by_which_a_collector_decides(told: Told) -> None:
    root = told.any("line-1", "reject")
    process = told.spans.one(root.trace, f"process {FRAMES}")
    assert (root["decision"], process["decision"]) == ("reject", "reject")
    assert told.spans.one(root.trace, "gate")["gate.action"] == "rejected"


def test_the_pictures_that_are_kept_of_a_reject_are_told_behind_what_sent_them(told: Told) -> None:
    root = told.any("line-1", "reject")
    sent = {one.id for one in told.spans.named(root.trace, "send neverblink.evidence")}
    assert sent
    kept = {one["picture"]: one.parent for one in told.spans.named(root.trace, "keep picture")}
    assert kept.pop("frame") in {one.id for one in told.spans.named(root.trace, f"send {FRAMES}")}
    assert kept
    assert set(kept.values()) <= sent


def test_a_late_parts_trace_shows_the_verdict_that_came_too_late_and_its_score_for_statistics(told: Told) -> None:
    spans, root = told.spans, told.root(LATE)
    assert (root["decision"], root["outcome"], root["late"]) == ("unscored", "late", True)
    assert root["missing"] == ["top"]
    assert root.failed
    process = spans.one(root.trace, f"process {FRAMES}")
    assert (process["decision"], process["reason"], process["late"]) == ("unscored", "late", True)
    told_too_late = spans.one(root.trace, f"process {VERDICTS}", effect="late")
    assert told_too_late.began > root.ended
    assert spans.one(root.trace, "score")["cause"] == "late-frame"
    assert spans.one(root.trace, "gate")["fail_safe"]


def test_a_part_of_which_no_station_spoke_has_the_gates_fail_safe_in_its_trace(told: Told) -> None:
    spans, root = told.spans, told.root(SILENT)
    assert (root["decision"], root["outcome"]) == ("unscored", "late")
    assert root["missing"] == ["top", "side"]
    gate = spans.one(root.trace, "gate")
    assert (gate.parent, gate["gate.action"], gate["fail_safe"]) == (root.id, "fail-safe", True)
    assert not [one for one in spans.of(root.trace) if one.name == "score" and one.ended < root.ended]


def test_a_part_with_two_stations_has_one_trace_with_both_and_is_told_once(told: Told) -> None:
    spans, root = told.spans, told.root("line-2/1/2")
    triggers = spans.named(root.trace, "trigger")
    assert {one["station"] for one in triggers} == {"top", "side"}
    assert {one.parent for one in triggers} == {root.id}
    assert {one["station"] for one in spans.named(root.trace, f"process {FRAMES}")} == {"top", "side"}
    tell = spans.one(root.trace, "tell plc")
    heard = [one for one in spans.named(root.trace, f"process {VERDICTS}") if one.service == "bridge"]
    assert len(heard) == 2
    if root["decision"] == "pass":
        waiting = next(one for one in heard if one["effect"] == "waiting")
        assert tell.links == ((root.trace, waiting.id),)


def test_a_frame_that_is_scored_twice_shows_both_in_the_one_trace(told: Told) -> None:
    spans, root = told.spans, told.root(TWICE)
    processed = spans.named(root.trace, f"process {FRAMES}")
    assert {one.parent for one in processed} == {spans.one(root.trace, f"send {FRAMES}").id}
    assert [one.attributes["messaging.message.id"] for one in processed] == [
        processed[0].attributes["messaging.message.id"]
    ] * 2
    assert len(spans.named(root.trace, "score")) == 2
    heard = [one for one in spans.named(root.trace, f"process {VERDICTS}") if one.service == "bridge"]
    assert sorted(one["effect"] for one in heard) == ["decided", "duplicate"]
    assert len(spans.named(root.trace, "tell plc")) == 1


def test_every_span_that_a_plant_makes_is_registered_as_it_is_and_all_but_those_of_people_were_seen(told: Told) -> None:
    assert faults_of(told.spans.all) == []
    seen = {registered_as(one.name) for one in told.spans.all}
    assert REGISTRY["spans"].keys() - seen <= {"review", "unscored", "judge again"}


def test_no_part_is_told_of_in_two_traces(told: Told) -> None:
    traces: dict[str, set[str]] = {}
    for one in told.spans.all:
        if part := one.attributes.get("neverblink.part"):
            traces.setdefault(part, set()).add(one.trace)
    assert {part: len(found) for part, found in traces.items() if len(found) != 1} == {}
    assert len(traces) >= SINGLE + DOUBLE + 2
