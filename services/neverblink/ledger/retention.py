"""Which pictures may go and when: by age, by the bound of the store, and what a crash has left behind.

A person should look at every reject, unscored and unsure part, holdout and challenge: their pictures stay until
somebody has, whatever the age and the bound say. Where nothing else is left, evidence stops, loudly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_

from neverblink.errors import NeverblinkError
from neverblink.events import Judgement
from neverblink.events.topics import GIB
from neverblink.ledger.evidence_book import TO_LOOK_AT, UNNEEDED, EvidenceBook, Picture
from neverblink.plant import EvidencePolicy
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.review_state import DISPUTED
from neverblink.records.tables import VerdictRow

ORPHAN_AFTER: Final = timedelta(hours=1)
"""A file so old without a row belongs to nobody: nothing takes so long to be kept."""

_AT_ONCE = 200
_LOST_ARE_TOLD_FOR = timedelta(days=90)

_F = EvidenceFileRow


class EvidenceStoppedError(NeverblinkError, RuntimeError):
    """No more pictures are kept: the store has no room, and all that is in it waits for a person."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """What a crash had left: files without a row, rows without a file, and how many of these are fetched anew."""

    orphans: int = 0
    missing: int = 0
    wanted_again: int = 0


class Retention:
    """Counts what lies in the store and deletes what may go. Everything here blocks, in the thread of the rows.

    A row is marked before its file is deleted: whoever is killed in between leaves a file without a row, and `tidy`
    finds it. `started` is when this process did: what is older and has no row is of one that is gone.
    """

    def __init__(
        self,
        book: EvidenceBook,
        store: EvidenceStore,
        policy: EvidencePolicy,
        started: datetime,
    ) -> None:
        self._book, self._store, self._policy = book, store, policy
        self._started = started
        self._counted: int | None = None
        self._owed: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        """Return how many bytes lie in the store."""
        if self._counted is None:
            self._counted = self._book.kept_bytes()
        return self._counted

    def make_room(self, fresh: Mapping[str, int], now: datetime) -> None:
        """Delete until files of these bytes, by digest, fit under the bound and beside what the disk shall leave free.

        Raises EvidenceStoppedError when they cannot, EvidenceStoreError, LedgerError.
        """
        known = self._book.known_digests(fresh)
        needed = sum(size for digest, size in fresh.items() if digest not in known)
        over = self.bytes + needed - self._bound()
        if over > 0 and (freed := self.make_way(over, now)) < over:
            raise EvidenceStoppedError(self._why_stopped(needed, over - freed))

    def make_way(self, bytes_: int, now: datetime) -> int:
        """Delete what nobody needs, oldest first, until so many bytes are gone; return how many are."""
        freed = self._pay()
        for kind in self._in_order():
            while freed < bytes_:
                marked, gone = self._book.delete(kind, _AT_ONCE, now, bytes_ - freed)
                freed += self._delete(gone)
                if not marked:
                    break
        return freed

    def keep(self, pictures: Sequence[Picture], now: datetime) -> None:
        """Write the rows of pictures that were put, and count them."""
        fresh = {one.digest: one.bytes for one in pictures}
        known = self._book.known_digests(fresh)
        before = self.bytes
        self._book.keep(pictures, now)
        self._counted = before + sum(
            size for digest, size in fresh.items() if digest not in known and digest not in self._owed
        )
        for digest in fresh:
            self._owed.pop(digest, None)

    def by_age(self, now: datetime) -> int:
        """Delete what is older than the plant keeps its kind; return how many pictures."""
        self._pay()
        total = 0
        for kind in self._too_old(now):
            while True:
                marked, gone = self._book.delete(kind, _AT_ONCE, now)
                self._delete(gone)
                total += marked
                if marked < _AT_ONCE:
                    break
        self._book.forget_lost(now - _LOST_ARE_TOLD_FOR)
        return total

    def tidy(self, shelf: str, now: datetime) -> Tidied:
        """Delete files of a shelf that no row names, and let rows go whose file is not there.

        Files without a row may be on their way while this process keeps some: only older ones are orphans.
        """
        self._pay()
        files = list(self._store.shelf(shelf))
        rows = self._book.rows_of_shelf(shelf)
        old = max(self._started - timedelta(minutes=1), now - ORPHAN_AFTER)
        orphans = 0
        for file in files:
            nobodys = file.is_partial or (file.digest is not None and file.digest not in rows)
            if nobodys and (file.changed is None or file.changed < old):
                self._store.delete_file(file.path)
                orphans += 1
                if file.digest is not None:
                    self._counted = self.bytes - self._owed.pop(file.digest, 0)
        there = {file.digest for file in files}
        missing = wanted_again = 0
        for digest, identities in rows.items():
            if digest in there or self._store.size(digest) is not None:
                continue
            missing += len(identities)
            wanted_again += sum(self._book.want_again(identity, now) for identity in identities)
            self._counted = None
        return Tidied(orphans, missing, wanted_again)

    def _bound(self) -> int:
        """Return how many bytes may lie in the store now."""
        bound = int(self._policy.max_gib * GIB)
        free = self._store.free_bytes()
        return bound if free is None else min(bound, self.bytes + free - int(self._policy.leave_free_gib * GIB))

    def _in_order(self) -> Iterator[ColumnElement[bool]]:
        """Yield what may go for want of room, the least needed first."""
        unneeded, seen, defective = _F.why.in_(UNNEEDED), reviewed(), found_defective()
        yield and_(unneeded, ~seen)
        yield and_(unneeded, seen, ~defective)
        yield and_(~unneeded, seen, ~defective)
        yield and_(seen, defective)

    def _too_old(self, now: datetime) -> Iterator[ColumnElement[bool]]:
        keep = self._policy.keep_days
        seen, defective = reviewed(), found_defective()

        def older(days: float) -> ColumnElement[bool]:
            return _F.captured < now - timedelta(days=days)

        for why, days in (("pass", keep.passes), ("alert", keep.alerts)):
            yield and_(_F.why == why, older(days), ~defective)
        # A pass that a person found defective has escaped: it is kept as a reject is.
        yield and_(_F.why.in_(UNNEEDED), older(keep.rejects), defective, seen)
        for why, days in zip(
            TO_LOOK_AT, (keep.rejects, keep.unscored, keep.unsure, keep.holdouts, keep.challenges), strict=True
        ):
            yield and_(_F.why == why, older(days), seen)

    def _delete(self, gone: Sequence[tuple[str, int]]) -> int:
        """Delete files whose rows are marked; return their bytes. What cannot be deleted is owed."""
        self._owed.update(gone)
        return self._pay()

    def _pay(self) -> int:
        """Delete the files that are owed. Raises EvidenceStoreError at the first that cannot be deleted."""
        freed = 0
        before = self.bytes
        try:
            for digest in list(self._owed):
                self._store.delete(digest)
                freed += self._owed.pop(digest)
        finally:
            self._counted = before - freed
        return freed

    def _why_stopped(self, needed: int, short: int) -> str:
        waiting = self._book.counts(~reviewed())
        told = ", ".join(f"{count} {why}" for why, count in sorted(waiting.items()) if why in TO_LOOK_AT) or "none"
        free = self._store.free_bytes()
        bound = int(self._policy.max_gib * GIB)
        where = f"the evidence store {self._store.name} holds {_size(self.bytes)}"
        if self.bytes + needed > bound:
            why = f"of the {_size(bound)} that records.evidence.max_gib allows"
        else:
            why = (
                f"and its disk has {_size(free or 0)} free, of which records.evidence.leave_free_gib leaves"
                f" {self._policy.leave_free_gib:g} GiB to the records"
            )
        return (
            f"{where} {why}; nothing in it may go, because nobody has reviewed it ({told}): {_size(short)} more are"
            " needed. No more pictures are kept until parts are reviewed or there is more room; records go on"
        )


def reviewed() -> ColumnElement[bool]:
    """Say whether people have judged a picture's part, and agree: a second look that is wanted has been given.

    So has a reject that nobody is asked to judge, because the audit's share did not draw it.
    """
    agreed = and_(VerdictRow.judgement.is_not(None), VerdictRow.judgement != DISPUTED)
    return _judged(or_(agreed, and_(VerdictRow.audited.is_(False), VerdictRow.holdout.is_(False))))


def found_defective() -> ColumnElement[bool]:
    """Say whether people have found a picture's part defective."""
    return _judged(VerdictRow.judgement == Judgement.DEFECT.value)


def _judged(*so: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(VerdictRow.id == _F.verdict_id, *so).correlate(_F)


def _size(bytes_: int) -> str:
    return f"{bytes_ / GIB:.2f} GiB" if bytes_ >= GIB / 100 else f"{bytes_ / 1024:.0f} KiB"
