"""The pages of models, over artifacts, changes and scores as a plant has them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from console_desk import Browser, Console
from kept_parts import NOON, MadePart, Seen, events_of
from small_artifacts import write_artifact

from neverblink.console.access.roles import Role
from neverblink.console.models.history import history
from neverblink.events import ArtifactRef, Decision, Event, ShadowVerdict, Slot, Verdict
from neverblink.ledger.writing import keep
from neverblink.model_registry.changes import Stamp, Target, activated, promoted, shadowed, with_threshold
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.questions.models.changes import model_history
from neverblink.records.questions.models.score_history import parts_to_look_at, score_history
from neverblink.records.questions.models.shadow_comparison import shadow_comparison
from neverblink.vision.artifact import Artifact

pytestmark = pytest.mark.usefixtures("quick_hashing")

TOP = Target("line-1", "top", "pcb")
EVIL = "<script>alert(1)</script>"


def slot_of(artifact: Artifact, location: str, threshold: float | None = None) -> Slot:
    manifest = artifact.manifest
    ref = ArtifactRef(name=manifest.name, version=manifest.version, digest=artifact.digest)
    return Slot(artifact=ref, location=location, threshold=threshold)


def stamp(minute: int, why: str | None = "a reason") -> Stamp:
    return Stamp("erin", why, NOON + timedelta(minutes=minute))


def made(number: int, line: str = "line-1", stations: Sequence[str] = ("top",)) -> MadePart:
    return MadePart(
        line=line, number=number, product="pcb", triggered=NOON + timedelta(seconds=number),
        seen=tuple(Seen(one) for one in stations), order="o", lot="l", serial=f"SN-{number}", carrier="c",
    )  # fmt: skip


def scored(number: int, score: float | None, artifact: ArtifactRef, **other: Any) -> Verdict:
    """Return a verdict at a threshold of 2.5 on the part of that number."""
    (verdict, *_) = events_of(made(number))
    assert isinstance(verdict, Verdict)
    decision = Decision.UNSCORED if score is None else Decision.REJECT if score > 2.5 else Decision.PASS
    reason = {Decision.UNSCORED: "late", Decision.REJECT: "anomaly"}.get(decision)
    found = {
        "score": score, "threshold": 2.5, "ratio": None if score is None else score / 2.5, "artifact": artifact,
        "decision": decision, "reason": reason, **other,
    }  # fmt: skip
    return verdict.model_copy(update=found)


def kept(plant: Plant, events: Sequence[Event]) -> None:
    database = Database(plant.storage.ledger, create=True)
    keep(database, list(events), NOON)
    database.close()


@pytest.fixture
def artifacts(console: Console) -> tuple[Artifact, Artifact]:
    """The plant file's artifact pcb-3, and pcb-4 beside it."""
    folder = console.plant.storage.artifacts
    return write_artifact(folder, "pcb-3", seed=3), write_artifact(folder, "pcb-4", version="4", seed=4)


async def visitor(console: Console, role: Role = Role.VIEWER, *lines: str) -> Browser:
    console.account("ann", role, lines or ("*",))
    browser = console.browser()
    await browser.sign_in("ann")
    return browser


