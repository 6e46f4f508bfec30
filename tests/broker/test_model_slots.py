"""Models swapped on a running line: no frame is lost, and each verdict names the digest that really scored it."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from following_scorer import scoring, until
from rich.console import Console

from neverblink.brokers.broker import Broker
from neverblink.brokers.development import DevelopmentBroker
from neverblink.cli.models import tell_change, tell_rows
from neverblink.events import ArtifactRef, Decision, Frame, ModelSlots, Reason, ShadowVerdict, Slot, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventProducer, KafkaError, LatestEvents, ensure_topics
from neverblink.model_registry import registry
from neverblink.model_registry.changes import ModelsError, Stamp, Which
from neverblink.model_registry.what_scores import what_scores
from neverblink.plant import Plant
from neverblink.scorer.models import Models
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import TENSORS, ArtifactError
from rigs.scored_line import ScoredLine, fit_striped, refit_striped, sent, striped
from rigs.true_scores import TrueScores, true_scores

TOP = ("line-1", "top")
PICTURES = 12


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`striped` and `striped-2`, with other banks and other scores."""
    artifacts = fit_striped(tmp_path_factory.mktemp("two-models"))
    refit_striped(artifacts, "striped-2", ratio=0.02)
    return artifacts


@pytest.fixture(scope="session")
def truth(two_models: Path) -> TrueScores:
    """Return what each digest's artifact gives for each of the first pictures of a line, by digest and number."""
    pictures = [striped(number, defect=number % 5 == 0) for number in range(PICTURES)]
    return true_scores(two_models, ("striped", "striped-2"), pictures)


class SlottedLine(ScoredLine):
    """A scored line whose models are changed while it runs."""

    def __init__(self, bootstrap: str, artifacts: Path, tmp_path: Path) -> None:
        super().__init__(bootstrap, artifacts)
        storage = self.plant.storage.model_copy(update={"model_cache": tmp_path / "cache"})
        self.plant: Plant = self.plant.model_copy(update={"storage": storage})
        self.artifacts = artifacts

    def slot(self, name: str, threshold: float | None = None) -> Slot:
        found = load_artifact(self.artifacts / name)
        reference = ArtifactRef(name=found.name, version=found.version, digest=found.digest)
        return Slot(artifact=reference, location=name, threshold=threshold)

    def slots(self, active: Slot | None, shadow: Slot | None = None, *, line: str = "line-1") -> ModelSlots:
        at = datetime.now(UTC)
        return ModelSlots(
            id=at.isoformat(), line=line, station="top", product="striped", active=active, shadow=shadow, by="test",
            at=at,
        )  # fmt: skip

    def pictured(self, count: int, *, line: str = "line-1") -> list[Frame]:
        """Return frames of the pictures whose scores are known, again and again: `seq` modulo their number."""
        return [
            self.frame(number % PICTURES, line=line, seq=number, part=f"{line}/1/{number}") for number in range(count)
        ]


@pytest.fixture
async def line(development: DevelopmentBroker, two_models: Path, tmp_path: Path) -> SlottedLine:
    found = SlottedLine(development.bootstrap, two_models, tmp_path)
    await ensure_topics(found.kafka)
    return found


@pytest.fixture
async def any_line(broker: Broker, two_models: Path, tmp_path: Path) -> SlottedLine:
    """The same on each of the brokers."""
    found = SlottedLine(broker.bootstrap, two_models, tmp_path)
    await ensure_topics(found.kafka)
    return found


def digest_at(models: Models, place: tuple[str, str] = TOP) -> str | None:
    model = models.active(*place, "striped")
    return None if model is None else model.artifact.digest


