"""Offline inspection: the scorer's models and decisions over a folder or a span of a topic, without a deadline.

It can be killed at any time: the same call goes on where the rows end, and comes to the same result.
"""

import fcntl
import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import orjson

from neverblink.job_life.progress import Progress
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.datasets.inputs import Frozen, Input, Inputs, InspectionError, Origin
from neverblink.trainer.offline_inspection import spans
from neverblink.trainer.offline_inspection.judge import Judge, Place
from neverblink.trainer.offline_inspection.known_decisions import Known, compared
from neverblink.trainer.offline_inspection.lot_sampling import SamplingPlan, draw, plan_for
from neverblink.trainer.offline_inspection.pictures import Picture, ahead_of, in_batches, read
from neverblink.trainer.offline_inspection.results import Results
from neverblink.trainer.offline_inspection.rows import Opinion, PartFiles, Row, Unscored
from neverblink.trainer.offline_inspection.terms import InspectSettings, LotSettings
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.decode import Image
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import extractor_of, features_key

RUNS = Path("runs/inspect")
RESULT = "inspection.parquet"
REPORT = "report.html"

_RUN = "run.json"
_PARTS = "parts"
_LOCK = ".lock"


class Looked(NamedTuple):
    """An input that was inspected once more, to be shown: its pixels, what was seen, and by which artifact."""

    origin: Origin
    image: Image
    inspection: Inspection
    artifact: Artifact