async def test_models_shows_what_scores_where_what_is_in_shadow_and_every_artifact(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    plants, other = artifacts
    browser = await visitor(console)
    page = (await browser.get("/models")).text
    for said in ("line-1/top", "pcb-3 1", "of the plant file", "pcb-4 4", "never: the plant file says it"):
        assert said in page, said
    change = activated(None, TOP, slot_of(other, "pcb-4", 2.25), stamp(1, EVIL))
    shadow = shadowed(change, TOP, slot_of(plants, "pcb-3"), stamp(2, EVIL))
    console.desk.models.take([("line-1/top", change), ("line-1/top", shadow)])
    console.feed.scored["line-1", "top"] = (plants.digest, NOON)
    page = (await browser.get("/models")).text
    for said in ("edited, its own is 2.500", "by another model", "in shadow at line-1/top", "scores line-1/top"):
        assert said in page, said
    assert EVIL not in page
    station = (await browser.get("/models/at/line-1/top")).text
    for said in ("another model scores", "another challenger", "No part is kept yet", "records cannot be read"):
        assert (said in station) is (said != "No part is kept yet"), said
    assert EVIL not in station


async def test_a_broken_artifact_of_the_plant_file_hides_nothing_else(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    (console.plant.storage.artifacts / "pcb-3" / "manifest.json").write_text("{}")
    browser = await visitor(console)
    page = (await browser.get("/models")).text
    for said in ("the plant file's artifact cannot be read", "pcb-4 4", "1 places cannot be read"):
        assert said in page, said
    assert "its threshold is not known" in (await browser.get("/models/at/line-1/top/threshold")).text


async def test_an_artifact_shows_its_calibration_and_where_it_comes_from(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    browser = await visitor(console)
    page = (await browser.get(f"/models/artifacts/{artifacts[0].digest[7:]}")).text
    for said in ("at most 5.00 %", "lowest 1.000", "highest 2.500", "resnet18", "64 patches"):
        assert said in page, said
    assert (await browser.get(f"/models/artifacts/{'9' * 64}")).status_code == 404
    assert (await browser.get("/models/artifacts/..%2f..%2fetc")).status_code == 404


async def test_a_visitor_of_other_lines_sees_none_of_it(console: Console, artifacts: tuple[Artifact, Artifact]) -> None:
    browser = await visitor(console, Role.VIEWER, "line-9")
    page = (await browser.get("/models")).text
    assert "sees no line" in page
    for place in (
        "/models/at/line-1/top",
        "/models/at/line-1/top/threshold",
        f"/models/artifacts/{artifacts[0].digest[7:]}",
        f"/models/reports/{artifacts[0].digest[7:]}/{'1' * 64}",
    ):
        assert (await browser.get(place)).status_code == 404, place


async def test_a_threshold_is_weighed_on_the_last_parts_that_the_model_scored(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    now, other = (slot_of(one, "x").artifact for one in artifacts)
    events = [scored(number, 1 + number / 10, now) for number in range(20)]
    events += [scored(30, None, now), scored(31, 9.0, other), scored(32, 9.0, now, challenge=True)]
    kept(console.plant, events)
    browser = await visitor(console)
    page = (await browser.get("/models/at/line-1/top/threshold")).text
    for said in ("20 parts that this model scored here", "1 had no score", "1 others", "1 were reference parts"):
        assert said in page, said
    assert "Move the threshold" in page
    page = (await browser.get("/models/at/line-1/top/threshold?threshold=2.05")).text
    assert "Passed, and would be rejected: <b>5</b>" in page
    assert "Rejected, and would pass: <b>0</b>" in page
    assert "SN-15" in page
    assert "SN-10" not in page
    for place in ("?threshold=0", "?threshold=nan", "?threshold=x", "?last=0", "?last=99999999"):
        assert (await browser.get(f"/models/at/line-1/top/threshold{place}")).status_code == 422, place
    german = (await browser.get("/models/at/line-1/top/threshold?threshold=2.05", **{"accept-language": "de"})).text
    assert "Durchgegangen, würden ausgeschleust: <b>5</b>" in german


async def test_kafka_away_is_told_with_since_when_and_the_pages_go_on(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    browser = await visitor(console)
    assert "is not read yet" in (await browser.get("/models")).text
    console.desk.models._watch.failed("no broker answers", NOON.timestamp())
    page = (await browser.get("/models")).text
    assert "Kafka is away since 2026-03-02 12:00:00" in page
    assert "pcb-3 1" in page


# What the records answer


def test_scores_of_a_station_are_those_of_one_model_the_newest_first(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    now, other = (slot_of(one, "x").artifact for one in artifacts)
    side = [scored(number, 1.0, now, station="side", id=f"s{number}") for number in range(40, 60)]
    kept(console.plant, [*(scored(number, 1.5, now) for number in range(10)), scored(11, 3.0, other), *side])
    with console.records.asking() as session:
        found = score_history(session, "line-1", "top", now.digest, last=40, stations=2)
        few = score_history(session, "line-1", "top", now.digest, last=12, stations=2)
        seen = parts_to_look_at(session, [found.parts[0].verdict, "unknown"])
    assert [len(found.parts), found.by_others, found.looked_at] == [10, 1, 11]
    assert found.first == NOON
    assert found.last == NOON + timedelta(seconds=9)
    assert len(few.parts) == 3, "of the line's last 24 verdicts four are the station's"
    assert [(one.label, one.picture) for one in seen] == [("SN-9", None)]


def test_a_station_s_changes_are_told_in_order_whoever_knows_of_them(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    plants, other = artifacts
    first = shadowed(None, TOP, slot_of(other, "pcb-4"), stamp(1))
    second = promoted(first, TOP, stamp(2))
    third = with_threshold(second, TOP, slot_of(plants, "pcb-3"), 2.0, stamp(3))
    elsewhere = activated(None, Target("line-1", "side", "pcb"), slot_of(other, "pcb-4"), stamp(2))
    kept(console.plant, [first, second, elsewhere])
    with console.records.asking() as session:
        known = model_history(session, "line-1", "top")
    assert [one.id for one in known] == [second.id, first.id]
    told = history(known, [second, third])
    assert [(one.id, one.kinds) for one in told] == [
        (third.id, ("threshold",)), (second.id, ("promoted",)), (first.id, ("shadow",)),
    ]  # fmt: skip
    assert told[0].was is not None
    (over, _) = history((), [first, shadowed(first, TOP, None, stamp(2))])
    assert over.kinds == ("unshadow",)


def test_a_model_in_shadow_is_compared_on_the_very_same_frames(
    console: Console, artifacts: tuple[Artifact, Artifact]
) -> None:
    champion, challenger = (slot_of(one, "x").artifact for one in artifacts)
    acted = [scored(number, 3.0 if number < 3 else 1.0, champion) for number in range(10)]
    shadows: list[Event] = []
    for number, verdict in enumerate(acted):
        fields = verdict.model_dump()
        rejects = number in {0, 1, 9}
        fields |= {
            "id": f"shadow-{number}", "cause": "shadow-model" if number != 8 else "late-frame", "reason": None,
            "artifact": challenger, "decision": Decision.REJECT if rejects else Decision.PASS,
        }  # fmt: skip
        shadows.append(
            ShadowVerdict.model_validate({k: v for k, v in fields.items() if k in ShadowVerdict.model_fields})
        )
    kept(console.plant, [*acted, *shadows])
    with console.records.asking() as session:
        found = shadow_comparison(session, "line-1", "top", champion.digest, challenger.digest)
        nothing = shadow_comparison(session, "line-1", "top", challenger.digest, champion.digest)
    assert found.parts == 9
    assert found.decided == {
        ("reject", "reject"): 2, ("reject", "pass"): 1, ("pass", "pass"): 5, ("pass", "reject"): 1,
    }  # fmt: skip
    assert set(found.differ) == {acted[2].id, acted[9].id}
    assert nothing.parts == 0