@pytest.mark.plant
async def test_activations_under_load_lose_no_frame_and_each_verdict_names_what_scored_it(
    line: SlottedLine, truth: TrueScores
) -> None:
    frames = line.pictured(400)
    slots = [line.slot("striped-2"), line.slot("striped")]
    swaps = 0
    async with line.producer() as producer, scoring(line) as models:
        sending = asyncio.create_task(paced(producer, frames, per_s=40))
        while not sending.done():
            slot = slots[swaps % 2]
            await producer.send(line.slots(slot))
            await until(lambda slot=slot: digest_at(models) == slot.artifact.digest)
            swaps += 1
            await asyncio.sleep(0.1)
        await sending
        verdicts = await line.read(Verdict, lambda found: len(found) >= len(frames))
    assert swaps >= 20
    assert {verdict.id for verdict in verdicts} == {verdict_id(frame.id) for frame in frames}
    assert len(verdicts) == len(frames)
    digests = set()
    for verdict in verdicts:
        assert verdict.artifact is not None, verdict
        digests.add(verdict.artifact.digest)
        expected = truth[verdict.artifact.digest, verdict.seq % PICTURES]
        assert verdict.score == pytest.approx(expected, rel=1e-4)
        assert verdict.threshold == load_artifact(line.artifacts / verdict.artifact.name).threshold
    assert digests == {slot.artifact.digest for slot in slots}


async def paced(producer: EventProducer, frames: list[Frame], *, per_s: float) -> None:
    sends = []
    for frame in frames:
        sends.append(producer.post(frame))
        await asyncio.sleep(1 / per_s)
    await asyncio.gather(*sends)


async def test_a_scorer_that_starts_has_the_topics_state_before_its_first_frame(any_line: SlottedLine) -> None:
    line = any_line
    frames = line.pictured(6) + line.pictured(6, line="line-2")
    async with line.producer() as producer:
        await sent(producer, line.slots(line.slot("striped", 1.0)))
        await sent(producer, line.slots(line.slot("striped-2", 77.0), line.slot("striped")), *frames)
        for _ in range(2):
            async with scoring(line) as models:
                shadow = models.shadow(*TOP)
                assert shadow is not None
                assert shadow.artifact.digest == line.slot("striped").artifact.digest
                verdicts = await line.read(Verdict, lambda found: len(found) >= len(frames))
    for verdict in verdicts:
        assert verdict.artifact is not None
        first = verdict.line == "line-1"
        assert verdict.artifact.name == ("striped-2" if first else "striped")
        assert (verdict.threshold == 77.0) is first
        assert verdict.decision is Decision.PASS or not first


async def test_without_an_event_a_scorer_scores_as_the_plant_file_says(line: SlottedLine) -> None:
    async with scoring(line) as models:
        assert digest_at(models) == line.slot("striped").artifact.digest
        assert models.shadow(*TOP) is None


async def test_a_shadow_model_scores_the_same_frames_onto_its_own_topic_and_ends_when_it_is_taken_away(
    line: SlottedLine, truth: TrueScores
) -> None:
    shadow = line.slot("striped-2")
    async with line.producer() as producer, scoring(line) as models:
        await sent(producer, line.slots(None, shadow))
        await until(lambda: models.shadow(*TOP) is not None)
        await sent(producer, *line.pictured(PICTURES))
        shadows = await line.read(ShadowVerdict, lambda found: len(found) >= PICTURES)
        await sent(producer, line.slots(None))
        await until(lambda: models.shadow(*TOP) is None)
        await sent(producer, *line.pictured(2 * PICTURES)[PICTURES:])
        verdicts = await line.read(Verdict, lambda found: len(found) >= 2 * PICTURES)
        shadows = await line.read(ShadowVerdict, lambda found: len(found) >= PICTURES)
    assert {verdict.artifact.name for verdict in verdicts if verdict.artifact} == {"striped"}
    assert len(shadows) == PICTURES
    for verdict in shadows:
        assert (verdict.cause, verdict.artifact) == ("shadow-model", shadow.artifact)
        assert verdict.score == pytest.approx(truth[shadow.artifact.digest, verdict.seq], rel=1e-4)


async def test_an_edited_threshold_decides_and_is_named(line: SlottedLine) -> None:
    async with line.producer() as producer, scoring(line) as models:
        await sent(producer, line.slots(line.slot("striped", 1e-3)))
        await until(lambda: (model := models.active(*TOP, "striped")) is not None and model.edited is not None)
        await sent(producer, line.frame(1))
        (verdict,) = await line.read(Verdict, lambda found: len(found) >= 1)
    assert (verdict.decision, verdict.reason, verdict.threshold) == (Decision.REJECT, Reason.ANOMALY, 1e-3)
    assert verdict.defects, "what rejects a part is shown, by the edited threshold too"


