"""What a promise costs: how many defects are found when at most so many good parts may be rejected."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

from neverblink.confidence.intervals import Interval, share_interval
from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import ProductRules
from neverblink.vision.artifact import Artifact
from neverblink.vision.calibration import Calibration, calibrate, normals_needed
from neverblink.vision.inspection import Inspection

PROMISES: Final = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of good parts that may be rejected, as tables list them."""

Source = Literal["real", "synthetic"]
"""What defects were shown: photographed ones, or drawn ones that stand in for them."""

_GAIN = 0.05
"""A looser promise is proposed when it finds so many more of the defects."""
_NEARLY = 0.9
"""The tightest of the looser ones that finds this share of what the loosest finds."""
_AS_MUCH = 0.005


@dataclass(frozen=True, slots=True)
class PromiseRow:
    """One promise: its threshold, as a share of the one in force too, and what it does to parts that were tried."""

    promise: float
    threshold: float
    of_threshold: float
    in_force: bool
    found: int
    defective: int
    false_rejects: int
    good: int

    @property
    def recall(self) -> float:
        """Return the share of defective parts that is rejected."""
        return self.found / self.defective

    @property
    def recall_interval(self) -> Interval:
        """Return its interval of 95 % confidence."""
        return share_interval(self.found, self.defective)

    @property
    def false_reject_rate(self) -> float:
        """Return the share of good parts that is rejected."""
        return self.false_rejects / self.good

    @property
    def false_reject_interval(self) -> Interval:
        """Return its interval of 95 % confidence."""
        return share_interval(self.false_rejects, self.good)


class TooTight(NamedTuple):
    """A promise that there are too few good images for, and how many it needs."""

    promise: float
    needed: int


@dataclass(frozen=True, slots=True)
class PromiseCosts:
    """Recall against promised false rejects, the tightest promise first.

    `held_out`: the good parts are those that the threshold was chosen by, each scored by a bank without it; they show
    what the promise means, and cannot contradict it.
    """

    rows: tuple[PromiseRow, ...]
    source: Source
    held_out: bool
    too_tight: tuple[TooTight, ...]

    @property
    def in_force(self) -> PromiseRow:
        """Return the row of the threshold in force."""
        return next(row for row in self.rows if row.in_force)

    @property
    def better(self) -> PromiseRow | None:
        """Return the promise that should be looked at instead of the one in force, None where that is as good.

        A looser one that finds clearly more, else a tighter one that finds as much.
        """
        now = self.in_force
        looser = [row for row in self.rows if row.promise > now.promise]
        most = max((row.recall for row in looser), default=0.0)
        for row in looser:
            if row.recall >= now.recall + _GAIN and row.recall >= _NEARLY * most:
                return row
        tighter = [row for row in self.rows if row.promise < now.promise and row.recall >= now.recall - _AS_MUCH]
        return tighter[0] if tighter and now.found else None

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return {
            "defects": self.source,
            "good": "held-out" if self.held_out else "fresh",
            "rows": [
                {name: getattr(row, name) for name in PromiseRow.__slots__}
                | {
                    "recall": row.recall,
                    "recall_interval": list(row.recall_interval),
                    "false_reject_rate": row.false_reject_rate,
                    "false_reject_interval": list(row.false_reject_interval),
                }
                for row in self.rows
            ],
            "too_tight": [one._asdict() for one in self.too_tight],
        }


class Terms(NamedTuple):
    """A promise on trial: the calibration that keeps it, and whether it is the one in force."""

    calibration: Calibration
    in_force: bool


def terms_of(artifact: Artifact) -> tuple[list[Terms], tuple[TooTight, ...]]:
    """Return what to try: the promises that the artifact's good images support, with the one in force among them."""
    own = artifact.manifest.calibration
    found = [Terms(own, True)]
    too_tight: list[TooTight] = []
    for promise in PROMISES:
        if (needed := normals_needed(promise)) > len(artifact.scores):
            too_tight.append(TooTight(promise, needed))
        elif promise != own.false_reject:
            # As `neverblink calibrate --false-reject` would choose it.
            found.append(Terms(calibrate(artifact.scores, artifact.peaks, false_reject=promise), False))
    found.sort(key=lambda terms: terms.calibration.false_reject)
    return found, tuple(too_tight)


