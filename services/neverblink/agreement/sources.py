"""Where a study's parts come from: a folder of pictures whose answers are known, or what people judged on the line."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select

from neverblink.agreement.choosing import Candidate
from neverblink.agreement.study import AgreementError, PartReference
from neverblink.events import Judgement
from neverblink.plant import Plant, PlantError
from neverblink.records.evidence_store import EvidenceDamagedError, EvidenceMissingError, EvidenceStore
from neverblink.records.questions.confirmed_images import ConfirmedPicture, pages_of_confirmed
from neverblink.records.questions.review_queue import said_about
from neverblink.records.reading import ReadOnlyRecords
from neverblink.records.review_state import counting
from neverblink.records.tables import VerdictRow
from neverblink.storage.listing import files_in, folders_in
from neverblink.vision.decode import MAX_BYTES, SUFFIXES

_ANSWER_S = 60.0
_NEAR = 0.15
"""A score between this share below and above its threshold is near it."""

_GOOD, _DEFECT = "good", "defect"


class PictureLostError(AgreementError):
    """A picture that cannot be had any more."""


class Source(Protocol):
    """Parts that may be asked about. `product` is None where it is not known; `said` begins sentences about them."""

    @property
    def product(self) -> str | None:
        """Return whose parts they are."""
        ...

    @property
    def said(self) -> str:
        """Return where they come from, in words."""
        ...

    @property
    def candidates(self) -> Sequence[Candidate]:
        """Return them all."""
        ...

    def read(self, candidate: Candidate) -> bytes:
        """Return a candidate's picture. Raises PictureLostError."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder with `good` and, beside it or in a folder `defect`, a folder for each type of defect."""

    said: str
    candidates: Sequence[Candidate]
    product: str | None = None

    @classmethod
    def at(cls, folder: Path) -> "FolderSource":
        """Look into a folder. Raises AgreementError when it is not such a one."""
        try:
            if not (folder / _GOOD).is_dir():
                raise AgreementError(
                    f"{folder} has no folder {_GOOD}: pictures of good parts are in {_GOOD}, of defective ones in"
                    f" {_DEFECT}/TYPE, such as {_DEFECT}/scratch"
                )
            types = {"": folder / _GOOD} | {
                one.name: one
                for place in (folder, folder / _DEFECT)
                if place.is_dir()
                for one in folders_in(place)
                if one.name not in {_GOOD, _DEFECT}
            }
            found = [_in_folder(name, path) for name, place in types.items() for path in files_in(place, SUFFIXES)]
        except OSError as error:
            raise AgreementError(f"{folder} cannot be read: {error.strerror}") from error
        return cls(f"the folder {folder}", found)

    def read(self, candidate: Candidate) -> bytes:
        """Return a candidate's picture. Raises PictureLostError."""
        path = Path(candidate.picture)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise PictureLostError(f"{path} has more than {MAX_BYTES} bytes")
            return path.read_bytes()
        except OSError as error:
            raise PictureLostError(f"{path} cannot be read: {error.strerror}") from error


def _in_folder(defect_type: str, path: Path) -> Candidate:
    reference = PartReference(
        answer="defective" if defect_type else "good",
        defect_type=defect_type or None,
        source=f"{path.parent.name}/{path.name}",
    )
    return Candidate(str(path), str(path), reference)


@dataclass(frozen=True, slots=True)
class RecordsSource:
    """Parts of a product that people have judged, with the frames that the evidence store keeps."""

    said: str
    product: str | None
    candidates: Sequence[Candidate]
    _store: EvidenceStore = field(repr=False)

    @classmethod
    def of(
        cls, plant: Plant, product: str, *, since: datetime, until: datetime, line: str | None = None
    ) -> "RecordsSource":
        """Ask the records. Raises PlantError, LedgerError, AgreementError."""
        plant.product(product)
        url = plant.records.evidence.store
        if url is None:
            raise PlantError(
                "the plant keeps no pictures, because its records.evidence.store is null: name a folder there, or make"
                " the study from a folder of pictures"
            )
        stations = [
            (one.name, station.name)
            for one, station in plant.stations()
            if station.product == product and line in (None, one.name)
        ]
        if not stations:
            where = "no station" if line is None else f"no station of line {line}"
            raise AgreementError(f"{where} inspects product {product}: what is on the line is in the plant file")
        depths = plant.depths()
        found = [
            _on_the_line(picture, row, reviewers, depths.get((picture.line, picture.station)))
            for picture, row, reviewers in _judged(plant.storage.ledger, stations, since, until)
        ]
        said = f"the records of {plant.site}, {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
        return cls(said, product, found, EvidenceStore(url))

    def read(self, candidate: Candidate) -> bytes:
        """Return a candidate's picture. Raises PictureLostError, EvidenceStoreError when the store is away."""
        try:
            return self._store.get(candidate.picture)
        except (EvidenceMissingError, EvidenceDamagedError) as error:
            raise PictureLostError(str(error)) from error


def _judged(
    ledger: str, stations: Sequence[tuple[str, str]], since: datetime, until: datetime
) -> list[tuple[ConfirmedPicture, Any, tuple[str, ...]]]:
    """Return what people found good or defective and a picture is kept of, a page a question."""
    found: list[tuple[ConfirmedPicture, Any, tuple[str, ...]]] = []
    with closing(ReadOnlyRecords(ledger, answer_s=_ANSWER_S)) as records:
        for page in pages_of_confirmed(records, stations, since):
            chosen = [one for one in page if _is_usable(one, until)]
            ids = [one.verdict for one in chosen]
            v = VerdictRow
            query = select(v.id, v.part, v.part_id, v.reason, v.ratio, v.artifact_name, v.artifact_version)
            with records.asking() as session:
                rows = {row.id: row for row in session.execute(query.where(v.id.in_(ids)))}
                said = said_about(session, ids)
            found += [(one, rows[one.verdict], _reviewers(said.get(one.verdict, []))) for one in chosen]
            if page and page[-1].captured >= until:
                break
    return found


def _is_usable(picture: ConfirmedPicture, until: datetime) -> bool:
    known = picture.judgement in {Judgement.NORMAL, Judgement.DEFECT}
    return known and picture.digest is not None and picture.captured < until


def _reviewers(said: Sequence[Any]) -> tuple[str, ...]:
    return tuple(one.reviewer for one in counting(answer.facts for answer in said))


def _on_the_line(picture: ConfirmedPicture, row: Any, reviewers: tuple[str, ...], depth: int | None) -> Candidate:
    artifact = None if row.artifact_name is None else f"{row.artifact_name} {row.artifact_version}"
    reference = PartReference(
        answer="good" if picture.judgement == Judgement.NORMAL else "defective",
        defect_type=picture.defect_type,
        near=row.ratio is not None and abs(row.ratio - 1) <= _NEAR,
        source=f"{picture.key} {row.part}",
        known_by=reviewers,
        line=picture.line,
        station=picture.station,
        part=row.part,
        verdict=picture.verdict,
        captured=picture.captured,
        decision=picture.decision,
        reason=row.reason,
        ratio=row.ratio,
        artifact=artifact,
    )
    assert picture.digest is not None
    item = picture.verdict if row.part_id is None else f"part {row.part_id}"
    return Candidate(picture.digest, item, reference, picture.content_type, depth)