async def test_a_broken_artifact_keeps_the_old_one_says_so_and_ends_with_a_good_event(
    line: SlottedLine, two_models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(two_models, tmp_path / "artifacts")
    storage = line.plant.storage.model_copy(update={"artifacts": tmp_path / "artifacts"})
    line.plant = line.plant.model_copy(update={"storage": storage})
    file = tmp_path / "artifacts" / "striped-2" / TENSORS
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    async with line.producer() as producer, scoring(line) as models:
        await sent(producer, line.slots(line.slot("striped-2")))
        await until(lambda: models.stations[TOP].faults)
        assert "cut off" in models.stations[TOP].faults[0]
        assert "line-1/top goes on with striped 1: active: " in caplog.text
        await sent(producer, line.frame(1))
        (before,) = await line.read(Verdict, lambda found: len(found) >= 1)
        file.write_bytes(whole)
        await sent(producer, line.slots(line.slot("striped-2")))
        await until(lambda: not models.stations[TOP].faults)
        await sent(producer, line.frame(2))
        verdicts = await line.read(Verdict, lambda found: len(found) >= 2)
    assert before.artifact is not None
    assert before.artifact.name == "striped"
    assert {verdict.artifact.name for verdict in verdicts if verdict.artifact} == {"striped", "striped-2"}


async def test_a_record_that_is_no_event_changes_nothing_and_what_follows_counts(line: SlottedLine) -> None:
    clients = LatestEvents(line.kafka, ModelSlots, client_id="test")
    async with line.producer() as producer, clients, scoring(line) as models:
        raw = (await producer._client("gzip")).send_and_wait
        topic = f"{line.kafka.topic_prefix}.models"
        await sent(producer, line.slots(line.slot("striped-2")))
        await raw(topic, b"no event", key=b"line-1/top")
        await until(lambda: digest_at(models) == line.slot("striped-2").artifact.digest)
        await raw(topic, None, key=b"line-1/top")
        await until(lambda: digest_at(models) == line.slot("striped").artifact.digest)
        found = await clients.to_the_end(10)
    assert [(key, event is None) for key, event in found] == [("line-1/top", False), ("line-1/top", True)]


async def test_a_broker_that_does_not_answer_ends_the_start_in_bounded_time(line: SlottedLine) -> None:
    async with LatestEvents(line.kafka, ModelSlots, client_id="test") as events:
        with pytest.raises(
            KafkaError, match=r"the topic models on Kafka at .* could not be read to its end within 0 s"
        ):
            await events.to_the_end(0)


# The commands


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200)


STATION = Which(stations=("line-1/top",))


def stamp(by: str = "r.lindqvist", why: str | None = "a test") -> Stamp:
    return Stamp(by, why, datetime.now(UTC))


