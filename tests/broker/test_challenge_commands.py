"""Reference parts from a person's hand: described, announced, and what came of them, on the command line."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from neverblink.brokers.development import DevelopmentBroker
from neverblink.camera.known_parts import KnownParts
from neverblink.camera.triggers import Trigger
from neverblink.cli import main
from neverblink.events import Alarm, ArtifactRef, Decision, Times, Tracking, Verdict
from neverblink.events.examples import examples
from neverblink.events.identity import verdict_id
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, load_plant
from neverblink.records.database import Database

NOW = datetime.now(UTC)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    file = tmp_path / "plant.yaml"
    file.write_text(EXAMPLE)
    (tmp_path / "scratch.png").write_bytes(b"a picture")
    return file


def run(capsys: pytest.CaptureFixture[str], plant: Path, *words: str) -> tuple[int, str]:
    """Run `neverblink` as a shell would; returns its exit code and what it says."""
    before, sys.argv = sys.argv, ["neverblink", *words, "--plant", str(plant)]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    told = capsys.readouterr()
    return code, told.out + told.err


def test_a_reference_part_is_described_once_and_what_people_wrote_stays(
    capsys: pytest.CaptureFixture[str], plant: Path
) -> None:
    file = plant.parent / "references.yaml"
    file.write_text("# ours\nreferences:\n  - id: good-01   # from the press\n    product: pcb\n    answer: good\n")
    words = ("challenge", "add", "scratch-07", "--product", "pcb", "--defect", "scratch", "--serial", "REF-7")
    code, told = run(capsys, plant, *words, "--picture", str(plant.parent / "scratch.png"))
    assert (code, told.split(": ", 1)[1]) == (0, "scratch-07, a pcb, scratch, 1 pictures\n")
    assert file.read_text().startswith("# ours\nreferences:\n  - id: good-01   # from the press\n")
    assert (plant.parent / "references" / "scratch-07-1.png").read_bytes() == b"a picture"
    code, told = run(capsys, plant, *words)
    assert code == 2
    assert "has a reference part scratch-07 already" in told
    code, told = run(capsys, plant, "challenge", "list", "--json")
    assert [(one["id"], one["answer"], one["serial"]) for one in orjson.loads(told)["references"]] == [
        ("good-01", "good", None),
        ("scratch-07", ["scratch"], "REF-7"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "x", "--product", "pcb"), "say what is known of the part"),
        (("add", "x", "--product", "gear", "--good"), "the plant has no product 'gear'"),
        (("add", "x", "--product", "pcb", "--good", "--picture", "none.png"), "none.png cannot be read"),
        (("announce", "scrach-07", "--line", "line-1"), "did you mean 'scratch-07'?"),
        (("announce", "scratch-07", "--line", "line-1", "--part", "x"), "--part 'x' names no part"),
        (("announce", "gear-01", "--line", "line-1"), "is a gear, and line-1 inspects pcb"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_and_nothing_is_announced(
    capsys: pytest.CaptureFixture[str], plant: Path, words: tuple[str, ...], said: str
) -> None:
    (plant.parent / "references.yaml").write_text(
        "references:\n- {id: scratch-07, product: pcb, answer: scratch}\n- {id: gear-01, product: gear, answer: good}\n"
    )
    code, told = run(capsys, plant, "challenge", *words)
    assert code == 2
    assert said in " ".join(told.split())


def write_plant(plant: Path, bootstrap: str) -> None:
    whole = EXAMPLE.replace("kafka-1:9092,kafka-2:9092,kafka-3:9092", bootstrap)
    head, _, rest = whole.partition("  security:")
    plant.write_text(f"{head}  topic_prefix: t{uuid4().hex[:8]}\nstorage:{rest.partition('storage:')[2]}")
    (plant.parent / "references.yaml").write_text("references:\n- {id: scratch-07, product: pcb, answer: scratch}\n")


async def test_an_announcement_reaches_the_camera_node(
    development: DevelopmentBroker, capsys: pytest.CaptureFixture[str], plant: Path
) -> None:
    write_plant(plant, development.bootstrap)
    known = KnownParts(load_plant(plant).kafka, [("line-1", "top")], None, client_id="test")
    following = asyncio.create_task(known.follow())
    announce = ("challenge", "announce", "scratch-07", "--line", "line-1", "--part", "3/48412")
    code, told = await asyncio.to_thread(run, capsys, plant, *announce)
    assert (code, told.split(";")[0]) == (0, "scratch-07 is part 3/48412 of line-1")
    part = Trigger("line-1/3/48412", 48412, datetime.now(UTC), Tracking(epoch=3, number=48412))
    async with asyncio.timeout(20):
        while known.of("line-1", "top")(part) != "scratch-07":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def verdict(number: int, decision: Decision, reference: str) -> Verdict:
    at = NOW - timedelta(minutes=10 - number)
    return Verdict(
        id=verdict_id(f"frame-{number}"), frame_id=f"frame-{number}", line="line-1", station="top", product="pcb",
        part=f"line-1/1/{number}", seq=number, tracking=Tracking(epoch=1, number=number), decision=decision,
        reason="anomaly" if decision is Decision.REJECT else None, score=1.0, threshold=2.0, ratio=0.5,
        artifact=ARTIFACT, times=Times(captured=at), deadline=at + timedelta(seconds=2), challenge=True,
        reference=reference,
    )  # fmt: skip


def test_the_history_of_a_reference_part_says_each_time_whether_it_was_right_and_alarms_that_stand_come_first(
    capsys: pytest.CaptureFixture[str], plant: Path
) -> None:
    (plant.parent / "references.yaml").write_text("references:\n- {id: scratch-07, product: pcb, answer: scratch}\n")
    database = Database(load_plant(plant).storage.ledger, create=True)
    keep(database, [verdict(1, Decision.REJECT, "scratch-07"), verdict(2, Decision.PASS, "scratch-07")], NOW)
    code, told = run(capsys, plant, "alarms")
    assert (code, told) == (0, "no alarm stands, and none was cleared in the last 7 days\n")
    keep(database, [event for event in examples() if isinstance(event, Alarm)], NOW)
    database.close()
    code, told = run(capsys, plant, "challenge", "history", "scratch-07")
    assert code == 0
    assert [word for word in told.split() if word in {"caught", "MISSED"}][:2] == ["caught", "MISSED"]
    assert "scratch-07: came 2 times in 30 days: 1 MISSED, 1 caught" in told
    code, told = run(capsys, plant, "alarms")
    assert code == 1
    assert "1 alarm stands" in told
    assert "Next: stop releasing parts of line-1 unseen, and send scratch-07 again" in " ".join(told.split())
