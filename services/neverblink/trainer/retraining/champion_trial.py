"""Champion and challenger on the same parts: held-out normals, challenge parts and every known defect."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.metrics import roc_auc_score

from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.found_parts import with_parts
from neverblink.trainer.teaching.unet_thresholds import alarm_bound
from neverblink.vision.artifact import Artifact
from neverblink.vision.calibration import Calibration
from neverblink.vision.decode import Image, read_image
from neverblink.vision.inspector import Inspector, aligner_of, extractor_of, features_key, inspect_defects

Role = Literal["normal", "challenge", "defect"]

_BATCH = 8
_NAMED = 5

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Part:
    """What both models are tried on; `type` is that of its defect, None for a normal."""

    path: Path
    role: Role
    type: str | None = None

    @property
    def name(self) -> str:
        """Return what people find it by."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model says of a part: its score, as a share of the threshold too, and the decision."""

    score: float
    ratio: float
    rejected: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How one model did; `judged` has one entry a part, in their order. `ms_an_image` is in batches of eight."""

    name: str
    version: str
    digest: str
    calibration: Calibration
    threshold: float
    bank: tuple[int, int]
    ms_an_image: float
    judged: tuple[Judged, ...]

    @property
    def bank_mb(self) -> float:
        """Return the bank's size in memory."""
        return 4 * self.bank[0] * self.bank[1] / 1e6


@dataclass(frozen=True, slots=True)
class Trial:
    """Both models on all parts. With `tolerate_old_misses` only what the champion finds may not escape; `depth` is
    that of 16-bit pictures, `ungrouped` the rule by which the champion's pictures alone count as groups.
    """

    parts: tuple[Part, ...]
    champion: Standing
    challenger: Standing
    rules: str
    tolerate_old_misses: bool = False
    depth: int | None = None
    ungrouped: str | None = None

    def of(self, *roles: Role) -> list[int]:
        """Return the places of the parts of these roles."""
        return [place for place, part in enumerate(self.parts) if part.role in roles]

    def rejected(self, model: Standing, *roles: Role) -> int:
        """Return how many parts of these roles a model rejects."""
        return sum(model.judged[place].rejected for place in self.of(*roles))

    def false_reject_rate(self, model: Standing) -> float:
        """Return the share of held-out normals that a model rejects."""
        return self.rejected(model, "normal") / len(self.of("normal"))

    def false_reject_bound(self, model: Standing) -> float:
        """Return its upper 95 % confidence bound (Clopper-Pearson)."""
        return alarm_bound(self.rejected(model, "normal"), len(self.of("normal"))) or 1.0

    def auroc(self, model: Standing) -> float | None:
        """Return how well a model's scores tell normals from all defective parts, None without any."""
        normal, bad = self.of("normal"), self.of("challenge", "defect")
        if not bad:
            return None
        scores = [model.judged[place].score for place in (*normal, *bad)]
        return float(roc_auc_score([False] * len(normal) + [True] * len(bad), scores))

    @property
    def corrections(self) -> tuple[int, int]:
        """Return how many held-out normals the champion rejects, and how many of those the challenger still does."""
        before = [place for place in self.of("normal") if self.champion.judged[place].rejected]
        return len(before), sum(self.challenger.judged[place].rejected for place in before)

    @property
    def escaping(self) -> list[int]:
        """Return the places of the defective parts that the challenger passes."""
        return [place for place in self.of("challenge", "defect") if not self.challenger.judged[place].rejected]

    @property
    def newly_escaping(self) -> list[int]:
        """Return those of them that the champion rejects."""
        return [place for place in self.escaping if self.champion.judged[place].rejected]

    @property
    def refusal(self) -> str | None:
        """Return why the challenger must not score, None when nothing speaks against it."""
        places = self.newly_escaping if self.tolerate_old_misses else self.escaping
        if not places:
            return None
        names = ", ".join(f"{self.parts[place].name} ({self.parts[place].type})" for place in places[:_NAMED])
        more = "" if len(places) <= _NAMED else f" and {len(places) - _NAMED} more"
        bad = len(self.of("challenge", "defect"))
        old = len(self.escaping) - len(self.newly_escaping)
        both = f"; {old} escape the champion too" if old and not self.tolerate_old_misses else ""
        return f"{len(places)} of {bad} known defective parts would escape: {names}{more}{both}"

    @property
    def doubts(self) -> list[str]:
        """Return what a person should know before a promotion, though it refuses nothing."""
        found = []
        if not self.of("challenge", "defect"):
            found.append("there is no known defect to try it on: nothing says that it still finds any")
        before, after = self.false_reject_rate(self.champion), self.false_reject_rate(self.challenger)
        if after > before:
            found.append(
                f"it rejects more held-out normals than the champion: {100 * after:.1f} % instead of"
                f" {100 * before:.1f} %"
            )
        promised = self.challenger.calibration.false_reject
        if after > promised:
            found.append(
                f"it rejects {100 * after:.1f} % of held-out normals and promises {100 * promised:.3g} % at most"
            )
        if self.ungrouped is not None:
            found.append(
                f"its promise counts each picture for itself, the champion's were counted by groups ({self.ungrouped}):"
                " where pictures are of the same items, it promises too much"
            )
        old = len(self.escaping) - len(self.newly_escaping)
        if old and self.tolerate_old_misses:
            found.append(f"{old} known defective parts escape both models")
        return found

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON: figures of both models, and every part's scores."""
        before, after = self.corrections
        return {
            "promotable": self.refusal is None,
            "refused": self.refusal,
            "doubts": self.doubts,
            "decided_by": self.rules,
            "held_out_corrections": {"before": before, "after": after},
            "champion": self._figures(self.champion),
            "challenger": self._figures(self.challenger),
            "parts": [
                {
                    "path": str(part.path),
                    "role": part.role,
                    "type": part.type,
                    "champion": asdict(self.champion.judged[place]),
                    "challenger": asdict(self.challenger.judged[place]),
                }
                for place, part in enumerate(self.parts)
            ],
        }

    def _figures(self, model: Standing) -> dict[str, object]:
        normals, challenge, defects = (len(self.of(role)) for role in ("normal", "challenge", "defect"))
        return {
            "name": model.name,
            "version": model.version,
            "digest": model.digest,
            "threshold": model.threshold,
            "promise": model.calibration.statement(),
            "bank": list(model.bank),
            "ms_an_image": model.ms_an_image,
            "normals": normals,
            "false_rejects": self.rejected(model, "normal"),
            "false_reject_rate": self.false_reject_rate(model),
            "false_reject_bound": self.false_reject_bound(model),
            "challenge": challenge,
            "challenge_missed": challenge - self.rejected(model, "challenge"),
            "defects": defects,
            "defects_missed": defects - self.rejected(model, "defect"),
            "auroc": self.auroc(model),
        }


