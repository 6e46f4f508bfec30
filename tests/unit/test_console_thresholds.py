"""Another threshold on parts that were made: what flips, what is promised, what escapes."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.console.models.plots import parts_plot
from neverblink.console.models.threshold import Preview, preview_of
from neverblink.records.questions.models.score_history import ScoredPart


def scored(score: float, **other: Any) -> ScoredPart:
    """Return a part that a threshold of 2 has decided; others as told."""
    values: dict[str, Any] = {
        "verdict": f"v{score}", "score": score, "decision": "reject" if score > 2 else "pass", "reason": None,
        "unsure": False, "holdout": False, "holdout_share": None, "audited": True, "audit_share": None,
        "judgement": None,
    }  # fmt: skip
    return ScoredPart(**{**values, **other})


def at(parts: list[ScoredPart], threshold: float) -> Preview:
    return preview_of(parts, threshold, lambda _: None)


def test_parts_between_the_thresholds_flip_and_what_people_found_in_them_is_told() -> None:
    parts = [
        scored(1.0), scored(2.4, judgement="normal"), scored(2.6, judgement="defect"), scored(2.9),
        scored(3.5, judgement="defect"),
    ]  # fmt: skip
    found = at(parts, 3.0)
    assert (found.rejected, found.would) == (4, 1)
    assert (found.to_pass.count, found.to_pass.normal, found.to_pass.defective) == (3, 1, 1)
    assert found.to_pass.newest == ("v2.4", "v2.6", "v2.9")
    assert (found.known, found.known_escape) == (2, 1)
    assert found.to_reject.count == 0
    assert at(parts, 0.5).to_reject.newest == ("v1.0",)


def test_a_score_at_the_threshold_passes_and_a_part_with_a_known_defect_stays_rejected() -> None:
    assert at([scored(3.0)], 3.0).would == 0
    by_defect = scored(1.0, decision="reject", reason="defect")
    found = at([by_defect], 9.0)
    assert (found.would, found.kept, found.to_pass.count) == (1, 1, 0)


def test_escapes_are_estimated_from_held_out_parts_each_of_which_stands_for_many() -> None:
    drawn = {"holdout": True, "holdout_share": 0.1}
    parts = [scored(1.0) for _ in range(900)]
    parts += [scored(1.0, judgement="normal", **drawn) for _ in range(98)]
    parts += [scored(1.5, judgement="defect", **drawn) for _ in range(2)]
    found = at(parts, 2.0).escapes
    assert found.value == pytest.approx(20)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 20 < found.high
    assert (found.seen, found.judged, found.passing) == (2, 100, 1000)
    assert found.rate == pytest.approx(0.02)
    assert found.more is not None
    assert found.more > 0
    assert at(parts, 1.2).escapes.value == 0.0, "both defective parts would be rejected"


def test_rejects_that_would_pass_count_with_what_was_found_in_them() -> None:
    drawn = {"holdout": True, "holdout_share": 1.0, "judgement": "normal"}
    parts = [scored(1.0, **drawn) for _ in range(50)]
    parts += [scored(2.5, judgement="defect", audit_share=0.5) for _ in range(4)]
    parts += [scored(2.5, audited=False, audit_share=0.5) for _ in range(4)]
    assert at(parts, 2.0).escapes.value == 0.0
    assert at(parts, 3.0).escapes.value == pytest.approx(8)


def test_without_drawn_parts_no_escapes_are_estimated_and_it_is_said_how_many_it_takes() -> None:
    found = at([scored(1.0), scored(1.1, judgement="defect")], 2.0).escapes
    assert found.value is None
    assert found.more == math.ceil(math.log(0.025) / math.log(0.99))
    unjudged = [scored(1.0, holdout=True, holdout_share=0.1, judgement="normal"), scored(2.5)]
    assert at(unjudged, 2.0).escapes.value is not None
    assert at(unjudged, 3.0).escapes.value is None, "nobody knows what the reject is that would pass"


_PARTS = st.lists(
    st.builds(
        lambda score, reason, judgement, held: scored(
            score, reason=reason if score > 2 else None, judgement=judgement, holdout=held,
            holdout_share=0.25 if held else None,
        ),
        st.floats(0.1, 5.0),
        st.sampled_from(["anomaly", "defect"]),
        st.sampled_from([None, "normal", "defect"]),
        st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(_PARTS, st.floats(0.2, 5.0), st.floats(0.0, 2.0))
def test_a_higher_threshold_rejects_no_more_lets_no_less_escape_and_every_part_is_counted_once(
    parts: list[ScoredPart], threshold: float, more: float
) -> None:
    low, high = at(parts, threshold), at(parts, threshold + more)
    for one in (low, high):
        assert one.would == one.rejected + one.to_reject.count - one.to_pass.count
        assert one.escapes.passing == one.parts - one.would
    assert high.would <= low.would
    assert high.known_escape >= low.known_escape
    if low.escapes.value is not None and high.escapes.value is not None:
        assert high.escapes.value >= low.escapes.value - 1e-9
    for one in (low.escapes, high.escapes):
        if one.value is not None and one.low is not None and one.high is not None:
            assert one.low <= one.value + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 1e4), max_size=30), st.floats(0.05, 1e3))
def test_every_part_stands_in_one_bar_and_none_on_both_sides_of_the_threshold(
    scores: list[float], threshold: float
) -> None:
    parts = [scored(one, decision="reject" if one > threshold else "pass") for one in scores]
    plot = parts_plot(parts, threshold)
    up = sum(round(bar.up * plot.tops[0]) for bar in plot.bars if not bar.beyond)
    down = sum(round(bar.down * plot.tops[1]) for bar in plot.bars if bar.beyond)
    assert up == sum(one <= threshold for one in scores)
    assert down == sum(one > threshold for one in scores)
    assert plot.low < threshold < plot.high
