"""What came of it when a model judged its product's golden set, and where such reports lie: in the artifact store.

A report is believed by its digest, as an artifact is, and found by the model that it is about:
`qualifications/sha256-MODEL/sha256-REPORT.json`, with a page of the same name for people.
"""

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neverblink.errors import NeverblinkError
from neverblink.events import ArtifactRef, QualificationRef
from neverblink.events.parts import Instant, Name
from neverblink.model_registry.artifact_store import folder_name, store_roots
from neverblink.model_registry.golden_set import MAX_PARTS, Digest
from neverblink.plant import Storage
from neverblink.storage.file_root import FileRoot, shortened

FOLDER: Final = "qualifications"
MAX_REPORT_BYTES: Final = 16 * 1024 * 1024
MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
_LISTED: Final = 5000
"""Reports about one model that are looked at: years of them, and no folder that somebody fills stops a scorer."""

_NAMED: Final = 3


class QualificationError(NeverblinkError, ValueError):
    """A model that may not score, or a report that cannot be kept; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a report must be about to count: this model, at this threshold, by these rules, of this golden set."""

    product: str
    artifact: str
    edited: float | None
    rules: str
    golden: str


class JudgedPart(BaseModel):
    """One golden part as the model judged it. `fault` says what is wrong with that, None: nothing is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    picture: str = Field(max_length=300)
    type: Name | None = Field(default=None, description="The known defect; null: a good part.")
    decision: Literal["pass", "reject", "unscored"]
    score: float | None = Field(default=None, description="Null: it has none.")
    ratio: float | None = Field(default=None, description="Score / threshold.")
    found: tuple[str, ...] = Field(default=(), max_length=100, description="Types of the defects that were found.")
    fault: str | None = Field(default=None, max_length=1000)


class Qualification(BaseModel):
    """A model's report: what it was judged by, and every golden part. Readers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")

    version: Literal[1] = 1
    product: Name
    artifact: ArtifactRef
    threshold: float = Field(gt=0, description="Score above which a part was rejected.")
    edited: float | None = Field(default=None, description="The same, where it is not the artifact's own.")
    rules: Digest
    golden: Digest
    at: Instant
    by: str = Field(max_length=128)
    judged_on: str = Field(max_length=200, description="Engine and device, in words.")
    parts: tuple[JudgedPart, ...] = Field(min_length=1, max_length=MAX_PARTS)

    @property
    def question(self) -> Question:
        """Return what it is about."""
        return Question(self.product, self.artifact.digest, self.edited, self.rules, self.golden)

    @property
    def escaped(self) -> list[JudgedPart]:
        """Return the defective parts that are not caught as they must be."""
        return [part for part in self.parts if part.type is not None and part.fault is not None]

    @property
    def rejected_good(self) -> list[JudgedPart]:
        """Return the good parts that are rejected."""
        return [part for part in self.parts if part.type is None and part.decision == "reject"]

    @property
    def unjudged(self) -> list[JudgedPart]:
        """Return the parts that the model has no score for."""
        return [part for part in self.parts if part.decision == "unscored"]

    def refusal(self, good_rejected: int | None) -> str | None:
        """Return why the model must not score, None when nothing speaks against it.

        `good_rejected` is how many good parts it may reject, None: any number.
        """
        defects = sum(part.type is not None for part in self.parts)
        found: list[str] = []
        if defects == 0:
            found.append("the golden set has no known defect, so it shows nothing about what escapes")
        if self.escaped:
            count = len(self.escaped)
            found.append(f"{count} of {defects} known defects {_do(count, 'escape')}: {_named(self.escaped)}")
        if good_rejected is not None and len(self.rejected_good) > good_rejected:
            count, good = len(self.rejected_good), len(self.parts) - defects
            found.append(
                f"{count} of {good} good golden parts {'is' if count == 1 else 'are'} rejected, and"
                f" {good_rejected} may be: {_named(self.rejected_good)}"
            )
        if unjudged := [part for part in self.unjudged if part.type is None]:
            found.append(f"{len(unjudged)} good golden parts cannot be judged: {_named(unjudged)}")
        return "; ".join(found) or None


