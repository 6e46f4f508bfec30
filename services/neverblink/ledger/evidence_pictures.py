"""Keeps the overlays and thumbnails of kept frames, from the evidence topic."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from neverblink import telemetry
from neverblink.events import EventError, Evidence
from neverblink.kafka import EventConsumer, Partition, Record
from neverblink.ledger import spans
from neverblink.ledger.evidence_book import Picture, picture_id
from neverblink.ledger.evidence_desk import AT_ONCE, EvidenceDesk, ToKeep
from neverblink.ledger.evidence_keeper import FAULTS
from neverblink.records.slices import slices
from neverblink.service_life import wait_or_stop

AT_A_TIME: Final = 8
"""Records in hand: each has 8 MiB at most."""

_RETRY_S = 10.0
_LOOK_AGAIN_S = 0.5


class EvidencePictures:
    """Reads the evidence topic and keeps what belongs to a frame that is kept or wanted.

    A picture may come before its verdict is recorded, so it waits for that, `patience_s` at most. Offsets are
    committed once its row is written; a picture that comes twice has the same id.
    """

    def __init__(
        self, consumer: EventConsumer, desk: EvidenceDesk, stop: asyncio.Event, *, patience_s: float = 60.0
    ) -> None:
        self._consumer, self._desk, self._stop = consumer, desk, stop
        self._patience_s = patience_s
        self._recurring = telemetry.Recurring(telemetry.logger("ledger"))
        self.fault: str | None = None
        """Why no pictures are kept now."""

    async def run(self) -> None:
        """Keep pictures until `stop` is set."""
        records: Sequence[Record] = ()
        while not self._stop.is_set():
            try:
                records = records or await self._consumer.poll(AT_A_TIME)
                if records:
                    await self._keep(records)
                    await self._consumer.commit(_next_offsets(records))
                records, self.fault = (), None
            except FAULTS as error:
                self.fault = str(error)
                await wait_or_stop(self._stop, _RETRY_S)

    async def _keep(self, records: Sequence[Record]) -> None:
        pictures: dict[str, Evidence] = {}
        traces: dict[str, Mapping[str, str]] = {}
        for record in records:
            try:
                event, envelope = record.read(Evidence)
            except EventError as error:
                self._recurring.tell("unreadable", f"a picture on the evidence topic cannot be read: {error}")
                continue
            identity = picture_id(event.frame, event.kind)
            if identity not in pictures:
                pictures[identity], traces[identity] = event, envelope.trace
        verdicts = {event.verdict for event in pictures.values()}
        await self._wait_for(verdicts)
        wanted = await self._desk.ask(partial(self._desk.book.wanted_of, verdicts))
        to_keep = [
            ToKeep(_picture(identity, event, *wanted[event.verdict][:2]), partial(bytes, event.body))
            for identity, event in pictures.items()
            if event.verdict in wanted
        ]
        for some in slices(to_keep, AT_ONCE):
            began = time.time_ns()
            faults = await self._desk.keep(some)
            spans.pictures_kept(
                ((put.row, traces[put.row.id]) for put, fault in zip(some, faults, strict=True) if fault is None),
                began,
            )

    async def _wait_for(self, verdicts: set[str]) -> None:
        """Wait until it is known of these verdicts whether their frames are kept."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._patience_s
        while verdicts and not self._stop.is_set():
            seen = await self._desk.ask(partial(self._desk.book.looked_at, verdicts))
            if verdicts <= seen:
                return
            if clock() >= give_up:
                self._recurring.tell(
                    "no verdict",
                    f"{len(verdicts - seen)} pictures on the evidence topic belong to verdicts that have not been"
                    f" recorded for {self._patience_s:.0f} s, and are not kept",
                )
                return
            await wait_or_stop(self._stop, _LOOK_AGAIN_S)


def _picture(identity: str, event: Evidence, why: str, product: str) -> Picture:
    return Picture(
        id=identity,
        frame_id=event.frame,
        verdict_id=event.verdict,
        line=event.line,
        station=event.station,
        product=product,
        kind=event.kind,
        why=why,
        captured=event.captured,
        digest=hashlib.sha256(event.body).hexdigest(),
        bytes=len(event.body),
        content_type=event.content_type,
    )


def _next_offsets(records: Sequence[Record]) -> dict[Partition, int]:
    return {record.place: record.offset + 1 for record in sorted(records, key=lambda each: each.offset)}
