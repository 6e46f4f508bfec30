"""Retention: never above the bound, never what nobody reviewed, and what a crash leaves is found and mended."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kept_evidence import START, KeptEvidence, body_of, review, verdict
from sqlalchemy import select

from neverblink.events import Decision, Verdict
from neverblink.events.topics import GIB
from neverblink.ledger.retention import EvidenceStoppedError
from neverblink.records.columns import Table
from neverblink.records.evidence_store import SHELVES
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.parts import PartRules
from neverblink.records.questions.evidence_counts import EvidenceCount, evidence_counts

DAY = timedelta(days=1)
KIB = 1024


def live(kept: KeptEvidence) -> list[EvidenceFileRow]:
    with kept.database.session() as session:
        return list(session.scalars(select(EvidenceFileRow).where(EvidenceFileRow.deleted.is_(None))))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeptEvidence]:
    """A store of 10 pictures of 1,000 bytes; the records in both kinds of database, PostgreSQL a real server."""
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    found = KeptEvidence(tmp_path, url=url, max_gib=10_000 / GIB, passes=1.0)
    yield found
    if url is not None:
        Table.metadata.drop_all(found.database.session().get_bind())
    found.close()


def fill(kept: KeptEvidence, *verdicts: Verdict, now: datetime = START) -> None:
    kept.record(*verdicts, now=now)
    kept.look(now)
    kept.keep(kept.wanted(), now)


def test_three_months_stay_below_the_bound_and_nothing_unreviewed_goes(tmp_path: Path) -> None:
    """2 GiB and frames of 16 MiB, each 1,024 times smaller: the arithmetic is in bytes, whatever their unit.

    Of 8 frames a day 4 are for people to look at, who look at nine in ten of them, three days or a fortnight later.
    """
    bound = 2 * GIB // KIB
    frame = 16 * KIB  # 128 of them fill it, and 90 days bring 720
    kept = KeptEvidence(tmp_path, max_gib=bound / GIB, passes=1.0, keep_days={"passes": 75, "alerts": 75})
    draw = random.Random(18)
    told = Counter[str]()
    reviewed: dict[str, Verdict] = {}
    to_review: list[tuple[datetime, Verdict]] = []
    protected: dict[str, str] = {}
    for day in range(0, 90, 3):
        now = START + day * DAY
        passes = [verdict(day * 8 + number, at=now + timedelta(seconds=number)) for number in range(12)]
        to_look_at = [
            one
            for number in (day * 8 + 12, day * 8 + 16, day * 8 + 20)
            for one in (
                verdict(number, Decision.REJECT, at=now),
                verdict(number + 1, Decision.UNSCORED, at=now),
                verdict(number + 2, unsure=True, at=now),
                verdict(number + 3, holdout=True, at=now),
            )
        ]
        kept.record(*passes, *to_look_at, now=now)
        kept.look(now)
        pictures = kept.keep(kept.wanted(), now, bytes_=frame)
        told.update(picture.why for picture in pictures)
        asked = {one.id: one for one in to_look_at}
        for picture in pictures:
            if picture.verdict_id in asked:
                protected[picture.digest] = picture.why
                if draw.random() < 0.9:
                    to_review.append((now + draw.choice((3, 15)) * DAY, asked[picture.verdict_id]))
        assert sum(kept.files.values()) == kept.retention.bytes <= bound
        answered = [one for due, one in to_review if due <= now]
        to_review = [(due, one) for due, one in to_review if due > now]
        kept.record(*(review(one, at=now) for one in answered), now=now)
        reviewed |= {one.id: one for one in answered}
        kept.retention.by_age(now)
        rows, files = live(kept), kept.files
        assert {row.digest for row in rows} == files.keys()
        there = {row.verdict_id for row in rows}
        unseen = [digest for digest in protected if digest not in files]
        gone = {one.id for one in reviewed.values()} - there
        assert len(unseen) == len(gone), "only what somebody has reviewed may go"
    rows = live(kept)
    assert told == {"pass": 360, "reject": 90, "unscored": 90, "unsure": 90, "holdout": 90}
    assert len(rows) == bound // frame == 128
    waiting = Counter(row.why for row in rows if row.verdict_id not in reviewed and row.why != "pass")
    assert sum(waiting.values()) == 360 - len(reviewed)
    oldest_pass = min((row.captured for row in rows if row.why == "pass"), default=START + 90 * DAY)
    assert oldest_pass > START + 70 * DAY, "the oldest passes went first"
    kept.close()


def test_where_all_waits_for_a_person_evidence_stops_and_says_so_and_goes_on_after_a_review(
    kept: KeptEvidence,
) -> None:
    rejects = [verdict(number, Decision.REJECT, at=START + timedelta(seconds=number)) for number in range(10)]
    fill(kept, *rejects)
    more = verdict(11, Decision.UNSCORED)
    kept.record(more)
    kept.look(START)
    with pytest.raises(
        EvidenceStoppedError,
        match=r"holds 10 KiB of the 10 KiB that records\.evidence\.max_gib allows; nothing in it may go, because nobody"
        r" has reviewed it \(10 reject\).*records go on",
    ):
        kept.keep(kept.wanted(), START)
    assert len(kept.files) == 10
    kept.record(review(rejects[3]))
    kept.keep(kept.wanted(), START)
    assert len(kept.files) == 10
    assert rejects[3].id not in {row.verdict_id for row in live(kept)}


def test_what_goes_first_is_the_oldest_that_nobody_needs(kept: KeptEvidence) -> None:
    old_reject, defect = verdict(1, Decision.REJECT), verdict(2, Decision.REJECT)
    known_pass = verdict(3, at=START + timedelta(minutes=1))
    passes = [verdict(number, at=START + timedelta(hours=number)) for number in range(4, 7)]
    fill(kept, old_reject, defect, known_pass, *passes, *(verdict(20 + n, Decision.REJECT) for n in range(4)))
    kept.record(review(old_reject), review(defect, "defect"), review(known_pass))
    order = []
    for number in range(6):
        before = {row.verdict_id for row in live(kept)}
        fill(kept, verdict(30 + number, Decision.REJECT))
        (gone,) = before - {row.verdict_id for row in live(kept)}
        order.append(gone)
    assert order == [one.id for one in (*passes, known_pass, old_reject, defect)]
    with pytest.raises(EvidenceStoppedError):
        fill(kept, verdict(40, Decision.REJECT))


@pytest.mark.parametrize("decision", [Decision.REJECT, Decision.UNSCORED])
def test_an_answer_that_was_taken_back_protects_the_picture_again(kept: KeptEvidence, decision: Decision) -> None:
    one = verdict(1, decision)
    fill(kept, one)
    kept.record(review(one, "normal"))
    back = review(one, "inconclusive", at=START + timedelta(hours=2), withdrawn=True)
    kept.record(back)
    assert kept.retention.by_age(START + 9999 * DAY) == 0
    kept.record(review(one, "defect", reviewer="a.moreau"))
    assert kept.retention.by_age(START + 9999 * DAY) == 1


def test_where_two_people_shall_look_one_answer_is_not_enough_nor_are_two_that_disagree(tmp_path: Path) -> None:
    kept = KeptEvidence(tmp_path, keep_days={"rejects": 1})
    one, agreed, disputed = (verdict(number, Decision.REJECT) for number in range(3))
    fill(kept, one, agreed, disputed)
    for looked_at, second in ((one, None), (agreed, "normal"), (disputed, "defect")):
        kept.record(review(looked_at, round="first"))
        if second is not None:
            kept.record(review(looked_at, second, reviewer="a.moreau", round="second"))
    assert kept.retention.by_age(START + 20 * DAY) == 1
    assert {row.verdict_id for row in live(kept)} == {one.id, disputed.id}
    kept.record(review(disputed, "defect", reviewer="t.okafor", round="final"))
    assert kept.retention.by_age(START + 20 * DAY) == 1
    kept.close()


def test_answers_of_people_who_are_not_on_the_list_let_nothing_go(tmp_path: Path) -> None:
    rules = PartRules(counts=lambda reviewer, *_: reviewer == "r.lindqvist")
    kept = KeptEvidence(tmp_path, rules=rules, keep_days={"rejects": 1})
    one = verdict(1, Decision.REJECT)
    fill(kept, one)
    kept.record(review(one, reviewer="somebody"))
    assert kept.retention.by_age(START + 20 * DAY) == 0
    kept.record(review(one))
    assert kept.retention.by_age(START + 20 * DAY) == 1
    kept.close()


def test_age_deletes_each_kind_when_its_days_are_over(tmp_path: Path) -> None:
    kept = KeptEvidence(tmp_path, passes=1.0, keep_days={"passes": 30, "rejects": 300})
    good, escape, bad = verdict(1), verdict(2), verdict(3, Decision.REJECT)
    fill(kept, good, escape, bad)
    kept.record(review(escape, "defect"), review(bad))
    assert kept.retention.by_age(START + 29 * DAY) == 0
    assert kept.retention.by_age(START + 31 * DAY) == 1
    assert {row.verdict_id for row in live(kept)} == {escape.id, bad.id}
    assert kept.retention.by_age(START + 301 * DAY) == 2
    assert kept.files == {}
    kept.close()


def test_the_same_bytes_lie_there_once_and_go_with_their_last_row(kept: KeptEvidence) -> None:
    kept.record(verdict(1), verdict(2, at=START + timedelta(hours=1)))
    kept.look(START)
    pictures = kept.pictures(kept.wanted())
    digest = kept.store.put(b"frozen")
    rows = [replace(one, digest=digest, bytes=6) for one in pictures]
    kept.retention.keep(rows, START)
    assert kept.retention.bytes == kept.book.kept_bytes() == 6
    assert kept.retention.make_way(1, START) == 6
    assert kept.files == {}
    assert kept.retention.bytes == kept.book.kept_bytes() == 0


def aged(kept: KeptEvidence) -> None:
    for path in kept.folder.rglob("*"):
        os.utime(path, (time.time() - 9999, time.time() - 9999))


def test_files_without_a_row_are_deleted_and_young_ones_left(kept: KeptEvidence) -> None:
    fill(kept, verdict(1))
    digest = kept.store.put(b"put, and killed before its row")
    (kept.folder / digest[:2] / ".x.partial").write_bytes(b"half")
    (kept.folder / digest[:2] / "notes.txt").write_text("somebody's")
    now = datetime.fromtimestamp(time.time(), START.tzinfo)
    kept.begin(now)
    assert kept.retention.tidy(digest[:2], now).orphans == 0
    aged(kept)
    found = [kept.retention.tidy(shelf, now) for shelf in SHELVES]
    assert sum(one.orphans for one in found) == 2
    assert sorted(kept.files) == sorted([*(row.digest for row in live(kept)), "notes.txt"])


def test_a_row_whose_file_is_gone_is_fetched_again_while_the_topic_has_its_frame(kept: KeptEvidence) -> None:
    fill(kept, verdict(1, Decision.REJECT), verdict(2, Decision.REJECT, at=START - timedelta(hours=5)))
    for path in list(kept.folder.rglob("*")):
        if path.is_file():
            path.unlink()
    now = START + timedelta(hours=2)
    found = [kept.retention.tidy(shelf, now) for shelf in SHELVES]
    assert sum(one.missing for one in found) == 2
    assert sum(one.wanted_again for one in found) == 1
    assert [one.offset for one in kept.wanted()] == [1]
    assert live(kept) == []
    assert kept.retention.bytes == 0


def test_killed_between_the_mark_and_the_file_the_file_is_found(
    kept: KeptEvidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kept, verdict(1))

    def killed(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kept.store, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        kept.retention.make_way(1, START)
    monkeypatch.undo()
    assert live(kept) == []
    assert len(kept.files) == 1
    now = datetime.fromtimestamp(time.time(), START.tzinfo)
    kept.begin(now)
    aged(kept)
    assert sum(kept.retention.tidy(shelf, now).orphans for shelf in SHELVES) == 1
    assert kept.files == {}


def test_what_is_held_what_waits_and_what_was_lost_is_asked_by_why(kept: KeptEvidence) -> None:
    rejects = [verdict(number, Decision.REJECT) for number in range(3)]
    fill(kept, verdict(9), *rejects)
    kept.record(review(rejects[0]), verdict(10, Decision.REJECT), verdict(11, Decision.REJECT))
    kept.look(START)
    kept.book.lose({kept.wanted()[0].id: "gone"})
    kept.retention.make_way(1, START)
    with kept.database.session() as session:
        counts = evidence_counts(session)
    assert counts == [
        EvidenceCount("pass", 0, 0, 0, 0, 1, {}),
        EvidenceCount("reject", 1, 3, 3000, 2, 0, {"gone": 1}),
    ]


def test_killed_between_file_and_row_the_frame_is_still_wanted_and_put_once_more(kept: KeptEvidence) -> None:
    kept.record(verdict(1, Decision.REJECT))
    kept.look(START)
    (wanted,) = kept.wanted()
    digest = kept.store.put(body_of(wanted, 1000))
    kept.begin(START)
    kept.look(START)
    assert kept.wanted() == [wanted]
    kept.keep(kept.wanted(), START)
    assert kept.wanted() == []
    assert kept.files == {digest: 1000}
    assert kept.retention.bytes == kept.book.kept_bytes() == 1000


def test_a_line_with_many_rejects_waits_for_the_others_and_passes_for_rejects(kept: KeptEvidence) -> None:
    kept.record(
        *(verdict(number, Decision.REJECT, at=START + timedelta(seconds=number)) for number in range(30)),
        verdict(1, Decision.REJECT, line="line-2"),
        verdict(50),
        verdict(51, Decision.REJECT, at=START + timedelta(minutes=5), line="line-3"),
        verdict(52, line="line-3"),
    )
    kept.look(START)
    found = kept.book.next_wanted(2, 64)
    assert [(one.line, one.why, one.offset) for one in found] == [
        ("line-1", "reject", 0),
        ("line-1", "reject", 1),
        ("line-2", "reject", 1),
        ("line-3", "reject", 51),
        ("line-3", "pass", 52),
    ]
    assert [one.offset for one in kept.book.next_wanted(1, 64, [found[0].id])] == [1, 1, 51]


def test_a_clock_that_is_set_back_a_little_hides_no_verdict(kept: KeptEvidence) -> None:
    kept.record(verdict(1, Decision.REJECT), now=START)
    kept.look(START)
    kept.record(verdict(2, Decision.REJECT), now=START - timedelta(seconds=3))
    kept.look(START)
    kept.record(verdict(3, Decision.REJECT), now=START - timedelta(hours=2))
    kept.look(START - timedelta(hours=2))
    assert sorted(one.offset for one in kept.wanted()) == [1, 2, 3]
