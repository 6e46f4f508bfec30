"""Everything at once, in short: `bench/line/scorer_chaos.py` does it with three brokers, 20,000 frames and 60 faults.

One Apache Kafka node, two scorers, each behind a network that can be cut, and one fault of every kind.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from real_kafka import without_kafka

from neverblink.brokers.apache import KafkaUnavailable
from neverblink.events import DeadLetter, Decision, Verdict
from neverblink.vision.artifact import load_artifact
from rigs.chaos_audit import Audit, audit
from rigs.chaos_run import KINDS, MODELS, Chaos, Outcome, fit_models, run
from rigs.poison import POISON
from rigs.true_scores import TrueScores

# No frame is late: every decision is compared. A tenth is poison, so that each kind of it comes.
CHAOS = Chaos(frames=200, faults=len(KINDS), nodes=1, rate=20, budget_s=600, poison=0.1, longest_s=2)


@dataclass(frozen=True)
class Happened:
    """A run, and what is needed to judge it."""

    outcome: Outcome
    letters: list[DeadLetter]
    truth: TrueScores
    thresholds: dict[str, float]

    def judged(self, verdicts: list[Verdict] | None = None, letters: list[DeadLetter] | None = None) -> Audit:
        return audit(
            self.outcome.expected,
            self.outcome.verdicts if verdicts is None else verdicts,
            self.letters if letters is None else letters,
            self.truth,
            self.thresholds,
        )


pytestmark = [pytest.mark.slow, pytest.mark.plant]


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> Happened:
    artifacts, truth = fit_models(tmp_path_factory.mktemp("models"), 96)
    try:
        outcome = asyncio.run(run(CHAOS, artifacts, tmp_path_factory.mktemp("chaos")))
    except KafkaUnavailable as error:
        without_kafka(error)
    models = [load_artifact(artifacts / name) for name in MODELS]
    return Happened(
        outcome,
        [record.read(DeadLetter)[0] for record in outcome.letters],
        truth,
        {model.digest: model.threshold for model in models},
    )


def test_every_frame_ends_in_exactly_one_effect_whatever_is_killed_stopped_or_cut(happened: Happened) -> None:
    assert Counter(fault.kind for fault in happened.outcome.faults if fault.ended) == Counter(KINDS)
    found = happened.judged()
    assert (found.without, found.doubled) == ([], [])
    assert found.effects == found.frames == CHAOS.frames
    assert found.late == []


def test_every_decision_is_that_of_the_model_it_names_undisturbed(happened: Happened) -> None:
    found = happened.judged()
    assert (found.wrong, found.contradicting) == ([], [])
    assert found.passed + found.rejected == CHAOS.frames - found.poison
    assert found.passed > found.rejected > 0
    assert {verdict.artifact.name for verdict in happened.outcome.verdicts if verdict.artifact} == set(MODELS)


def test_poison_has_its_reason_and_its_dead_letter_while_the_group_rebalances(happened: Happened) -> None:
    found = happened.judged()
    assert (found.without_letter, found.letters_too_many) == ([], [])
    assert found.letters == found.poison == round(CHAOS.poison * CHAOS.frames) >= len(POISON)


def test_no_scorer_that_runs_ends_because_of_its_surroundings(happened: Happened) -> None:
    outcome = happened.outcome
    assert outcome.kills == 1
    # One that starts while its network is cut says so, ends, and is started again.
    assert outcome.restarts <= outcome.kills + outcome.cut_starts


def without(verdict: Verdict) -> list[Verdict]:
    return []


def misjudged(verdict: Verdict) -> list[Verdict]:
    other = Decision.REJECT if verdict.decision is Decision.PASS else Decision.PASS
    return [verdict.model_copy(update={"decision": other})]


def mixed(verdict: Verdict) -> list[Verdict]:
    assert verdict.score is not None
    return [verdict.model_copy(update={"score": verdict.score * 1.01})]


def twice(verdict: Verdict) -> list[Verdict]:
    return [verdict, verdict.model_copy(update={"id": "another"})]


@pytest.mark.parametrize(
    ("change", "told"),
    [(without, "without"), (misjudged, "wrong"), (mixed, "wrong"), (twice, "doubled")],
)
def test_one_verdict_that_were_not_right_would_be_found(
    happened: Happened, change: Callable[[Verdict], list[Verdict]], told: str
) -> None:
    frames = {one.frame for one in happened.outcome.expected}
    scored = next(one for one in happened.outcome.verdicts if one.score is not None and one.frame_id in frames)
    others = [verdict for verdict in happened.outcome.verdicts if verdict.frame_id != scored.frame_id]
    found = happened.judged([*others, *change(scored)])
    assert len(getattr(found, told)) == len(found.faults) == 1


def test_a_dead_letter_that_were_missing_or_too_many_would_be_found(happened: Happened) -> None:
    first = happened.letters[0]
    missing = happened.judged(letters=[one for one in happened.letters if one.offset != first.offset])
    assert missing.without_letter
    stray = first.model_copy(update={"offset": 10**6})
    assert len(happened.judged(letters=[*happened.letters, stray]).letters_too_many) == 1