class OfflineInspection:
    """One inspection, known by what it would come to: artifacts, rules, inputs, sample.

    Its folder holds `run.json`, the rows so far, and at the end `inspection.parquet` and `report.html`.
    """

    def __init__(
        self,
        inputs: Inputs,
        settings: InspectSettings,
        *,
        folder: Path | None = None,
        known: Mapping[str, Known] | None = None,
    ) -> None:
        """`known` are earlier decisions by image name. Raises VisionError when an artifact cannot be used, LotError."""
        self._inputs, self._settings, self._known = inputs, settings, known or {}
        if settings.lot is not None:
            # An AQL that is none is told before anything is read.
            _plan(settings.lot, settings.lot.size or 2)
        self.artifact = load_artifact(settings.artifact)
        self.second = None if settings.second is None else load_artifact(settings.second.artifact)
        self._about = self._identity()
        self.identity = hashlib.sha256(orjson.dumps(self._about, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self.folder = folder or RUNS / f"{self.artifact.name}-{self.identity[:8]}"

    @property
    def settings(self) -> InspectSettings:
        """Return what it goes by."""
        return self._settings

    @property
    def subject(self) -> str:
        """Return what is inspected, for people."""
        return self._inputs.subject

    @property
    def judge(self) -> Judge:
        """Return what judges by the first artifact."""
        return self._first

    @property
    def result(self) -> Path:
        """Return the file of all rows; it is there when the inspection is done."""
        return self.folder / RESULT

    @property
    def report(self) -> Path:
        """Return where the report goes."""
        return self.folder / REPORT

    def run(self, progress: Progress = lambda *_: None) -> Results:
        """Inspect what is not inspected yet, and return all of it.

        Raises InspectionError when the folder belongs to another inspection or is in use, KafkaError, VisionError.
        """
        with self._alone():
            frozen, chosen, plan = self._start(progress)
            if not self.result.is_file():
                parts = PartFiles(self.folder / _PARTS)
                try:
                    self._inspect(parts, None if plan is None else chosen, progress)
                finally:
                    # Whatever stopped it: what is done stays done.
                    parts.flush()
                if parts.empty:
                    # Nothing is frozen: frames may be there the next time.
                    (self.folder / _RUN).unlink()
                    raise InspectionError(self._inputs.nothing())
                about = self._about | {"identity": self.identity, "inputs_frozen": frozen}
                parts.join(self.result, orjson.dumps(about))
            return Results(self.result, plan, chosen)

    def look_again(self, origins: Collection[tuple[Origin, str]]) -> Iterator[Looked]:
        """Inspect some of the inputs once more, each with the artifact of that digest; what is gone is left out."""
        judges = {judge.artifact.digest: judge for judge in (self._first, self._second) if judge is not None}
        digests = {origin.name: digest for origin, digest in origins}
        for item in self._inputs.again([origin for origin, _ in origins]):
            picture = read(item)
            if isinstance(picture, Unscored):
                continue
            judge = judges[digests[item.origin.name]]
            (seen,) = judge.look([picture.image], [self._place(item.origin, judge)])
            if isinstance(seen, Inspection):
                yield Looked(item.origin, picture.image, seen, judge.artifact)

    # Starting, and starting again

    def _identity(self) -> dict[str, object]:
        settings = self._settings
        rules = asdict(settings.rules) | {"defects": settings.rules.defects.model_dump(mode="json")}
        edited = {"/".join(place): threshold for place, threshold in sorted(settings.thresholds.items())}
        second = None
        if settings.second is not None and self.second is not None:
            second = {"digest": self.second.digest, "from": settings.second.from_ratio}
        return {
            "artifact": self.artifact.digest,
            "second artifact": second,
            "rules": rules,
            "scales": {"/".join(place): scale for place, scale in sorted(settings.scales.items())},
            "sampling": None if settings.lot is None else asdict(settings.lot),
            "known decisions": settings.against,
            "engine": f"{settings.engine} on {settings.device}",
            "inputs": self._inputs.identity,
            # Left out where there is none: what was begun before thresholds could be named goes on.
            **({"thresholds": edited} if edited else {}),
        }

    def _start(self, progress: Progress) -> tuple[Frozen, list[str], SamplingPlan | None]:
        """Return frozen inputs, the parts of the sample and its plan: those of the first run, where there was one."""
        path = self.folder / _RUN
        lot = self._settings.lot
        if path.is_file():
            try:
                kept = orjson.loads(path.read_bytes())
                about, frozen, chosen, size = (kept[name] for name in ("about", "frozen", "sample", "lot"))
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise InspectionError(f"{path} is not what an inspection writes: name another --out folder") from error
            own = orjson.loads(orjson.dumps(self._about))
            if different := sorted(name for name in own.keys() | about.keys() if own.get(name) != about.get(name)):
                raise InspectionError(
                    f"{self.folder} holds another inspection, with other {' and '.join(different)}: name another --out"
                )
            self._inputs.freeze(frozen)
            return frozen, chosen, None if lot is None else _plan(lot, size)
        frozen = self._inputs.freeze(None)
        chosen, size, plan = [], None, None
        if lot is not None:
            parts: set[str] = set()
            for item in self._inputs.go_through():
                parts.add(item.origin.part)
                progress("listing parts", item.position, self._inputs.total)
            if not parts:
                raise InspectionError(self._inputs.nothing())
            size = lot.size or len(parts)
            if size < len(parts):
                raise InspectionError(f"a lot of {size} cannot have the {len(parts)} parts that there are images of")
            plan = _plan(lot, size)
            chosen = draw(parts, plan.sample, lot.seed)
        kept = {"about": self._about, "frozen": frozen, "sample": chosen, "lot": size}
        write_whole(path, orjson.dumps(kept, option=orjson.OPT_INDENT_2))
        return frozen, chosen, plan

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder against another process that was given the same command."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK).open("wb")
        except OSError as error:
            raise InspectionError(f"the folder {self.folder} cannot be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InspectionError(f"another process is at work on {self.folder}: wait for it") from error
            yield

    # The work

    def _inspect(self, parts: PartFiles, chosen: Collection[str] | None, progress: Progress) -> None:
        settings = self._settings
        # Opened before the first image, whose time would pay for it.
        _ = self._first, self._second
        # A frame may lie on its topic twice: the first one counts.
        seen = set(parts.names())
        inputs = self._inputs.go_through(parts.last(), None if chosen is None else frozenset(chosen))
        saved = time.monotonic()
        with ThreadPoolExecutor(settings.decoders, thread_name_prefix="decode") as pool:
            pictures = ahead_of(_unseen(inputs, seen), pool, settings.batch + settings.decoders)
            for batch in in_batches(pictures, settings.batch):
                parts.add(self._rows(batch))
                if time.monotonic() - saved >= settings.save_every_s:
                    parts.flush()
                    saved = time.monotonic()
                progress("inspecting", batch[-1][0].position, self._inputs.total)
        progress("inspecting", self._inputs.total, self._inputs.total)

    def _rows(self, batch: Sequence[tuple[Input, Picture | Unscored]]) -> list[Row]:
        """Judge a batch, and what is near or above the threshold a second time."""
        began_ns = time.time_ns()
        pictures = [(item, picture) for item, picture in batch if not isinstance(picture, Unscored)]
        places = [self._place(item.origin, self._first) for item, _ in pictures]
        began = time.perf_counter()
        firsts = self._first.judge([picture.image for _, picture in pictures], places) if pictures else []
        seconds = [(time.perf_counter() - began) / len(pictures)] * len(pictures) if pictures else []
        again = [index for index, first in enumerate(firsts) if self._doubted(first)]
        final: list[Opinion | Unscored] = list(firsts)
        if again and self._second is not None:
            began = time.perf_counter()
            second = self._second
            images = [pictures[index][1].image for index in again]
            verdicts = second.judge(images, [self._place(pictures[index][0].origin, second) for index in again])
            share = (time.perf_counter() - began) / len(again)
            for index, verdict in zip(again, verdicts, strict=True):
                final[index] = verdict
                seconds[index] += share
        judged = iter(zip(firsts, final, seconds, strict=True))
        rows = [
            self._row(item, picture, (picture, picture, 0.0) if isinstance(picture, Unscored) else next(judged))
            for item, picture in batch
        ]
        for (item, _), row in zip(batch, rows, strict=True):
            spans.judged_again(item, row, began_ns)
        return rows

    def _row(
        self,
        item: Input,
        picture: Picture | Unscored,
        judged: tuple[Opinion | Unscored, Opinion | Unscored, float],
    ) -> Row:
        first, final, seconds = judged
        twice = final is not first
        before = compared(self._known, item.origin.name, final.decision)
        height, width = (None, None) if isinstance(picture, Unscored) else picture.image.shape[:2]
        return Row(
            origin=item.origin,
            verdict=final,
            quality=None if isinstance(picture, Unscored) else picture.quality,
            width=width,
            height=height,
            seconds=seconds,
            decided_by="second" if twice else "first",
            first=first if twice and isinstance(first, Opinion) else None,
            known=None if before is None else before[0],
            change=None if before is None else before[1].value,
        )

    def _doubted(self, first: Opinion | Unscored) -> bool:
        second = self._settings.second
        return (
            second is not None
            and isinstance(first, Opinion)
            and (first.judgement.reject or first.judgement.unsure or first.judgement.ratio >= second.from_ratio)
        )

    def _place(self, origin: Origin, judge: Judge) -> Place:
        """Return what an image's station adds for one of the two artifacts: a threshold is edited for the first."""
        settings, name = self._settings, (origin.line or "", origin.station or "")
        edited = settings.thresholds.get(name) if judge is self._first else None
        return Place(settings.scales.get(name, settings.rules.mm_per_px), edited)

    @cached_property
    def _first(self) -> Judge:
        extractor = extractor_of(
            self.artifact, weights=self._settings.weights, device=self._settings.device, engine=self._settings.engine
        )
        return Judge(self.artifact, extractor, self._settings)

    @cached_property
    def _second(self) -> Judge | None:
        second = self._settings.second
        if second is None or self.second is None:
            return None
        if features_key(self.second) == features_key(self.artifact):
            return Judge(self.second, self._first.extractor, self._settings)
        extractor = extractor_of(
            self.second, weights=second.weights, device=self._settings.device, engine=self._settings.engine
        )
        return Judge(self.second, extractor, self._settings)


def _plan(lot: LotSettings, size: int) -> SamplingPlan:
    return plan_for(size, lot.aql, level=lot.level, severity=lot.severity)


def _unseen(inputs: Iterator[Input], seen: set[str]) -> Iterator[Input]:
    for item in inputs:
        if item.origin.name not in seen:
            seen.add(item.origin.name)
            yield item
