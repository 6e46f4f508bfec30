"""Fetches the frames that shall be kept before their topic forgets them, fairly over lines, and tidies the store."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from neverblink import telemetry
from neverblink.errors import NeverblinkError
from neverblink.events import EventError, Frame
from neverblink.kafka import KafkaError
from neverblink.kafka.placed_records import PlacedRecords
from neverblink.ledger import spans
from neverblink.ledger.evidence_book import FRAME, Picture, Wanted
from neverblink.ledger.evidence_desk import AT_ONCE, IN_HAND_BYTES, EvidenceDesk, ToKeep
from neverblink.ledger.retention import EvidenceStoppedError
from neverblink.plant import Kafka
from neverblink.records.database import LedgerError
from neverblink.records.evidence_store import SHELVES, EvidenceStoreError
from neverblink.service_life import wait_or_stop
from neverblink.storage.frame_objects import ObjectError, ObjectStore, body_of

GONE: Final = "gone"
UNREADABLE: Final = "unreadable"

EACH: Final = 8
"""Frames of a line in one round: a line with many rejects waits for the others, not they for it."""
ROUND: Final = 64

FAULTS = (LedgerError, EvidenceStoreError, EvidenceStoppedError, KafkaError)
"""What is at fault outside; it is told, and tried again."""

_LOOK_EVERY_S = 1.0
_RETRY_S = 10.0
_AGES_EVERY_S = 600.0
_SHELF_EVERY_S = 300.0
_FIRST_SHELVES_EVERY_S = 0.5
_MOST_PUT_OFF = 1000


@dataclass(frozen=True, slots=True)
class _InHand:
    wanted: Wanted
    frame: Frame
    trace: Mapping[str, str]


class EvidenceKeeper:
    """Keeps the frames of verdicts. A round fetches the oldest few of every line, one after the other.

    It holds `IN_HAND_BYTES` of them at most, or one larger one. What is kept, lost or still wanted stands in rows, so
    whoever is killed goes on where it was.
    """

    def __init__(self, kafka: Kafka, desk: EvidenceDesk, objects: ObjectStore | None, stop: asyncio.Event) -> None:
        self._kafka, self._desk, self._objects, self._stop = kafka, desk, objects, stop
        self._log = telemetry.logger("ledger")
        self._recurring = telemetry.Recurring(self._log)
        self._put_off: dict[str, float] = {}
        self.fault: str | None = None
        """Why no frames are kept now."""
        self.untidy: str | None = None
        """Why the store is not looked after now."""

    async def run(self) -> None:
        """Keep frames until `stop` is set."""
        while not self._stop.is_set():
            try:
                async with PlacedRecords(self._kafka, "frames", client_id="neverblink-ledger-evidence") as frames:
                    while not self._stop.is_set():
                        busy = await self.round(frames)
                        self._is_well()
                        if not busy:
                            await wait_or_stop(self._stop, _LOOK_EVERY_S)
            except FAULTS as error:
                self._is_at_fault(error)
                await wait_or_stop(self._stop, _RETRY_S)

    async def round(self, frames: PlacedRecords) -> bool:
        """Look what is wanted and keep some of it; return whether there is more to do. Raises one of FAULTS."""
        more = await self._desk.ask(partial(self._desk.book.look, self._desk.clock()))
        now = asyncio.get_running_loop().time()
        self._put_off = {name: until for name, until in self._put_off.items() if until > now}
        wanted = await self._desk.ask(partial(self._desk.book.next_wanted, EACH, ROUND, tuple(self._put_off)))
        lost: dict[str, str] = {}
        in_hand: list[_InHand] = []
        for one in sorted(wanted, key=lambda each: (each.partition, each.offset)):
            if self._stop.is_set():
                break
            found = await self._frame(frames, one)
            if isinstance(found, str):
                lost[one.id] = found
                continue
            if in_hand and sum(each.frame.size for each in in_hand) + found.frame.size > IN_HAND_BYTES:
                lost |= await self._keep(in_hand)
                in_hand = []
            in_hand.append(found)
            if len(in_hand) == AT_ONCE:
                lost |= await self._keep(in_hand)
                in_hand = []
        lost |= await self._keep(in_hand)
        await self._lose(lost)
        return more or bool(wanted)

    async def tidy(self) -> None:
        """Delete what is too old and mend what a crash has left, shelf by shelf, until `stop` is set."""
        clock = asyncio.get_running_loop().time
        ages_at, shelf = clock(), 0
        while not self._stop.is_set():
            try:
                if clock() >= ages_at:
                    deleted = await self._desk.ask(partial(self._desk.retention.by_age, self._desk.clock()))
                    if deleted:
                        self._desk.measured.deleted.add(deleted)
                        self._log.info(f"{deleted} pictures were older than records.evidence.keep_days and are deleted")
                    ages_at = clock() + _AGES_EVERY_S
                await self._tidy_shelf(SHELVES[shelf % len(SHELVES)])
                shelf += 1
                self.untidy = None
            except FAULTS as error:
                self.untidy = str(error)
                await wait_or_stop(self._stop, _RETRY_S)
            await wait_or_stop(self._stop, _FIRST_SHELVES_EVERY_S if shelf < len(SHELVES) else _SHELF_EVERY_S)

    async def _tidy_shelf(self, shelf: str) -> None:
        tidied = await self._desk.tidy(shelf)
        if tidied.orphans:
            self._recurring.tell(
                "orphans", f"{tidied.orphans} files in the evidence store belonged to no record and are deleted"
            )
        if tidied.missing:
            self._recurring.tell(
                "missing",
                f"{tidied.missing} pictures are not in the evidence store though the records name them;"
                f" {tidied.wanted_again} of them are fetched again",
                level=logging.ERROR,
            )

    async def _frame(self, frames: PlacedRecords, wanted: Wanted) -> _InHand | str:
        """Return a wanted frame as its topic holds it, or the word for why it cannot be had. Raises KafkaError."""
        record = await frames.at(wanted.partition, wanted.offset)
        if record is None:
            return GONE
        try:
            frame, envelope = record.read(Frame)
        except EventError:
            return UNREADABLE
        # Another frame lies there: the topic was made anew.
        return _InHand(wanted, frame, envelope.trace) if frame.id == wanted.frame_id else GONE

    async def _keep(self, in_hand: Sequence[_InHand]) -> dict[str, str]:
        """Keep frames; return why those are lost that cannot be had. Raises one of FAULTS."""
        if not in_hand:
            return {}
        pictures = [
            ToKeep(_picture(one.wanted, one.frame), partial(body_of, one.frame, self._objects)) for one in in_hand
        ]
        lost: dict[str, str] = {}
        began = time.time_ns()
        faults = await self._desk.keep(pictures)
        spans.pictures_kept(
            ((put.row, one.trace) for one, put, fault in zip(in_hand, pictures, faults, strict=True) if fault is None),
            began,
        )
        for one, fault in zip(in_hand, faults, strict=True):
            if fault is None:
                continue
            if _may_come(fault):
                self._put_it_off(one.wanted, fault)
            else:
                lost[one.wanted.id] = str(fault.reason) if isinstance(fault, ObjectError) else "digest-mismatch"
        return lost

    def _put_it_off(self, wanted: Wanted, fault: NeverblinkError) -> None:
        if len(self._put_off) < _MOST_PUT_OFF:
            self._put_off[wanted.id] = asyncio.get_running_loop().time() + _RETRY_S
        self._recurring.tell("put off", f"a frame of {wanted.line}/{wanted.station} is tried again: {fault}")

    async def _lose(self, lost: dict[str, str]) -> None:
        if not lost:
            return
        await self._desk.ask(partial(self._desk.book.lose, lost))
        for reason in lost.values():
            self._desk.measured.lost.add(1, {"reason": reason})
        for reason in sorted(set(lost.values())):
            count = sum(each == reason for each in lost.values())
            self._recurring.tell(("lost", reason), f"{count} frames that were to be kept {_SAID.get(reason, reason)}")

    def _is_well(self) -> None:
        if self.fault is not None:
            self._log.info("evidence is kept again")
        self.fault = None

    def _is_at_fault(self, error: NeverblinkError) -> None:
        # Database and topics are told of where records are kept.
        if self.fault is None and isinstance(error, EvidenceStoreError | EvidenceStoppedError):
            self._log.error(f"{error}; evidence is tried again every {_RETRY_S:.0f} s")
        self.fault = str(error)


_SAID = {
    GONE: "are no longer on their topic: it forgot them before they could be fetched",
    UNREADABLE: "are no frames that can be read",
    "object-missing": "are no longer in the object store",
    "digest-mismatch": "do not have the digest that their event states, and are not kept",
}


def _picture(wanted: Wanted, frame: Frame) -> Picture:
    return Picture(
        id=wanted.id,
        frame_id=wanted.frame_id,
        verdict_id=wanted.verdict_id,
        line=wanted.line,
        station=wanted.station,
        product=wanted.product,
        kind=FRAME,
        why=wanted.why,
        captured=wanted.captured,
        digest=frame.sha256,
        bytes=frame.size,
        content_type=frame.content_type,
    )


def _may_come(fault: NeverblinkError) -> bool:
    """Say whether an object that could not be read may be read later: its store, not it, is at fault."""
    cause = fault.__cause__
    return isinstance(fault, ObjectError) and cause is not None and not isinstance(cause, FileNotFoundError)