class PromiseTally:
    """Decides each image as each promise's threshold would, by score, U-Net, classifier and rules together.

    What another threshold would let the models see is known without another look, save where the U-Net did not run or
    the rules ask for the regions of an anomaly: those images `unsettled` names, and `settle` is told what they show.
    """

    def __init__(self, artifact: Artifact, rules: ProductRules) -> None:
        self.terms, self._too_tight = terms_of(artifact)
        self._rules = rules
        self._unet = artifact.manifest.unet is not None
        self._now = artifact.manifest.calibration
        self._scores = artifact.scores
        # (defective, rejected by each of the terms; None: another look is needed)
        self._decided: dict[Path, tuple[bool, list[bool | None]]] = {}

    def add(self, path: Path, inspection: Inspection, *, defective: bool) -> None:
        """Take what the models say of an image by the threshold in force."""
        own = [self._rejected(inspection, terms) for terms in self.terms]
        self._decided[path] = (defective, own)

    @property
    def unsettled(self) -> list[tuple[Terms, list[Path]]]:
        """Return the images that must be looked at once more, by the terms that they must be looked at by."""
        return [
            (terms, paths)
            for place, terms in enumerate(self.terms)
            if (paths := [path for path, (_, own) in self._decided.items() if own[place] is None])
        ]

    def settle(self, path: Path, terms: Terms, inspection: Inspection) -> None:
        """Take what the models say of an image by another threshold."""
        self._decided[path][1][self.terms.index(terms)] = self._judged(inspection, terms.calibration)

    def costs(self, source: Source) -> PromiseCosts | None:
        """Return what was counted, None where no defect was shown; without good parts by the held-out ones' scores."""
        defective = [own for bad, own in self._decided.values() if bad]
        good = [own for bad, own in self._decided.values() if not bad]
        if not defective:
            return None
        return PromiseCosts(
            tuple(
                self._row(place, terms, [bool(own[place]) for own in defective], [bool(own[place]) for own in good])
                for place, terms in enumerate(self.terms)
            ),
            source,
            not good,
            self._too_tight,
        )

    def _row(self, place: int, terms: Terms, defective: Sequence[bool], good: Sequence[bool]) -> PromiseRow:
        threshold = terms.calibration.threshold
        rejected = sum(good) if good else int((self._scores > threshold).sum())
        return PromiseRow(
            promise=terms.calibration.false_reject,
            threshold=threshold,
            of_threshold=threshold / self._now.threshold,
            in_force=terms.in_force,
            found=sum(defective),
            defective=len(defective),
            false_rejects=rejected,
            good=len(good) or len(self._scores),
        )

    def _rejected(self, inspection: Inspection, terms: Terms) -> bool | None:
        if terms.in_force:
            return self._judged(inspection, terms.calibration)
        score, threshold = inspection.anomaly.score, terms.calibration.threshold
        if score > threshold:
            # Regions of the map are other ones by another threshold of the map.
            return None if self._rules.policy.reject_on == "defects" else True
        asked = self._unet and score >= self._rules.segment_from * threshold
        if asked and inspection.probabilities is None:
            return None
        # Below the threshold the map has no say: what the U-Net marks remains, where it would run.
        findings = tuple(one for one in inspection.findings if asked and "unet" in one.seen_by)
        return self._judged(replace(inspection, findings=findings), terms.calibration)

    def _judged(self, inspection: Inspection, calibration: Calibration) -> bool:
        return judged(inspection, calibration, self._rules, mm_per_px=self._rules.mm_per_px).reject


def settled(tally: PromiseTally, look: Callable[[Terms, Sequence[Path]], Iterable[tuple[Path, Inspection]]]) -> None:
    """Have what is unsettled looked at by other thresholds; `look` yields each image's inspection by some terms."""
    for terms, paths in tally.unsettled:
        for path, inspection in look(terms, paths):
            tally.settle(path, terms, inspection)
