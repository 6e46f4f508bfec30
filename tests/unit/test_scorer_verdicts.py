"""From frame and score to what is said about a part."""

from datetime import UTC, datetime, timedelta

import pytest

from neverblink.events import ArtifactRef, Decision, Frame, Times, Verdict
from neverblink.events.examples import examples
from neverblink.scorer import verdicts

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


def told(score: float, *, unsure: bool = False) -> Verdict:
    (frame,) = (event for event in examples() if isinstance(event, Frame))
    return verdicts.in_time(
        frame,
        (),
        score=score,
        threshold=2.0,
        artifact=ArtifactRef(name="board", version="1", digest="sha256:" + "0" * 64),
        defects=(),
        unsure=unsure,
        times=Times(captured=NOW, emitted=NOW + timedelta(milliseconds=90)),
    )


def test_a_score_up_to_the_threshold_passes_and_one_above_rejects() -> None:
    assert (told(2.0).decision, told(2.0).ratio, told(2.0).unsure) == (Decision.PASS, 1.0, False)
    assert (told(2.001).decision, told(2.001).reason) == (Decision.REJECT, "anomaly")


def test_an_unsure_part_passes_and_a_rejected_one_is_never_unsure() -> None:
    verdict = told(1.9, unsure=True)
    assert (verdict.decision, verdict.unsure) == (Decision.PASS, True)
    with pytest.raises(ValueError, match="reject verdict is not unsure"):
        told(2.1, unsure=True)