class QualificationStore:
    """The reports of a plant. Its methods block."""

    def __init__(self, storage: Storage) -> None:
        """Raises PlantError when no installed package knows the store."""
        self._roots = store_roots(storage)

    def put(self, report: Qualification, page: bytes | None = None) -> tuple[QualificationRef, str]:
        """Keep a report and its page; return how a slot names it, but for `passed`, which is left false, and where it
        lies. Raises QualificationError.
        """
        content = report.model_dump_json(indent=2).encode()
        if len(content) > MAX_REPORT_BYTES:
            raise QualificationError(f"the report has {len(content)} bytes, and {MAX_REPORT_BYTES} are its bound")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        # The last one is what all hosts reach, where there are two.
        root = self._roots[-1]
        stem = f"{_folder(root, report.artifact.digest)}/{folder_name(digest)}"
        try:
            root.filesystem.makedirs(posixpath.dirname(stem), exist_ok=True)
            if page is not None:
                root.write(f"{stem}.html", page)
            root.write(f"{stem}.json", content)
        except Exception as error:  # each kind of store raises errors of its own
            raise QualificationError(f"the report cannot be kept in {root.path}: {shortened(error)}") from error
        where = stem if root.is_local else root.location(stem)
        ref = QualificationRef(report=digest, golden=report.golden, passed=False, at=report.at)
        return ref, f"{where}.html"

    def page(self, artifact: str, report: str) -> bytes | None:
        """Return the page of a report about an artifact, both by their digests; None where there is none.

        It is not checked against anything: a page proves nothing, the report beside it does. Raises QualificationError.
        """
        for root in self._roots:
            place = f"{_folder(root, artifact)}/{folder_name(report)}.html"
            try:
                with root.filesystem.open(place, "rb") as file:
                    return bytes(file.read(MAX_PAGE_BYTES))
            except FileNotFoundError:
                continue
            except Exception as error:  # each kind of store raises errors of its own
                raise QualificationError(f"the report cannot be read from {root.path}: {shortened(error)}") from error
        return None

    def about(self, artifact: str) -> "Reports":
        """Return the reports about an artifact, by its digest, and what could not be asked."""
        found: list[Kept] = []
        faults: list[str] = []
        for root in self._roots:
            try:
                found += _reports(root, artifact)
            except Exception as error:  # noqa: BLE001 - each kind of store raises errors of its own; told by whoever asks
                faults.append(f"{root.path}: {shortened(error)}")
        return Reports(tuple(found), tuple(faults))


@dataclass(frozen=True, slots=True)
class Kept:
    """A report in the store, and where its page lies."""

    digest: str
    report: Qualification
    page: str

    @property
    def order(self) -> tuple[datetime, str]:
        """Return what the newest one has most of."""
        return self.report.at, self.digest


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports about one model; `faults` say which places could not be asked."""

    found: tuple[Kept, ...]
    faults: tuple[str, ...] = ()

    def passing(self, question: Question, good_rejected: int | None) -> QualificationRef | None:
        """Return the newest report that answers a question and passes, None when there is none."""
        fitting = [one for one in self._about(question) if one.report.refusal(good_rejected) is None]
        newest = max(fitting, key=lambda one: one.order, default=None)
        return None if newest is None else _ref(newest, passed=True)

    def failing(self, question: Question, good_rejected: int | None) -> tuple[QualificationRef, str] | None:
        """Return the newest report that answers a question and does not pass, and why; None when there is none.

        One with parts that could not be judged is left out: what was wrong with them may be mended.
        """
        refused = [(one, one.report.refusal(good_rejected)) for one in self._about(question) if not one.report.unjudged]
        fitting = [(one, why) for one, why in refused if why is not None]
        if not fitting:
            return None
        newest, why = max(fitting, key=lambda one: one[0].order)
        return _ref(newest, passed=False), f"{why}; its report: {newest.page}"

    def of(self, digest: str) -> Kept | None:
        """Return the report of that digest."""
        return next((one for one in self.found if one.digest == digest), None)

    def _about(self, question: Question) -> list[Kept]:
        return [one for one in self.found if one.report.question == question]


def _ref(kept: Kept, *, passed: bool) -> QualificationRef:
    report = kept.report
    return QualificationRef(report=kept.digest, golden=report.golden, passed=passed, at=report.at)


def _folder(root: FileRoot, artifact: str) -> str:
    return f"{root.path}/{FOLDER}/{folder_name(artifact)}"


def _reports(root: FileRoot, artifact: str) -> Iterator[Kept]:
    """Yield the sound reports about an artifact in one place; one that was altered is none."""
    folder = _folder(root, artifact)
    root.filesystem.invalidate_cache(folder)
    try:
        listed: list[dict[str, Any]] = root.filesystem.ls(folder, detail=True)
    except FileNotFoundError:
        return
    files = sorted(one["name"] for one in listed if one.get("type") == "file" and str(one["name"]).endswith(".json"))
    for path in files[-_LISTED:]:
        with root.filesystem.open(path, "rb") as file:
            content = bytes(file.read(MAX_REPORT_BYTES + 1))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if len(content) > MAX_REPORT_BYTES or posixpath.basename(path) != f"{folder_name(digest)}.json":
            continue
        try:
            report = Qualification.model_validate_json(content)
        except ValidationError:
            continue
        if report.artifact.digest == artifact:
            page = f"{path.removesuffix('.json')}.html"
            yield Kept(digest, report, page if root.is_local else root.location(page))


def _named(parts: list[JudgedPart]) -> str:
    told = [f"{part.picture} ({part.fault or part.decision})" for part in parts[:_NAMED]]
    return ", ".join(told) + (f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else "")


def _do(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb
