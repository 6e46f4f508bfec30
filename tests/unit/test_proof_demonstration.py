"""What the demonstration of proof holds against what was estimated: its own truth, counted as a person would."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from neverblink.camera.holdout_keys import keys_in
from neverblink.demo.proof.conclusion import TrueShares, true_shares
from neverblink.demo.proof.setting import HIDDEN_RATE, sent_parts, write_proof
from neverblink.demo.stream import Stream, simulated_streams
from neverblink.events import Decision, Times, Tracking, Verdict
from neverblink.events.examples import examples
from neverblink.plant import EXAMPLE, parse_plant
from neverblink.plant.references import load_references
from neverblink.simulation.parts import Simulation

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
(EXAMPLE_OF_ALL,) = (event for event in examples() if type(event) is Verdict)


def verdict(number: int, decision: Decision, *, challenge: bool = False) -> Verdict:
    changes = {"decision": decision, "tracking": Tracking(epoch=1, number=number), "challenge": challenge}
    return EXAMPLE_OF_ALL.model_copy(update={**changes, "times": Times(captured=NOW)})


def test_the_truth_counts_each_judged_part_once_and_no_reference_part() -> None:
    stream = Stream("line-1", "top", "pcb", "", simulated_streams()[0].source, lambda n: "hair" if n <= 4 else None)
    heard = [
        *(verdict(number, Decision.REJECT) for number in (1, 2, 3)),
        verdict(4, Decision.PASS),
        verdict(5, Decision.REJECT),
        *(verdict(number, Decision.PASS) for number in range(6, 14)),
        verdict(14, Decision.UNSCORED),
        verdict(2, Decision.PASS, challenge=True),
    ]
    assert true_shares([stream], {"line-1": heard}) == TrueShares(
        recall=3 / 4, escapes=1 / 9, precision=3 / 4, false_rejects=1 / 9
    )
    assert true_shares([stream], {"line-1": []}) == TrueShares(None, None, None, None)


@pytest.mark.parametrize("product", ["pcb", "disc"])
def test_a_hidden_defect_is_true_and_in_no_picture(product: str) -> None:
    plain, hiding = Simulation(product, seed=11), Simulation(product, seed=11, hidden_rate=HIDDEN_RATE)
    bad = [number for number in range(4000) if plain.truth(number) is not None]
    hidden = [number for number in bad if hiding.hides(number)]
    assert HIDDEN_RATE * 0.8 < len(hidden) / len(bad) < HIDDEN_RATE * 1.2
    assert [hiding.truth(number) for number in bad] == [plain.truth(number) for number in bad]
    shown = next(number for number in bad if not hiding.hides(number))
    assert not hiding.part(hidden[0]).mask.any()
    np.testing.assert_array_equal(hiding.part(shown).image, plain.part(shown).image)
    assert not any(hiding.hides(number) for number in range(4000) if plain.truth(number) is None)


def test_each_line_is_sent_a_defect_that_shows_one_that_does_not_and_one_that_never_comes() -> None:
    streams = simulated_streams(HIDDEN_RATE)
    for stream in streams:
        seen, hidden, lost = sorted(
            (one for one in sent_parts(streams, 1000) if one.line == stream.line), key=lambda one: one.number or 10**9
        )
        if "hidden" in seen.reference:
            seen, hidden = hidden, seen
        assert seen.number is not None
        assert hidden.number is not None
        assert (stream.hides(seen.number), stream.hides(hidden.number), lost.number) == (False, True, None)
        assert (stream.truth(seen.number), stream.truth(hidden.number)) == (seen.defect, hidden.defect)
    few = [one for one in sent_parts(streams, 2) if one.number is not None]
    assert not few


def test_the_demonstrations_key_and_reference_parts_are_what_the_services_read(tmp_path: Path) -> None:
    plant = parse_plant(EXAMPLE)
    proof = plant.proof.model_copy(
        update={
            "holdouts": plant.proof.holdouts.model_copy(update={"key": tmp_path / "holdout.key"}),
            "challenges": plant.proof.challenges.model_copy(update={"references": tmp_path / "references.yaml"}),
        }
    )
    sent = sent_parts(simulated_streams(HIDDEN_RATE), 1000)
    write_proof(plant.model_copy(update={"proof": proof}), sent)
    assert len(keys_in(tmp_path / "holdout.key")) == 1
    assert {one.id for one in load_references(tmp_path / "references.yaml").references} == {
        one.reference for one in sent
    }