async def test_commands_activate_shadow_edit_promote_and_roll_back_a_running_line(
    any_line: SlottedLine, console: Console
) -> None:
    line = any_line
    plant, striped_digest = line.plant, line.slot("striped").artifact.digest
    second_digest = line.slot("striped-2").artifact.digest

    def state() -> tuple[str | None, float | None, str | None]:
        active, shadow = models.active(*TOP, "striped"), models.shadow(*TOP)
        return (
            digest_at(models),
            None if active is None else active.edited,
            None if shadow is None else shadow.artifact.digest,
        )

    async with scoring(line) as models, line.producer() as producer:
        await sent(producer, *line.pictured(PICTURES))
        await line.read(Verdict, lambda found: len(found) >= PICTURES)
        await registry.shadow(plant, STATION, "striped-2", None, stamp())
        await until(lambda: state() == (striped_digest, None, second_digest))
        await registry.promote(plant, STATION, stamp(why="a week in shadow"))
        await until(lambda: state() == (second_digest, None, None))
        await registry.edit_threshold(plant, STATION, 55.0, stamp())
        await until(lambda: state() == (second_digest, 55.0, None))
        await registry.roll_back(plant, STATION, stamp())
        await until(lambda: state() == (second_digest, None, None))
        activated = str(line.artifacts / "striped")
        await registry.activate(plant, Which(product="striped"), activated, 44.0, stamp())
        await until(lambda: state() == (striped_digest, 44.0, None))
        await until(lambda: (two := models.active("line-2", "top", "striped")) is not None and two.edited == 44.0)
        await registry.edit_threshold(plant, STATION, None, stamp())
        await until(lambda: state() == (striped_digest, None, None))
        await sent(producer, *line.pictured(2 * PICTURES)[PICTURES:])
        verdicts = await line.read(Verdict, lambda found: len(found) >= 2 * PICTURES)
        tell_rows(await what_scores(plant, STATION, seen_s=60, history=True), 60, console)
    first = {verdict.seq: verdict.score for verdict in verdicts if verdict.seq < PICTURES}
    again = {verdict.seq - PICTURES: verdict.score for verdict in verdicts if verdict.seq >= PICTURES}
    assert first == again, "the same digest gives the very same scores after it was away"
    shown = console.export_text()
    assert "scored by it" in shown
    assert "a week in shadow" in shown
    assert "r.lindqvist" in shown
    assert striped_digest.removeprefix("sha256:")[:12] in shown


async def test_show_tells_when_scorers_score_with_something_else(line: SlottedLine, console: Console) -> None:
    async with line.producer() as producer:
        async with scoring(line):
            await sent(producer, line.frame(1))
            await line.read(Verdict, lambda found: len(found) >= 1)
        tell_change(await registry.activate(line.plant, STATION, "striped-2", None, stamp()), console)
        tell_rows(await what_scores(line.plant, Which(), seen_s=60), 60, console)
    shown = console.export_text()
    assert "SCORED BY striped 1" in shown
    assert "no verdict" in shown, "line-2 had no part"


async def test_a_command_refuses_what_scorers_could_not_use(
    line: SlottedLine, two_models: Path, tmp_path: Path
) -> None:
    shutil.copytree(two_models / "striped-2", tmp_path / "outside")
    plant = line.plant

    async def told(error: type[Exception], which: Which, artifact: str) -> str:
        with pytest.raises(error) as caught:
            await registry.activate(plant, which, artifact, None, stamp())
        return str(caught.value)

    assert "has no storage.artifact_store" in await told(ArtifactError, STATION, str(tmp_path / "outside"))
    assert "there is no artifact folder" in await told(ArtifactError, STATION, "striped-9")
    assert "name the stations" in await told(ModelsError, Which(), "striped-2")
    (tmp_path / "outside" / TENSORS).write_bytes(b"nothing")
    assert "is cut off" in await told(ArtifactError, STATION, str(tmp_path / "outside"))
    assert await LatestOf(line).events() == []


async def test_an_artifact_from_elsewhere_is_copied_to_the_store_and_scorers_fetch_it_there(
    line: SlottedLine, two_models: Path, tmp_path: Path
) -> None:
    storage = line.plant.storage.model_copy(update={"artifact_store": str(tmp_path / "store")})
    line.plant = line.plant.model_copy(update={"storage": storage})
    shutil.copytree(two_models / "striped-2", tmp_path / "outside")
    async with scoring(line) as models:
        await registry.activate(line.plant, STATION, str(tmp_path / "outside"), None, stamp())
        shutil.rmtree(tmp_path / "outside")
        await until(lambda: digest_at(models) == line.slot("striped-2").artifact.digest)
    (event,) = await LatestOf(line).events()
    assert event.active is not None
    assert event.active.location.startswith(str(tmp_path / "store" / "sha256-"))
    assert (event.by, event.why, event.previous is not None) == ("r.lindqvist", "a test", True)


class LatestOf:
    """Reads what the models topic holds."""

    def __init__(self, line: SlottedLine) -> None:
        self._line = line

    async def events(self) -> list[ModelSlots]:
        async with LatestEvents(self._line.kafka, ModelSlots, client_id="test") as latest:
            return [event for _, event in await latest.to_the_end(10) if event is not None]
