"""What came of an inspection, counted from its Parquet file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neverblink.events import Decision
from neverblink.trainer.datasets.inputs import Origin
from neverblink.trainer.offline_inspection.known_decisions import Change
from neverblink.trainer.offline_inspection.lot_sampling import LotDecision, SamplingPlan

_HEAVY = {"defects", "quality"}


class Cause(NamedTuple):
    """So many images were decided like this, for this reason."""

    decision: str
    reason: str | None
    images: int


class PlaceCount(NamedTuple):
    """What became of the images of one station."""

    place: str
    images: int
    passed: int
    unsure: int
    rejected: int
    unscored: int


class ShownDefect(NamedTuple):
    """A region that does not look right; the confidence is None where no network that names it has one."""

    type: str
    area_px: int
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One image that people look at. Score to digest are None where it has no score, the known ones where none was."""

    origin: Origin
    decision: Decision
    reason: str | None
    detail: str | None
    unsure: bool
    score: float | None
    ratio: float | None
    artifact_digest: str | None
    known_decision: str | None
    known_ratio: float | None
    defects: tuple[ShownDefect, ...] = ()


class Results:
    """The rows of a finished inspection, without boxes and image statistics, which stay in the file."""

    def __init__(self, path: Path, plan: SamplingPlan | None = None, sample: Sequence[str] = ()) -> None:
        """`sample` are the parts that the plan's sample was drawn to be."""
        self._path, self._plan, self._sample = path, plan, sample
        names = pq.read_schema(path).names
        self._table = pq.read_table(path, columns=[name for name in names if name not in _HEAVY])
        self._decisions = self._column("decision")
        self._unsure = np.array(self._table["unsure"].to_pylist(), dtype=np.bool_)
        ratios = self._table["ratio"].to_numpy(zero_copy_only=False)
        self._ratios: npt.NDArray[np.float64] = np.asarray(ratios, dtype=np.float64)

    @property
    def images(self) -> int:
        """Return how many images there are."""
        return int(self._table.num_rows)

    @property
    def passed(self) -> int:
        """Return how many pass, the unsure ones among them."""
        return self._count(Decision.PASS)

    @property
    def unsure(self) -> int:
        """Return how many pass and should be looked at."""
        return int(self._unsure.sum())

    @property
    def rejected(self) -> int:
        """Return how many are rejected."""
        return self._count(Decision.REJECT)

    @property
    def unscored(self) -> int:
        """Return how many have no score."""
        return self._count(Decision.UNSCORED)

    @property
    def seconds(self) -> float:
        """Return the seconds that the models took."""
        return float(pc.sum(self._table["seconds"]).as_py() or 0)

    @property
    def ratios(self) -> npt.NDArray[np.float64]:
        """Return score / threshold of every image that has a score."""
        return self._ratios[~np.isnan(self._ratios)]

    @property
    def ratios_by_decision(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return score / threshold of what passes, and of what is rejected."""
        rejected = np.array([decision == Decision.REJECT for decision in self._decisions], dtype=np.bool_)
        scored = ~np.isnan(self._ratios)
        return self._ratios[scored & ~rejected], self._ratios[scored & rejected]

    def scores_of(self, digest: str) -> npt.NDArray[np.float64]:
        """Return the scores that the artifact of that digest gave, whether or not it decided in the end."""
        found: list[float] = []
        columns = (self._column(name) for name in ("artifact_digest", "score", "first"))
        for own, score, first in zip(*columns, strict=True):
            verdict = (own, score) if first is None else (first["artifact_digest"], first["score"])
            if verdict[0] == digest and verdict[1] is not None:
                found.append(verdict[1])
        return np.array(found, dtype=np.float64)

    @property
    def second_judged(self) -> int:
        """Return how many images the second artifact judged."""
        return sum(name == "second" for name in self._column("decided_by"))

    @property
    def second_overruled(self) -> int:
        """Return how many decisions the second artifact changed."""
        firsts = self._table["first"].to_pylist()
        return sum(
            first is not None and first["decision"] != now for first, now in zip(firsts, self._decisions, strict=True)
        )

    @cached_property
    def causes(self) -> list[Cause]:
        """Return decisions and reasons, the most frequent first."""
        counted = Counter(zip(self._decisions, self._column("reason"), strict=True))
        return [Cause(decision, reason, count) for (decision, reason), count in counted.most_common()]

    @cached_property
    def places(self) -> list[PlaceCount]:
        """Return the counts of every line and station, none for images that have no place."""
        lines, stations = self._column("line"), self._column("station")
        counts: dict[str, list[int]] = {}
        for line, station, decision, unsure in zip(lines, stations, self._decisions, self._unsure, strict=True):
            if line is not None:
                own = counts.setdefault(f"{line}/{station}", [0] * 5)
                for place, counted in enumerate(
                    (
                        True,
                        decision == Decision.PASS,
                        unsure,
                        decision == Decision.REJECT,
                        decision == Decision.UNSCORED,
                    )
                ):
                    own[place] += bool(counted)
        return [PlaceCount(place, *own) for place, own in sorted(counts.items())]

    @cached_property
    def defects(self) -> list[tuple[str, int]]:
        """Return how often each defect type was found, the most frequent first."""
        found = pq.read_table(self._path, columns=["defects"])["defects"]
        types = pc.struct_field(pc.list_flatten(found), "type").to_pylist()
        return Counter(types).most_common()

    @cached_property
    def changes(self) -> dict[Change, int]:
        """Return how decisions differ from the known ones; empty where none was known."""
        counted = Counter(change for change in self._column("change") if change is not None)
        return {change: counted[change.value] for change in Change} if counted else {}

    @property
    def without_known(self) -> int:
        """Return how many images nothing was known of."""
        return int(self._table["change"].null_count)

    @cached_property
    def lot(self) -> LotDecision | None:
        """Return what the sample says about its lot: a part is bad when one of its images is rejected, and counts as
        bad when one of them has no score or none of them was there any more. None without a plan.
        """
        if self._plan is None:
            return None
        worst: dict[str, str] = dict.fromkeys(self._sample, Decision.UNSCORED.value)
        rank = {Decision.PASS.value: 0, Decision.UNSCORED.value: 1, Decision.REJECT.value: 2}
        seen: dict[str, str] = {}
        for part, decision in zip(self._column("part"), self._decisions, strict=True):
            seen[part] = max(seen.get(part, Decision.PASS.value), decision, key=rank.__getitem__)
        worst |= seen
        counted = Counter(worst.values())
        return LotDecision(self._plan, counted[Decision.REJECT.value], counted[Decision.UNSCORED.value])

    def highest(self, count: int) -> list[Shown]:
        """Return the images with the highest score / threshold, highest first."""
        return self._shown(self._by_ratio(np.flatnonzero(~np.isnan(self._ratios)))[:count])

    def without_score(self, count: int) -> list[Shown]:
        """Return the first images that have no score."""
        places = [index for index, decision in enumerate(self._decisions) if decision == Decision.UNSCORED]
        return self._shown(places[:count])

    def changed(self, change: Change, count: int) -> list[Shown]:
        """Return images whose decision changed like this: where rejected, the highest first, else the lowest."""
        places = [index for index, found in enumerate(self._column("change")) if found == change.value]
        ordered = self._by_ratio(np.array(places, dtype=np.intp))
        return self._shown((ordered if change is Change.NEWLY_REJECTED else ordered[::-1])[:count])

    def as_dict(self) -> dict[str, object]:
        """Return the counts as plain values, for JSON."""
        lot = self.lot
        return {
            "images": self.images,
            "passed": self.passed,
            "unsure": self.unsure,
            "rejected": self.rejected,
            "unscored": self.unscored,
            "model_seconds": self.seconds,
            "causes": [cause._asdict() for cause in self.causes],
            "places": [place._asdict() for place in self.places],
            "defects": dict(self.defects),
            "second": {"judged": self.second_judged, "overruled": self.second_overruled},
            "changes": {change.value: count for change, count in self.changes.items()},
            "lot": None
            if lot is None
            else {
                "size": lot.plan.lot,
                "level": lot.plan.level,
                "severity": lot.plan.severity,
                "aql": lot.plan.aql,
                "code_letter": lot.plan.code,
                "plan_letter": lot.plan.letter,
                "sample": lot.plan.sample,
                "accept": lot.plan.accept,
                "reject": lot.plan.reject,
                "rejected": lot.rejected,
                "unscored": lot.unscored,
                "accepted": lot.accepted,
            },
        }

    def _by_ratio(self, places: npt.NDArray[np.intp]) -> list[int]:
        ratios = np.nan_to_num(self._ratios[places], nan=-1)
        return [int(place) for place in places[np.argsort(-ratios, kind="stable")]]

    def _shown(self, places: Iterable[int]) -> list[Shown]:
        chosen = np.array(list(places), dtype=np.int64)
        rows: list[dict[str, Any]] = self._table.take(chosen).to_pylist()
        defects = pq.read_table(self._path, columns=["defects"]).take(chosen)["defects"].to_pylist() if rows else []
        return [
            Shown(
                origin=Origin(**{name: row[name] for name in Origin.__slots__}),
                decision=Decision(row["decision"]),
                reason=row["reason"],
                detail=row["detail"],
                unsure=row["unsure"],
                score=row["score"],
                ratio=row["ratio"],
                artifact_digest=row["artifact_digest"],
                known_decision=None if row["known"] is None else row["known"]["decision"],
                known_ratio=None if row["known"] is None else row["known"]["ratio"],
                defects=tuple(ShownDefect(one["type"], one["area_px"], one["confidence"]) for one in own or ()),
            )
            for row, own in zip(rows, defects, strict=True)
        ]

    def _column(self, name: str) -> list[Any]:
        column: list[Any] = self._table[name].to_pylist()
        return column

    def _count(self, decision: Decision) -> int:
        return sum(found == decision for found in self._decisions)
