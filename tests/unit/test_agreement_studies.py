"""A study from its parts to its report: drawn, asked blind, resumed, and read."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from agreement_studies import NOW, golden_folder, sit, study_in, the_truth
from camera_line import line_of
from kept_evidence import START, KeptEvidence, review, verdict

from neverblink.agreement.asking.answers import AnswerFile, answers_of
from neverblink.agreement.asking.machine import LINE, MachineAnswers, ask_machine
from neverblink.agreement.asking.sitting import Sitting
from neverblink.agreement.choosing import Wanted
from neverblink.agreement.making import make_study
from neverblink.agreement.report import write_study_report
from neverblink.agreement.results import result_of
from neverblink.agreement.sources import FolderSource, RecordsSource
from neverblink.agreement.study import AgreementError, Answer, Terms, read_references, read_study
from neverblink.events import Decision, Identity
from neverblink.ledger.evidence_book import FRAME, Picture
from neverblink.plant import Plant
from rigs.pictures import encoded, number_of, numbered

TERMS = Terms.of(name="plates", seed=0, rounds=2, appraisers=("Anna", "Ben"))


# Parts


def test_a_study_holds_so_many_defective_parts_and_their_types_take_turns(tmp_path: Path) -> None:
    source = FolderSource.at(golden_folder(tmp_path / "golden", good=9, defective={"scratch": 9, "dent": 2}))
    made = make_study(tmp_path / "study", source, TERMS, Wanted(10, 0.4, 0.3), NOW)
    assert (made.good, made.defective, made.types) == (6, 4, {"dent": 2, "scratch": 2})


def test_what_an_appraiser_needs_says_nothing_of_what_the_parts_are(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    told = (study / "study.json").read_text() + "".join(path.name for path in (study / "pictures").iterdir())
    for word in ("good", "defect", "scratch", "dent", "part-"):
        assert word not in told
    (study / "reference.json").unlink()
    sit(study, "Anna", the_truth)
    assert len(answers_of(study, read_study(study), "Anna")) == 8


def test_parts_that_are_there_twice_or_are_no_pictures_are_not_asked_about(tmp_path: Path) -> None:
    golden = golden_folder(tmp_path / "golden", good=4, defective={"scratch": 4})
    (golden / "good" / "again.png").write_bytes((golden / "good" / "part-0.png").read_bytes())
    (golden / "good" / "torn.png").write_bytes((golden / "good" / "part-1.png").read_bytes()[:-900])
    made = make_study(tmp_path / "study", FolderSource.at(golden), TERMS, Wanted(8, 0.5, 0.0), NOW)
    assert len({part.sha256 for part in made.study.parts}) == 8


def test_too_few_parts_are_told_and_leave_nothing_behind(tmp_path: Path) -> None:
    source = FolderSource.at(golden_folder(tmp_path / "golden", good=4, defective={"scratch": 2}))
    with pytest.raises(AgreementError, match=r"4 defective parts are wanted and the folder .* has 2"):
        make_study(tmp_path / "study", source, TERMS, Wanted(8, 0.5, 0.0), NOW)
    make_study(tmp_path / "study", source, TERMS, Wanted(4, 0.5, 0.0), NOW)
    with pytest.raises(AgreementError, match="holds a study already"):
        make_study(tmp_path / "study", source, TERMS, Wanted(4, 0.5, 0.0), NOW)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [(("Anna", "anna"), "two of the name anna"), (("../Anna",), "is no name"), ((), "at least 1 item")],
)
def test_names_that_cannot_be_told_apart_or_are_paths_are_refused(names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(AgreementError, match=sentence):
        Terms.of(name="plates", seed=0, rounds=2, appraisers=names)


def test_each_round_has_an_order_of_its_own_that_is_the_same_whenever_it_is_asked(tmp_path: Path) -> None:
    study = read_study(study_in(tmp_path))
    orders = [[part.id for part in study.order(name, number)] for name in ("Anna", "Ben") for number in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 6
    assert all(sorted(order) == sorted(part.id for part in study.parts) for order in orders)
    assert orders[0][-1] != orders[1][0]
    assert [part.id for part in study.order("Anna", 2)] == orders[1]


def test_no_round_begins_with_the_part_that_ended_the_last(tmp_path: Path) -> None:
    study = read_study(study_in(tmp_path, parts=2))
    for seed in range(50):
        one = study.model_copy(update={"seed": seed})
        ends = [(one.order("Anna", number)[0].id, one.order("Anna", number)[-1].id) for number in (1, 2, 3)]
        assert ends[0][1] != ends[1][0]
        assert ends[1][1] != ends[2][0]


def kept_on_the_line(folder: Path) -> Plant:
    """Keep eight judged parts, one near the threshold in each class, one without a picture and one not agreed on."""
    kept = KeptEvidence(folder)
    pictures = []
    for number in range(10):
        rejected = number % 2 == 1
        part = verdict(
            number, Decision.REJECT if rejected else Decision.PASS, at=START + timedelta(minutes=number),
            ratio=1.1 if number == 1 else 0.95 if number == 0 else 2.0 if rejected else 0.4,
            identity=Identity(serial=f"SN-{number}"),
        )  # fmt: skip
        said = "inconclusive" if number == 9 else "defect" if rejected else "normal"
        kept.record(part, review(part, said, defect_type="scratch" if said == "defect" else None))
        if number == 8:
            continue
        body = encoded(".png", numbered(number))
        pictures.append(
            Picture(
                f"f{number}", part.frame_id, part.id, part.line, part.station, part.product, FRAME, "reject",
                part.times.captured, kept.store.put(body), len(body), "image/png",
            )
        )  # fmt: skip
    kept.retention.keep(pictures, START)
    kept.close()
    return Plant.model_validate(
        {
            "site": "test",
            "storage": {"artifacts": str(folder), "ledger": f"sqlite:///{folder / 'ledger.db'}"},
            "records": {"evidence": {"store": str(folder / "evidence")}},
            "products": [{"name": "pcb", "artifact": "pcb"}],
            "lines": [line_of({"product": "pcb"}).model_dump(mode="json")],
        }
    )


def test_parts_come_from_what_people_judged_with_those_near_the_threshold_first(tmp_path: Path) -> None:
    plant = kept_on_the_line(tmp_path)
    source = RecordsSource.of(plant, "pcb", since=START, until=START + timedelta(days=1))
    assert len(source.candidates) == 8
    made = make_study(tmp_path / "study", source, TERMS, Wanted(4, 0.5, 0.5), NOW)
    assert (made.good, made.defective, made.near) == (2, 2, 2)
    known = read_references(tmp_path / "study", made.study).parts.values()
    assert {one.known_by for one in known} == {("r.lindqvist",)}
    assert {(one.part, one.ratio) for one in known if one.near} == {("1-0", 0.95), ("1-1", 1.1)}
    # What the line decided then makes it an appraiser.
    result = result_of(tmp_path / "study")
    assert [(one.name, one.is_machine, one.effectiveness.count) for one in result.figures.appraisers] == [
        (LINE, True, 4)
    ]


def test_who_said_what_the_parts_are_is_in_doubt_as_an_appraiser(tmp_path: Path) -> None:
    source = RecordsSource.of(kept_on_the_line(tmp_path), "pcb", since=START, until=START + timedelta(days=1))
    terms = Terms.of(name="plates", seed=0, rounds=1, appraisers=("r.lindqvist", "Ben"))
    make_study(tmp_path / "study", source, terms, Wanted(4, 0.5, 0.5), NOW)
    doubts = result_of(tmp_path / "study").findings.doubts
    assert doubts[0] == "r.lindqvist said what 4 of the parts are before, and is measured by it: ask others"
    assert not any(doubt.startswith("Ben") for doubt in doubts)


def test_a_plant_without_the_product_or_pictures_says_so(tmp_path: Path) -> None:
    plant = kept_on_the_line(tmp_path)
    with pytest.raises(AgreementError, match="no station of line line-2 inspects product pcb"):
        RecordsSource.of(plant, "pcb", since=START, until=NOW, line="line-2")
    late = RecordsSource.of(plant, "pcb", since=NOW, until=NOW + timedelta(days=1))
    with pytest.raises(AgreementError, match="has 0 with a picture"):
        make_study(tmp_path / "study", late, TERMS, Wanted(4, 0.5, 0.5), NOW)


# Asking


def test_a_sitting_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    seen: list[int] = []

    def remembered(number: int, round_: int) -> Answer:
        seen.append(number)
        return the_truth(number, round_)

    sit(study, "Anna", remembered, most=3)
    sit(study, "Anna", remembered, most=3)
    sit(study, "Anna", remembered)
    assert len(seen) == len(set(seen)) == 8
    sit(study, "Anna", remembered)
    assert sorted(seen[:8]) == sorted(seen[8:])


def test_an_answer_that_a_crash_cut_short_is_asked_for_again(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    sit(study, "Anna", the_truth, most=3)
    path = study / "answers" / "Anna.jsonl"
    path.write_bytes(path.read_bytes()[:-12])
    plan = read_study(study)
    assert len(answers_of(study, plan, "Anna")) == 2
    sit(study, "Anna", the_truth)
    assert len(answers_of(study, plan, "Anna")) == 8
    path.write_bytes(path.read_bytes().replace(b"good", b"nice", 1))
    with pytest.raises(AgreementError, match=r"Anna.jsonl, line \d, is no answer"):
        answers_of(study, plan, "Anna")


def test_two_cannot_answer_in_one_name_at_once(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    plan = read_study(study)
    with (
        AnswerFile(study, plan, "Anna"),
        pytest.raises(AgreementError, match="Anna is being asked already"),
        AnswerFile(study, plan, "Anna"),
    ):
        pass
    with AnswerFile(study, plan, "Anna"), AnswerFile(study, plan, "Ben"):
        pass


def test_who_goes_back_answers_again_and_the_last_word_holds(tmp_path: Path) -> None:
    study = study_in(tmp_path, rounds=1)
    plan = read_study(study)
    with AnswerFile(study, plan, "Anna") as answers:
        sitting = Sitting(plan, answers, lambda: NOW, iter(range(100)).__next__)
        assert not sitting.back()
        first = sitting.next()
        sitting.answer("good")
        second = sitting.next()
        sitting.answer("good")
        assert sitting.next() != second
        assert sitting.back()
        assert sitting.back()
        assert sitting.next() == first
        sitting.answer("defective")
        third = sitting.next()
        assert third is not None
        assert third.place == 3
    given = answers_of(study, plan, "Anna")
    assert first is not None
    assert [(one.part, one.answer) for one in given if one.part == first.part.id] == [
        (first.part.id, "good"), (first.part.id, "defective"),
    ]  # fmt: skip
    assert given[0].seconds == 1.0


def test_a_full_disk_costs_no_answer_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_in(tmp_path)
    sit(study, "Anna", the_truth, most=2)
    real: Callable[[int, bytes], int] = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[:10]))
    with pytest.raises(AgreementError, match=r"the answer is not kept: the disk of .* is full"):
        sit(study, "Anna", the_truth, most=1)
    monkeypatch.undo()
    sit(study, "Anna", the_truth, most=1)
    assert len(answers_of(study, read_study(study), "Anna")) == 3


# Report


def test_figures_are_of_whole_rounds_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    with pytest.raises(AgreementError, match=r"nobody has ended a round of plates yet.* 8 answers to give"):
        result_of(study)
    sit(study, "Anna", the_truth)
    sit(study, "Anna", lambda *_: "good", most=3)
    result = result_of(study)
    (anna,) = result.figures.appraisers
    assert (anna.rounds, anna.effectiveness.count, anna.alike) == (1, 8, None)
    assert result.left_out == (
        "round 2 of Anna, of which 5 parts are not answered",
        "Ben, who was not asked yet",
    )
    assert result.figures.between is None


def test_the_report_says_who_must_be_trained_and_shows_the_parts_on_which_people_differ(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    sit(study, "Anna", the_truth, rounds=2)
    # Ben lets dents pass, which are 103 to 105, and calls one good part defective in his second round.
    sit(study, "Ben", lambda number, round_: "good" if number >= 103 else the_truth(number, round_), rounds=2)
    written = write_study_report(result_of(study), study, tmp_path / "report.html")
    page, figures = written.html.read_text(), orjson.loads(written.json.read_bytes())
    assert "Ben must be trained: 50.0 % of decisions about defective parts called them good (dent 4 of 4)" in page
    assert "Anna is acceptable by the manual&#39;s limits" in page
    assert "That Anna misses at most 2 % is not shown by 4 defective parts: it takes 183 without one miss" in page
    assert page.count("<figure>") == len(figures["differing"]) == 2
    assert all(one["source"].startswith("dent/") for one in figures["differing"])
    assert 'src="data:image/jpeg' in page
    assert "http" not in page.replace("http-equiv", "")
    by_name = {one["name"]: one for one in figures["appraisers"]}
    assert by_name["Ben"]["miss_rate"] | {"low": 0, "high": 0} == {
        "count": 4, "of": 8, "share": 0.5, "low": 0, "high": 0, "grade": "unacceptable",
    }  # fmt: skip
    assert figures["pairs"][0]["kappa"]["value"] == pytest.approx(0.5)
    assert figures["grade"] == "unacceptable"


def test_what_everybody_judges_otherwise_puts_the_reference_in_doubt(tmp_path: Path) -> None:
    study = study_in(tmp_path, rounds=1)
    for name in ("Anna", "Ben"):
        sit(study, name, lambda number, round_: "defective" if number == 0 else the_truth(number, round_))
    wanted = [part for part in read_references(study, read_study(study)).parts.values() if "part-0." in part.source]
    result = result_of(study)
    assert sum(one.all_wrong for one in result.figures.parts) == len(wanted)
    page = write_study_report(result, study, tmp_path / "report.html").html.read_text()
    assert ("Everybody is against the reference about 1 part" in page) == bool(wanted)


def test_a_name_from_a_file_is_text_on_the_page(tmp_path: Path) -> None:
    study = study_in(tmp_path, rounds=1)
    path = study / "reference.json"
    path.write_text(path.read_text().replace('"dent"', '"<script>alert(1)</script>"'))
    sit(study, "Anna", lambda *_: "good")
    page = write_study_report(result_of(study), study, tmp_path / "report.html").html.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_machine_is_asked_as_often_and_stands_beside_the_people(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    plan = read_study(study)
    asked: list[int] = []

    def look(images: Any) -> list[tuple[str, float | None]]:
        numbers = [number_of(image) for image in images]
        asked.extend(numbers)
        # A part without a score is no pass.
        return [
            ("unscored", None) if number == 100 else ("reject", 1.5) if number > 100 else ("pass", 0.5)
            for number in numbers
        ]

    described = MachineAnswers(
        name="plate 7", digest="sha256:" + "ab" * 32, threshold=2.0, rules="the default rules", rounds=({},), ratios={}
    )
    kept = ask_machine(study, plan, described, look)
    assert len(asked) == 16
    assert len(kept.rounds) == 2
    sit(study, "Anna", the_truth, rounds=2)
    result = result_of(study)
    assert result.machine_names == ("plate 7",)
    machine = next(one for one in result.figures.appraisers if one.is_machine)
    assert (machine.effectiveness.count, machine.alike and machine.alike.count) == (8, 8)
    assert result.figures.pairs[0].kappa.value == 1.0
    # The parts on which people differ are people's alone.
    assert np.array([one.answers for one in result.figures.parts]).shape == (8, 1, 2)


def test_a_picture_that_was_changed_is_not_asked_about(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    for path in (study / "pictures").iterdir():
        path.write_bytes(encoded(".png", numbered(7)))
    with pytest.raises(AgreementError, match="is damaged"):
        sit(study, "Anna", the_truth)
