"""Verdicts in a ledger, an evidence store, and the rows of both, without a broker."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neverblink.events import ArtifactRef, Decision, Event, Review, Times, Verdict
from neverblink.events.identity import derived_id, verdict_id
from neverblink.ledger.evidence_book import FRAME, EvidenceBook, Picture, Wanted
from neverblink.ledger.retention import Retention
from neverblink.ledger.writing import keep
from neverblink.plant import EvidencePolicy
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.parts import PartRules

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)
HORIZON = timedelta(hours=6)


def verdict(number: int, decision: Decision = Decision.PASS, *, at: datetime = START, **changes: Any) -> Verdict:
    """Build a verdict whose frame lies on partition 0 at the offset `number`."""
    scored = decision is not Decision.UNSCORED
    frame = derived_id("test-frame", changes.get("line", "line-1"), number)
    fields: dict[str, Any] = {
        "id": verdict_id(frame),
        "frame_id": frame,
        "line": "line-1",
        "station": "top",
        "product": "pcb",
        "part": f"1-{number}",
        "seq": number,
        "decision": decision,
        "reason": {Decision.REJECT: "anomaly", Decision.UNSCORED: "corrupt-image"}.get(decision),
        "score": 1.0 if scored else None,
        "threshold": 2.0 if scored else None,
        "ratio": 0.5 if scored else None,
        "artifact": ARTIFACT if scored else None,
        "times": Times(captured=at),
        "deadline": at + timedelta(seconds=2),
        "frame_partition": 0,
        "frame_offset": number,
    }
    return Verdict(**{**fields, **changes})


def review(of: Verdict, judgement: str = "normal", *, at: datetime | None = None, **changes: Any) -> Review:
    """Build a person's answer about a verdict."""
    about = {name: getattr(of, name) for name in ("frame_id", "line", "station", "product", "part")}
    when = at or of.times.captured + timedelta(hours=1)
    fields = {"verdict": of.id, "judgement": judgement, "reviewer": "r.lindqvist", "at": when, **about, **changes}
    return Review.model_validate({"id": derived_id("test-review", of.id, str(when), fields["reviewer"]), **fields})


@cache
def empty_ledger() -> bytes:
    """Return the file of a ledger without rows: its tables are made once."""
    with TemporaryDirectory() as folder:
        Database(f"sqlite:///{folder}/ledger.db", create=True).close()
        return Path(folder, "ledger.db").read_bytes()


_PLACE = ("partition", "offset")


def body_of(wanted: Wanted, bytes_: int) -> bytes:
    """Return the bytes of a frame: its id and dots."""
    return wanted.frame_id.encode().ljust(bytes_, b".")


class KeptEvidence:
    """A ledger in SQLite and a store in a folder, with the clock in the caller's hand."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        store: str | None = None,
        started: datetime = START,
        rules: PartRules | None = None,
        **policy: Any,
    ) -> None:
        self.folder = folder / "evidence"
        self.policy = EvidencePolicy.model_validate({"leave_free_gib": 0, **policy})
        self.rules = rules or PartRules()
        if url is None:
            (folder / "ledger.db").write_bytes(empty_ledger())
        self.database = Database(url or f"sqlite:///{folder / 'ledger.db'}", create=True)
        self.store = EvidenceStore(store or str(self.folder))
        self.begin(started)

    def record(self, *events: Event, now: datetime = START) -> None:
        """Keep events as the ledger does."""
        keep(self.database, events, now, self.rules)

    def begin(self, now: datetime) -> None:
        """Start the service anew: what it knew is what the rows say."""
        self.book = EvidenceBook(self.database, self.policy, HORIZON)
        self.retention = Retention(self.book, self.store, self.policy, now)

    def look(self, now: datetime) -> None:
        """Look at all that is recorded."""
        while self.book.look(now):
            pass

    def wanted(self, most: int = 10_000) -> list[Wanted]:
        """Return what is wanted and not kept yet."""
        return self.book.next_wanted(most, most)

    def pictures(self, wanted: Iterable[Wanted], bytes_: int = 1000) -> list[Picture]:
        """Return the rows of frames of so many bytes."""
        return [
            Picture(
                **{name: getattr(one, name) for name in Wanted.__dataclass_fields__ if name not in _PLACE},
                kind=FRAME,
                digest=hashlib.sha256(body_of(one, bytes_)).hexdigest(),
                bytes=bytes_,
                content_type="image/png",
            )
            for one in wanted
        ]

    def keep(self, wanted: Sequence[Wanted], now: datetime, *, bytes_: int = 1000) -> list[Picture]:
        """Keep frames, as the desk does: room, files, rows."""
        pictures = self.pictures(wanted, bytes_)
        self.retention.make_room({one.digest: one.bytes for one in pictures}, now)
        for one in wanted:
            self.store.put(body_of(one, bytes_))
        self.retention.keep(pictures, now)
        return pictures

    @property
    def files(self) -> dict[str, int]:
        """Return the files that really lie in the folder, with their sizes."""
        return {path.name: path.stat().st_size for path in self.folder.rglob("*") if path.is_file()}

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()