def try_models(
    champion: Artifact,
    challenger: Artifact,
    parts: Sequence[Part],
    *,
    rules: ProductRules = DEFAULT_RULES,
    champion_threshold: float | None = None,
    tolerate_old_misses: bool = False,
    weights: Path | None = None,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
    clock: Clock = time.perf_counter,
) -> Trial:
    """Let both models judge `parts` as a scorer does; `champion_threshold` is what a person has edited it to.

    Parts that a model which aligns them does not find are left out: neither would pass them. Raises VisionError: an
    image or model that cannot be used.
    """
    for model in (champion, challenger):
        depth = rules.depth or model.manifest.depth
        parts, _ = with_parts(parts, lambda part: part.path, aligner_of(model), depth=depth, progress=progress)
    extractor = extractor_of(champion, weights=weights, device=device)
    shared = features_key(champion) == features_key(challenger)
    other = extractor if shared else extractor_of(challenger, weights=weights, device=device)
    old, new = (
        Inspector(one, seen, device=device, segment_from=rules.segment_from, min_area_px=rules.min_area_px)
        for one, seen in ((champion, extractor), (challenger, other))
    )
    if champion_threshold is not None:
        old = old.with_threshold(champion_threshold)
    judges = _Judge(old, champion_threshold, rules, clock), _Judge(new, None, rules, clock)
    depth = rules.depth or champion.manifest.depth
    for start in range(0, len(parts), _BATCH):
        pictures = [read_image(part.path, depth=depth) for part in parts[start : start + _BATCH]]
        for judge in judges:
            judge.look(pictures)
        progress("trying both models", min(start + _BATCH, len(parts)), len(parts))
    first, second = (judge.standing() for judge in judges)
    grouped, now = (one.manifest.provenance.grouped_by for one in (champion, challenger))
    ungrouped = grouped if now is None else None
    return Trial(tuple(parts), first, second, rules.title, tolerate_old_misses, depth, ungrouped)


class _Judge:
    """One model as a scorer runs it, what it said so far and how long it took.

    `edited` is the threshold that a person set instead of its own.
    """

    def __init__(self, inspector: Inspector, edited: float | None, rules: ProductRules, clock: Clock) -> None:
        self._inspector, self._edited, self._rules, self._clock = inspector, edited, rules, clock
        # U-Net and classifier are opened here: no image's time pays for it.
        _ = inspector.finder
        self._judged: list[Judged] = []
        self._seconds: list[float] = []

    def look(self, pictures: Sequence[Image]) -> None:
        began = self._clock()
        found = inspect_defects([(self._inspector, picture) for picture in pictures])
        self._seconds.append((self._clock() - began) / len(pictures))
        calibration = self._inspector.artifact.manifest.calibration
        scale = self._rules.mm_per_px
        for one in found:
            told = judged(one, calibration, self._rules, mm_per_px=scale, edited=self._edited)
            self._judged.append(Judged(told.score, told.ratio, told.reject))

    def standing(self) -> Standing:
        artifact = self._inspector.artifact
        return Standing(
            name=artifact.name,
            version=artifact.version,
            digest=artifact.digest,
            calibration=artifact.manifest.calibration,
            threshold=artifact.threshold if self._edited is None else self._edited,
            bank=(artifact.manifest.vectors, artifact.manifest.dimension),
            # The median: the first batch pays for what is set up lazily.
            ms_an_image=1000 * float(np.median(self._seconds)),
            judged=tuple(self._judged),
        )
