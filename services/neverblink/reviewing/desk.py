"""A reviewer's desk: takes what waits, answers, takes back. Whatever it does is an event; it only reads the records.

Who holds a verdict is decided by the claims' order in their partition, which is the same for everybody: a claim is
published first, and only then read whether it stands.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import ValidationError
from sqlalchemy.orm import Session

from neverblink.events import Claim, Event, Judgement, Review
from neverblink.events.identity import derived_id
from neverblink.plant import Plant
from neverblink.records.claims import LONGEST, ClaimFacts, holders
from neverblink.records.questions import review_queue as queue
from neverblink.records.questions.part_story import pictures_of
from neverblink.records.questions.review_queue import Judged, QueueFilter, Said, Waiting
from neverblink.records.review_severity import Severity
from neverblink.records.review_state import ReviewFacts, round_of, shown_to, standing_of
from neverblink.records.slices import slices
from neverblink.reviewing.answers import Answer, ReviewError
from neverblink.reviewing.asking import Asks, asking, said_about
from neverblink.reviewing.recent import Recent, claim_facts, review_facts
from neverblink.reviewing.rights import raise_all, refused
from neverblink.reviewing.told import Answered, Seen, Taken
from neverblink.reviewing.topics import OpenTopics, Topics, TopicsForAnAct

_PAGE = 100
_MOST_PAGES = 50
_MOST_RACES = 10
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Where:
    """Which parts: of these lines, of this station, of this product; nothing named is all."""

    lines: tuple[str, ...] = ()
    station: tuple[str, str] | None = None
    product: str | None = None


class Desk:
    """One reviewer at the plant's records and topics. `lines` are those that the reviewer's account grants,
    None for all; `topics` and `records` are those of a program that holds them open, else each act opens its own.

    Its methods raise ReviewError for what cannot be done, LedgerError and KafkaError for what is away.
    """

    def __init__(
        self,
        plant: Plant,
        reviewer: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lines: tuple[str, ...] | None = None,
        *,
        topics: Topics | None = None,
        records: Callable[[], AbstractAsyncContextManager[Asks]] | None = None,
    ) -> None:
        self._plant = plant
        self._granted = lines
        self._topics = topics or TopicsForAnAct(plant)
        self._records = records or partial(asking, plant.storage.ledger)
        self._rules = plant.records.reviewing
        self._reviewer = reviewer
        self._clock = clock

    async def waiting(
        self, where: Where, limit: int, after: str | None = None
    ) -> tuple[queue.QueuePage, tuple[queue.WaitingCount, ...]]:
        """Return what waits for this reviewer, and how many wait for each reason. Raises CursorError too."""
        wanted = self._filter(where)
        async with self._records() as records:
            page = await records.ask(queue.waiting, wanted, limit, self._clock(), after)
            return page, await records.ask(queue.counts, wanted)

    async def take(self, where: Where, minutes: float | None = None, without: Collection[str] = ()) -> Taken | None:
        """Take the first that waits and is free, for so many minutes; None when nothing is.

        What the reviewer holds and has not answered yet comes first, and is held for longer. Verdicts `without` are
        left to others.
        """
        async with self._records() as records, self._topics.open() as topics:
            news = await topics.recent(self._keys(where), self._clock())
            races = 0
            async for one in self._free(records, where, news):
                if one.judged.verdict in without:
                    continue
                until = await self._claimed(topics, one.judged, minutes)
                if until is not None:
                    return await self._taken(records, one.judged, one.severity, one.wants, until)
                races += 1
                if races == _MOST_RACES:
                    raise ReviewError(
                        f"others were faster {races} times in a row: take again, or of another station", "raced"
                    )
        return None

    async def take_named(self, named: str, station: str | None = None, minutes: float | None = None) -> Taken:
        """Take this verdict, whether it waits or not."""
        async with self._records() as records, self._topics.open() as topics:
            judged = await records.ask(self._one, named, station)
            self._may(judged.line)
            self._free_or_raise(judged, await topics.recent([judged.key], self._clock()))
            until = await self._claimed(topics, judged, minutes)
            if until is None:
                raise ReviewError(f"{named} was taken by somebody else at the same time: take another one", "raced")
            severity, wants = await records.ask(queue.place_of, judged.verdict) or (None, None)
            return await self._taken(records, judged, severity, wants, until)

    async def put_back(self, named: str, station: str | None = None) -> Judged:
        """Put a verdict back that this reviewer holds."""
        async with self._records() as records, self._topics.open() as topics:
            judged = await records.ask(self._one, named, station)
            news = await topics.recent([judged.key], self._clock())
            held = news.held(self._clock()).get(judged.verdict)
            if held is None or held.reviewer != self._reviewer:
                raise ReviewError(f"{self._reviewer} does not hold {named}: there is nothing to put back", "unheld")
            await topics.send(self._claim(judged, self._clock(), released=True))
            return judged

    async def answer(self, answers: Sequence[Answer]) -> tuple[Answered, ...]:
        """Publish answers, and put back what is answered. All are checked before the first is sent."""
        async with self._records() as records, self._topics.open() as topics:
            found = await self._all_named(records, answers)
            news = await topics.recent(sorted({judged.key for judged in found}), self._clock())
            said = await said_about(records, found)
            faults = [fault for judged in found if (fault := self._fault(judged, news)) is not None]
            raise_all(faults)
            done = [self._answered(*pair, said, news) for pair in zip(found, answers, strict=True)]
            await self._published(topics, [one.review for one in done])
            held = news.held(self._clock())
            mine = [one for one in found if _held_by(held, one) == self._reviewer]
            await self._published(topics, [self._claim(one, self._clock(), released=True) for one in mine])
            return tuple(done)

    async def undo(self, named: str, station: str | None = None) -> Answered:
        """Take this reviewer's answer back: it then says nothing about the part, and the history keeps it."""
        async with self._records() as records, self._topics.open() as topics:
            judged = await records.ask(self._one, named, station)
            self._may(judged.line)
            news = await topics.recent([judged.key], self._clock())
            said = await said_about(records, [judged])
            facts = self._answers(judged, said, news)
            own = next((one for one in standing_of(facts).answers if one.reviewer == self._reviewer), None)
            if own is None:
                raise ReviewError(f"{self._reviewer} has no answer about {named} that could be taken back", "nothing")
            review = self._review(judged, Answer(named, Judgement.INCONCLUSIVE), own.round, own.at)
            review = review.model_copy(update={"withdrawn": True})
            standing = standing_of([*facts, review_facts(review, self._rules)])
            await topics.send(review)
            return Answered(review, standing.state, standing.judgement)

    async def show(self, named: str, station: str | None = None) -> Seen:
        """Return a verdict and what was said of it, as far as this reviewer may be told."""
        async with self._records() as records, self._topics.open(writes=False) as topics:
            judged = await records.ask(self._one, named, station)
            news = await topics.recent([judged.key], self._clock())
            kept = (await said_about(records, [judged])).get(judged.verdict, [])
            known = {one.facts.id: one for one in kept}
            for review in news.reviews.get(judged.verdict, ()):
                if review.id not in known:
                    facts = review_facts(review, self._rules)
                    known[review.id] = Said(facts, review.defect_type, review.regions, review.comment)
            standing = standing_of(one.facts for one in known.values())
            shown = shown_to(self._reviewer, standing)
            claim = news.held(self._clock()).get(judged.verdict)
            waits = await records.ask(queue.place_of, judged.verdict)
            return Seen(
                judged,
                standing.state,
                standing.judgement,
                standing.wants if standing.answers or waits is not None else None,
                tuple(known[one.id] for one in shown),
                len(standing.answers) - len(shown),
                None if claim is None else claim.reviewer,
                None if claim is None else claim.until,
                tuple(await records.ask(queue.defects_of, judged.verdict)),
            )

    async def given(self, since: datetime) -> dict[str, bool]:
        """Return the verdicts that this reviewer has answered since, and whether the latest word still stands.

        As the records know it: answers of the last moments may be missing.
        """
        async with self._records() as records:
            return await records.ask(queue.answered_since, self._reviewer, since)

    # What may be done

    def _refused(self, line: str) -> ReviewError | None:
        if self._granted is not None and line not in self._granted:
            return ReviewError(
                f"the account of {self._reviewer} does not judge parts of {line}", "refused", "elsewhere"
            )
        return refused(self._rules, self._reviewer, line, self._clock())

    def _may(self, line: str) -> None:
        fault = self._refused(line)
        if fault is not None:
            raise fault

    def _fault(self, judged: Judged, news: Recent) -> ReviewError | None:
        """Return why this reviewer cannot answer a verdict now, None when that is possible."""
        refused = self._refused(judged.line)
        if refused is not None:
            return refused
        held = news.held(self._clock()).get(judged.verdict)
        if held is not None and held.reviewer != self._reviewer:
            sentence = f"{held.reviewer} holds {judged.part} of {judged.key} until {held.until:%H:%M %Z}"
            return ReviewError(sentence, "held")
        return None

    def _free_or_raise(self, judged: Judged, news: Recent) -> None:
        fault = self._fault(judged, news)
        if fault is not None:
            raise fault

    def _lines(self) -> tuple[str, ...]:
        """Return the lines that this reviewer may judge, empty for all."""
        known = self._rules.reviewer(self._reviewer)
        listed = () if known is None else known.lines
        if self._granted is None:
            return listed
        found = tuple(line for line in self._granted if not listed or line in listed)
        if not found:
            raise ReviewError(f"there is no line on which {self._reviewer} judges parts", "refused", "elsewhere")
        return found

    def _filter(self, where: Where) -> QueueFilter:
        mine = self._lines()
        lines = tuple(line for line in where.lines if line in mine) if where.lines and mine else where.lines or mine
        if where.lines and not lines:
            self._may(where.lines[0])
        since = self._clock() - timedelta(days=self._rules.waits_days)
        return QueueFilter(since, lines, where.station, where.product, self._reviewer)

    def _keys(self, where: Where) -> list[str]:
        return [
            f"{line.name}/{station.name}"
            for line, station in self._plant.stations()
            if (not where.lines or line.name in where.lines) and where.station in (None, (line.name, station.name))
        ]

    # What is free

    async def _free(self, records: Asks, where: Where, news: Recent) -> AsyncIterator[Waiting]:
        """Yield what waits for this reviewer and nobody else holds: first what the reviewer holds already."""
        wanted = self._filter(where)
        self._may_take(where)
        held = news.held(self._clock())
        mine = [verdict for verdict, claim in held.items() if claim.reviewer == self._reviewer]
        for verdict, judged in (await records.ask(queue.verdicts_of, mine)).items():
            place = await records.ask(queue.place_of, verdict)
            if place is not None and _within(judged, wanted):
                one = Waiting(judged, *place)
                for still in await self._unanswered(records, [one], news):
                    yield still
        after: str | None = None
        for _ in range(_MOST_PAGES):
            page = await records.ask(queue.waiting, wanted, _PAGE, self._clock(), after)
            free = [one for one in page.rows if _held_by(held, one.judged) is None]
            for one in await self._unanswered(records, free, news):
                yield one
            after = page.cursor
            if after is None:
                return

    def _may_take(self, where: Where) -> None:
        asked = where.lines or ((where.station[0],) if where.station else ())
        for line in asked or self._lines() or [line.name for line in self._plant.lines][:1]:
            self._may(line)

    async def _unanswered(self, records: Asks, rows: Sequence[Waiting], news: Recent) -> list[Waiting]:
        """Return those that still want an answer of this reviewer, with what the ledger does not know yet."""
        said = await said_about(records, [one.judged for one in rows])
        found = []
        for one in rows:
            standing = standing_of(self._answers(one.judged, said, news))
            if standing.wants is not None and all(answer.reviewer != self._reviewer for answer in standing.answers):
                found.append(replace(one, wants=standing.wants))
        return found

    def _answers(self, judged: Judged, said: Mapping[str, Sequence[Said]], news: Recent) -> list[ReviewFacts]:
        kept = [one.facts for one in said.get(judged.verdict, ())]
        return news.answers(judged.verdict, kept, self._rules)

    # What is published

    async def _claimed(self, topics: OpenTopics, judged: Judged, minutes: float | None) -> datetime | None:
        """Claim a verdict, and return until when it is this reviewer's; None when another claim came first."""
        now = self._clock()
        place = await topics.send(self._claim(judged, now, minutes))
        told = await topics.claims_to(place, judged.key, now)
        held = holders(map(claim_facts, told), now).get(judged.verdict)
        return held.until if held is not None and held.reviewer == self._reviewer else None

    async def _taken(
        self, records: Asks, judged: Judged, severity: Severity | None, wants: str | None, until: datetime
    ) -> Taken:
        defects = await records.ask(queue.defects_of, judged.verdict)
        pictures = await records.ask(pictures_of, judged.verdict)
        return Taken(judged, severity, wants, until, tuple(defects), tuple(pictures))

    def _claim(self, judged: Judged, now: datetime, minutes: float | None = None, *, released: bool = False) -> Claim:
        kept = timedelta(minutes=self._rules.claim_minutes if minutes is None else minutes)
        return Claim(
            id=derived_id("claim", judged.verdict, self._reviewer, now.isoformat(), released),
            verdict=judged.verdict,
            line=judged.line,
            station=judged.station,
            reviewer=self._reviewer,
            at=now,
            until=now if released else now + min(kept, LONGEST),
            released=released,
        )

    def _answered(self, judged: Judged, answer: Answer, said: Mapping[str, Sequence[Said]], news: Recent) -> Answered:
        facts = self._answers(judged, said, news)
        second = self._rules.second_wanted(judged.product, judged.decision, judged.verdict)
        earlier = max((one.at for one in facts if one.reviewer == self._reviewer), default=None)
        review = self._review(judged, answer, round_of(self._reviewer, facts, second), earlier)
        standing = standing_of([*facts, review_facts(review, self._rules)])
        return Answered(review, standing.state, standing.judgement)

    def _review(self, judged: Judged, answer: Answer, look: str | None, earlier: datetime | None) -> Review:
        """Return the event; it is later than the reviewer's earlier word, whatever the clocks of two machines say."""
        at = self._clock()
        if earlier is not None:
            at = max(at, earlier + timedelta(microseconds=1))
        try:
            return Review(
                id=derived_id("review", judged.verdict, self._reviewer, at.isoformat()),
                verdict=judged.verdict,
                frame_id=judged.frame_id,
                line=judged.line,
                station=judged.station,
                product=judged.product,
                part=judged.part,
                judgement=answer.judgement,
                defect_type=answer.defect_type,
                regions=answer.regions,
                reviewer=self._reviewer,
                comment=answer.comment,
                at=at,
                round=look,
                identity=judged.identity,
            )
        except ValidationError as error:
            fault = error.errors()[0]
            raise ReviewError(f"{answer.named} cannot be answered so: {fault['loc'][0]}: {fault['msg']}") from error

    async def _published(self, topics: OpenTopics, events: Sequence[Event]) -> None:
        for some in slices(events, _AT_ONCE):
            await asyncio.gather(*map(topics.send, some))

    # Records and Kafka

    async def _all_named(self, records: Asks, answers: Sequence[Answer]) -> list[Judged]:
        """Return the verdict that each answer is about. Raises ReviewError for all that name none, or one twice."""

        def named(session: Session, some: Sequence[Answer]) -> list[Judged | ReviewError]:
            found: list[Judged | ReviewError] = []
            for answer in some:
                try:
                    found.append(self._one(session, answer.named, answer.station))
                except ReviewError as error:
                    found.append(error)
            return found

        # A question may take so long and no longer, and a file may hold thousands of answers.
        found = [one for some in slices(answers, _AT_ONCE) for one in await records.ask(named, some)]
        faults = [one for one in found if isinstance(one, ReviewError)]
        judged = [one for one in found if isinstance(one, Judged)]
        times = Counter(one.verdict for one in judged)
        faults += [
            ReviewError(f"{one.part} of {one.key} is answered twice") for one in judged if times[one.verdict] > 1
        ]
        raise_all(faults)
        return judged

    def _one(self, session: Session, named: str, station: str | None) -> Judged:
        """Return the one verdict that a text names. Raises ReviewError when it is none or several."""
        lines = [line.name for line in self._plant.lines]
        found = queue.verdicts_named(session, named, lines)
        if station is not None:
            found = [one for one in found if station in (one.key, one.station)]
        if not found:
            where = f" at {station}" if station is not None else ""
            raise ReviewError(
                f"the ledger has no verdict, serial number or part {named[:128]!r}{where}: is it written as"
                " `neverblink ledger parts` shows it, and has the ledger caught up?",
                "absent",
            )
        if len(found) > 1:
            places = ", ".join(sorted({f"{one.key} ({one.verdict})" for one in found})[:4])
            raise ReviewError(f"{named} was judged {len(found)} times, at {places}: name the station or the verdict")
        return found[0]


def _held_by(held: Mapping[str, ClaimFacts], judged: Judged) -> str | None:
    claim = held.get(judged.verdict)
    return None if claim is None else claim.reviewer


def _within(judged: Judged, wanted: QueueFilter) -> bool:
    return (
        (not wanted.lines or judged.line in wanted.lines)
        and wanted.station in (None, (judged.line, judged.station))
        and wanted.product in (None, judged.product)
    )
