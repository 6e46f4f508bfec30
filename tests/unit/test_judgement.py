"""One judgement: the scorer, offline inspection, evaluation and a retraining's trial decide the same image alike."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES, ProductRules, rules_for
from neverblink.events import Event, Frame, ShadowVerdict, Times, Verdict
from neverblink.events.examples import examples
from neverblink.kafka import EventProducer
from neverblink.plant import DefectPolicy, Product
from neverblink.scorer.emitter import Emitter
from neverblink.scorer.instruments import instruments
from neverblink.scorer.model_loader import Model
from neverblink.scorer.work import Arrival, Work
from neverblink.trainer.datasets.defect_images import Box, DefectImage
from neverblink.trainer.datasets.inputs import Origin
from neverblink.trainer.evaluation.defect_evaluation import InspectedImage
from neverblink.trainer.evaluation.known_defects import KnownDefects
from neverblink.trainer.offline_inspection import judge as offline
from neverblink.trainer.offline_inspection.rows import Opinion, Row
from neverblink.trainer.offline_inspection.terms import InspectSettings
from neverblink.trainer.retraining import champion_trial
from neverblink.vision.calibration import Calibration
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.inspector import Prepared

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "neverblink"
PIXELS = np.zeros((8, 8, 3), np.uint8)
NAME, VERSION, DIGEST = "plate", "1", "sha256:" + "0" * 64

shares = st.floats(0.0, 1.0, width=32)
types = st.sampled_from(["scratch", "blot", "anomaly", "unknown"])
by_patchcore = st.builds(
    Finding, type=st.just("anomaly"), source=st.just("patchcore"), x=st.integers(0, 7), y=st.integers(0, 7),
    width=st.integers(1, 8), height=st.integers(1, 8), area_px=st.integers(1, 60), peak=st.floats(0.0, 5.0),
    seen_by=st.just(("patchcore",)),
)  # fmt: skip
by_unet = st.builds(
    Finding, type=types, source=st.sampled_from(["unet", "classifier"]), x=st.integers(0, 7), y=st.integers(0, 7),
    width=st.integers(1, 8), height=st.integers(1, 8), area_px=st.integers(1, 60), confidence=shares,
    peak=st.floats(0.0, 5.0), seen_by=st.just(("unet", "patchcore")),
)  # fmt: skip
scores = st.floats(0.1, 4.0)
rule = st.fixed_dictionaries(
    {
        "reject": st.booleans(),
        "min_area_px": st.integers(1, 40),
        "min_area_mm2": st.none() | st.floats(0.1, 5.0),
        "min_confidence": shares,
    }
)
policies = st.builds(
    lambda reject_on, types, others: DefectPolicy.model_validate(
        {"reject_on": reject_on, "types": types, "others": others}
    ),
    st.sampled_from(["score", "defects", "either"]),
    st.dictionaries(types, rule, max_size=3),
    rule,
)


def calibration_of(threshold: float, unsure_from: float | None) -> Calibration:
    return Calibration(
        threshold=threshold, map_threshold=1.5, false_reject=0.1, confidence=0.95, normals=29, rank=29,
        unsure_from=unsure_from,
    )  # fmt: skip


def artifact_of(calibration: Calibration) -> Any:
    """Return what the four ask of an artifact, without a bank."""
    return SimpleNamespace(
        name=NAME,
        version=VERSION,
        digest=DIGEST,
        threshold=calibration.threshold,
        map_threshold=calibration.map_threshold,
        scores=np.array([0.5, 0.7], np.float32),
        picture_scores=np.array([0.5, 0.7], np.float32),
        manifest=SimpleNamespace(calibration=calibration, unet=None, classifier=None, vectors=1, dimension=1),
    )


class Inspector:
    """Sees what it is told to, by whichever threshold."""

    def __init__(self, artifact: Any, *_: object, **__: object) -> None:
        self.artifact = artifact
        self.finder = None

    def with_threshold(self, _: float) -> "Inspector":
        return self


class Told:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Event] = []

    async def send(self, event: Event, **_: object) -> None:
        self.sent.append(event)


def on_the_line(
    seen: Inspection, calibration: Calibration, product: Product, scale: float | None, edited: float | None
) -> Verdict:
    """Return the verdict that a scorer sends."""
    (example,) = (event for event in examples() if isinstance(event, Frame))
    frame = example.model_copy(update={"deadline": datetime.now(UTC) + timedelta(minutes=1)})
    times, told = Times(captured=frame.captured), Told()
    model = Model.of(product, cast(Any, Inspector(artifact_of(calibration))), edited)
    scales = {} if scale is None else {(frame.line, frame.station): scale}

    async def send() -> None:
        emitter = Emitter(
            cast(EventProducer, told),
            scales=scales,
            workers=1,
            clock=lambda: datetime.now(UTC),
            measured=instruments(),
            passes_shown=0,
        )
        work = Work(Arrival(frame, times, {}), model, Prepared(PIXELS, [PIXELS]), times)
        await emitter.scored(work, seen)
        await emitter.for_statistics(work, seen, "shadow-model")
        emitter.close()

    asyncio.run(send())
    verdict, *_, statistics = told.sent
    assert isinstance(verdict, Verdict)
    assert isinstance(statistics, ShadowVerdict)
    assert (statistics.decision, statistics.unsure, statistics.defects) == (
        verdict.decision, verdict.unsure, verdict.defects,
    )  # fmt: skip
    return verdict


def at_rest(
    seen: Inspection, calibration: Calibration, rules: ProductRules, scale: float | None, edited: float | None
) -> dict[str, object]:
    """Return the row that offline inspection keeps."""
    judge = offline.Judge(artifact_of(calibration), cast(Any, None), InspectSettings(Path("plate"), rules=rules))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(offline, "inspect_defects", lambda work: [seen] * len(work))
        (opinion,) = judge.judge([PIXELS], [offline.Place(scale, edited)])
    assert isinstance(opinion, Opinion)
    return Row(Origin("1.png", "1"), opinion).as_record()


def in_evaluation(seen: Inspection, calibration: Calibration, rules: ProductRules, image: Path) -> InspectedImage:
    """Return the image as the evaluation of known defects counts it."""
    known = KnownDefects(
        [DefectImage(image, ("scratch",), boxes=(Box(0, 0, 2, 2, type="scratch"),))], artifact_of(calibration), rules
    )
    counted: list[InspectedImage] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(known._tally, "add", counted.append)
        known.add(image, PIXELS, seen)
    (found,) = counted
    return found


def in_a_trial(
    seen: Inspection, calibration: Calibration, rules: ProductRules, edited: float | None
) -> champion_trial.Judged:
    """Return what a retraining's trial says of a champion on the image."""
    judge = champion_trial._Judge(cast(Any, Inspector(artifact_of(calibration))), edited, rules, lambda: 0.0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(champion_trial, "inspect_defects", lambda work: [seen] * len(work))
        judge.look([PIXELS])
    return judge.standing().judged[0]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("images") / "1.png"
    path.write_bytes(b"its digest is all that counts")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(offline, "Inspector", Inspector)
        yield path


@given(
    score=scores,
    findings=st.lists(by_patchcore, max_size=3) | st.lists(by_unet | by_patchcore, max_size=4),
    threshold=st.floats(0.5, 3.0),
    unsure_share=st.none() | st.floats(0.3, 1.0),
    edited=st.none() | st.floats(0.5, 3.5),
    defects=policies,
    scale=st.none() | st.floats(0.05, 1.0),
)
@example(1.9, [], 2.0, 0.9, None, DefectPolicy(), None)
@example(1.9, [], 2.0, 0.9, 1.85, DefectPolicy(), None)
@example(1.9, [], 2.0, 0.9, 1.7, DefectPolicy(), None)
@example(2.2, [], 2.0, 0.9, 2.5, DefectPolicy(), None)
def test_an_image_is_decided_alike_wherever_it_is_judged(
    image: Path,
    score: float,
    findings: list[Finding],
    threshold: float,
    unsure_share: float | None,
    edited: float | None,
    defects: DefectPolicy,
    scale: float | None,
) -> None:
    seen = Inspection(Anomaly(score, np.zeros((4, 4), np.float32)), tuple(findings))
    calibration = calibration_of(threshold, None if unsure_share is None else unsure_share * threshold)
    product = Product(name="plate", artifact=Path("plate"), defects=defects)
    rules = ProductRules(defects, mm_per_px=scale)
    verdict = on_the_line(seen, calibration, product, scale, edited)
    row = at_rest(seen, calibration, rules, scale, edited)
    for name in ("decision", "reason", "unsure", "score", "threshold", "ratio"):
        assert row[name] == getattr(verdict, name)
    assert verdict.artifact is not None
    assert (row["artifact_name"], row["artifact_digest"]) == (verdict.artifact.name, verdict.artifact.digest)
    listed = [defect.model_dump() for defect in verdict.defects]
    assert row["defects"] == [one.pop("bbox") | one for one in listed]
    tried = in_a_trial(seen, calibration, rules, edited)
    assert (tried.rejected, tried.score, tried.ratio) == (
        verdict.decision == "reject", verdict.score, verdict.ratio,
    )  # fmt: skip
    if edited is None:
        counted = in_evaluation(seen, calibration, rules, image)
        assert (counted.rejected, counted.unsure, counted.score_ratio) == (
            verdict.decision == "reject", verdict.unsure, verdict.ratio,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("score", "edited", "decision", "unsure"),
    [
        (1.7, None, "pass", False),
        (1.9, None, "pass", True),
        (2.1, None, "reject", False),
        (2.1, 2.5, "pass", True),
        (1.9, 1.85, "reject", False),
        (1.82, 1.85, "pass", True),
        (1.9, 1.7, "reject", False),
        (1.65, 1.7, "pass", False),
    ],
)
def test_the_unsure_band_begins_where_it_was_calibrated_and_ends_at_the_threshold_in_force(
    score: float, edited: float | None, decision: str, unsure: bool
) -> None:
    inspection = Inspection(Anomaly(score, np.zeros((4, 4), np.float32)))
    found = judged(inspection, calibration_of(2.0, 1.8), DEFAULT_RULES, mm_per_px=None, edited=edited)
    assert (found.decision, found.unsure, found.threshold) == (decision, unsure, edited or 2.0)


def test_a_scorer_decides_by_the_rules_of_its_product() -> None:
    defects = DefectPolicy.model_validate({"segment": "suspicious", "suspicious_from": 0.7, "reject_on": "score"})
    product = Product(name="plate", artifact=Path("plate"), min_area_px=9, defects=defects)
    model = Model.of(product, cast(Any, Inspector(artifact_of(calibration_of(2.0, None)))))
    assert model.rules == rules_for(product)
    assert (model.rules.segment_from, model.rules.min_area_px, model.rules.policy.reject_on) == (0.7, 9, "score")


def test_nobody_else_decides_or_builds_a_defect() -> None:
    """A second place that calls the hybrid decision or makes a verdict's defect would say something else one day."""
    allowed = {"decisions/judgement.py", "events/examples.py"}
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() not in allowed:
            source = path.read_text()
            assert not re.search(r"from neverblink\.vision\.hybrid import .*\bdecide\b", source), path
            assert not re.search(r"\bDefect\(\n?\s*type=", source), path
