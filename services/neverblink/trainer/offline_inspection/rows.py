"""What an inspection keeps of every image: part files while it runs, one Parquet file when it is done."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from neverblink.decisions.judgement import Judgement
from neverblink.events import ArtifactRef, Decision, Defect
from neverblink.storage.whole_file import whole_file
from neverblink.trainer.datasets.inputs import InspectionError, Origin
from neverblink.vision.quality import ImageQuality

Pass = Literal["first", "second"]
"""Which of two artifacts decided."""

_ROW_GROUP = 8192
"""Rows are joined into groups of at least so many, so that a filter on the file can skip most of it."""

_text, _whole, _number, _yes = pa.string(), pa.int32(), pa.float64(), pa.bool_()

_VERDICT = (
    ("decision", _text),
    ("reason", _text),
    ("unsure", _yes),
    ("score", _number),
    ("threshold", _number),
    ("ratio", _number),
    ("artifact_name", _text),
    ("artifact_version", _text),
    ("artifact_digest", _text),
)
_DEFECT = pa.struct(
    [
        ("type", _text),
        ("taxonomy", _text),
        ("x", _whole),
        ("y", _whole),
        ("width", _whole),
        ("height", _whole),
        ("area_px", pa.int64()),
        ("area_mm2", _number),
        ("confidence", _number),
        ("peak", _number),
        ("source", _text),
        ("seen_by", pa.list_(_text)),
        ("region", _text),
    ]
)
SCHEMA = pa.schema(
    [
        ("name", _text),
        ("part", _text),
        ("line", _text),
        ("station", _text),
        ("product", _text),
        ("captured", pa.timestamp("us", "UTC")),
        ("partition", _whole),
        ("offset", pa.int64()),
        *_VERDICT,
        ("detail", _text),
        ("defects", pa.list_(_DEFECT)),
        ("quality", pa.struct([(name, _number) for name in ("brightness", "contrast", "sharpness", "saturation")])),
        ("width", _whole),
        ("height", _whole),
        ("seconds", _number),
        ("decided_by", _text),
        ("first", pa.struct(_VERDICT)),
        ("known", pa.struct([("decision", _text), ("reason", _text), ("ratio", _number), ("artifact_digest", _text)])),
        ("change", _text),
    ]
)
"""One row an image. `name` is its path below the folder, or its frame's id. Decision to artifact are the final ones,
of the artifact that `decided_by` names; `first` is what the first one said where the second decided. `known` is what
was decided before, `change` how that differs. `seconds` is the image's share of its batches' time.
"""

DETAIL = 1000
"""Characters of what is said of an image without a score."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one artifact says about an image, and what is decided by it."""

    artifact: ArtifactRef
    judgement: Judgement

    @property
    def decision(self) -> Decision:
        """Return the decision in a verdict's words."""
        return self.judgement.decision

    def as_record(self) -> dict[str, object]:
        """Return the verdict's columns."""
        judgement = self.judgement
        return {
            "decision": judgement.decision.value,
            "reason": judgement.reason,
            "unsure": judgement.unsure,
            "score": judgement.score,
            "threshold": judgement.threshold,
            "ratio": judgement.ratio,
            "artifact_name": self.artifact.name,
            "artifact_version": self.artifact.version,
            "artifact_digest": self.artifact.digest,
        }


@dataclass(frozen=True, slots=True)
class Unscored:
    """Why an image has no score: one word for programs, one sentence for people."""

    reason: str
    detail: str

    @property
    def decision(self) -> Decision:
        """Return the decision in a verdict's words."""
        return Decision.UNSCORED

    def as_record(self) -> dict[str, object]:
        """Return the verdict's columns."""
        return {"decision": Decision.UNSCORED.value, "reason": self.reason, "unsure": False, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Row:
    """One inspected image. `first` is set where a second artifact had the last word; its size is None unscored."""

    origin: Origin
    verdict: Opinion | Unscored
    quality: ImageQuality | None = None
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    decided_by: Pass = "first"
    first: Opinion | None = None
    known: Mapping[str, object] | None = None
    change: str | None = None

    def as_record(self) -> dict[str, object]:
        """Return the columns of `SCHEMA`."""
        origin, quality = self.origin, self.quality
        defects = self.verdict.judgement.defects if isinstance(self.verdict, Opinion) else ()
        return {
            **{name: getattr(origin, name) for name in Origin.__slots__},
            **self.verdict.as_record(),
            "defects": [_flat(defect) for defect in defects],
            "quality": None
            if quality is None
            else {name: getattr(quality, name) for name in ("brightness", "contrast", "sharpness", "saturation")},
            "width": self.width,
            "height": self.height,
            "seconds": self.seconds,
            "decided_by": self.decided_by,
            "first": None if self.first is None else self.first.as_record(),
            "known": self.known,
            "change": self.change,
        }


def _flat(defect: Defect) -> dict[str, object]:
    """Return a defect as a row lists it: its box is four columns among the others."""
    columns = defect.model_dump()
    return {**columns.pop("bbox"), **columns}


class PartFiles:
    """The rows of an inspection that is not done yet, in files that are whole or not there.

    A killed inspection loses what was added since the last `flush`, and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        """Find what an earlier run left. Raises InspectionError when the folder cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InspectionError(f"the folder {folder} cannot be made: {error.strerror}") from error
        self._files = sorted(folder.glob("part-*.parquet"))
        self._waiting: list[Row] = []

    @property
    def empty(self) -> bool:
        """Say whether there is no row at all."""
        return not self._files and not self._waiting

    def names(self) -> Iterator[str]:
        """Yield the names of all images that are done."""
        for file in self._files:
            yield from pq.read_table(file, columns=["name"])["name"].to_pylist()

    def last(self) -> Origin | None:
        """Return where the last image that is done came from, None when none is."""
        if not self._files:
            return None
        table = pq.read_table(self._files[-1], columns=list(Origin.__slots__))
        return Origin(**table.slice(table.num_rows - 1).to_pylist()[0])

    def add(self, rows: Sequence[Row]) -> None:
        """Take rows, in the order of the inputs."""
        self._waiting += rows

    def flush(self) -> None:
        """Write what was added into a file of its own. Raises InspectionError."""
        if not self._waiting:
            return
        file = self._folder / f"part-{len(self._files):08}.parquet"
        table = pa.Table.from_pylist([row.as_record() for row in self._waiting], schema=SCHEMA)
        try:
            with whole_file(file) as partial:
                pq.write_table(table, partial, compression="zstd")
        except OSError as error:
            raise InspectionError(f"the rows cannot be written to {self._folder}: {error.strerror}") from error
        self._files.append(file)
        self._waiting.clear()

    def join(self, path: Path, about: bytes) -> None:
        """Write all rows into one Parquet file, with `about` in its metadata, and remove the parts.

        Raises InspectionError.
        """
        self.flush()
        schema = SCHEMA.with_metadata({b"neverblink.inspection": about})
        try:
            with whole_file(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                for table in self._groups():
                    writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=table.num_rows)
            shutil.rmtree(self._folder)
        except OSError as error:
            raise InspectionError(f"the result cannot be written to {path}: {error.strerror}") from error

    def _groups(self) -> Iterator[Any]:
        held: list[Any] = []
        for file in self._files:
            held.append(pq.read_table(file, schema=SCHEMA))
            if sum(table.num_rows for table in held) >= _ROW_GROUP:
                yield pa.concat_tables(held)
                held = []
        if held:
            yield pa.concat_tables(held)
