"""What a search for a recipe is worth: against the default and the guide's hand-made recipes, on parts it never saw.

Good parts and defects of a set are halved, copies together. `neverblink tune` sees the first half; then each recipe is
fitted to that half's good parts and judged on the other half: recall and false rejects at the fit's own threshold,
AUROC, milliseconds an image, and how far its recall is from the best hand-made one's on the same parts. Three sets with
ten minutes each are 50 minutes on two cores; a search that was stopped goes on in the same `--out`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from bench.real_images import RESNET18, data_folder
from neverblink.confidence.intervals import share_interval
from neverblink.simulation.parts.dataset import write_dataset
from neverblink.simulation.parts.simulation import Simulation
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.trainer.datasets.labelled_image import LabelledImage
from neverblink.trainer.datasets.usable_pictures import usable_pictures
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitJob, FitSettings
from neverblink.trainer.tuning.jobs import run_tune
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import Inspector, extractor_of, inspect

SETS: Final = ("tiles", "cookies", "boards")
FOLDERS: Final = {"tiles": "magnetic-tile", "cookies": "cookie"}
BOARDS: Final = {"train": 300, "test_good": 100, "per_defect": 10}
DRAWS: Final = 1000

Scores = npt.NDArray[np.float64]


class Half(NamedTuple):
    """Good parts and defects that another half does not have."""

    good: list[Path]
    bad: list[LabelledImage]


class Judged(NamedTuple):
    """A recipe on the half that it did not see."""

    recipe: str
    good: Scores
    bad: Scores
    threshold: float
    promise: float
    ms: float

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Return which defects are found."""
        return np.asarray(self.bad > self.threshold)


def hand_made(name: str, data: Path) -> dict[str, dict[str, Any]]:
    """Return the recipes that docs/guides/onboarding.md names for such pictures; of the boards it names none."""
    resnet = {"model": "resnet18", "weights": data / RESNET18}
    if name == "tiles":
        both = {"clahe": {"clip_limit": 2.0}, "top": 10}
        return {"CLAHE 2, top 10": both, "ResNet-18, CLAHE 2, top 10": both | resnet}
    if name == "cookies":
        return {"top 3": {"top": 3}, "ResNet-18, top 10": {"top": 10} | resnet}
    return {"320 px": {"size": 320}}


def halves(place: Path) -> tuple[Half, Half]:
    """Return every other group of copies of good parts, trained and fresh, and of each kind of defects."""
    labelled = labelled_images(place)
    good = [*good_images(place), *(one.path for one in labelled if one.defect is None)]
    bad = [one for one in labelled if one.defect is not None]
    usable = usable_pictures([*good, *(one.path for one in bad)], skip_unusable=True)
    group = dict(zip(usable.paths, usable.copies.group.tolist(), strict=True))
    found: tuple[Half, Half] = (Half([], []), Half([], []))
    side: dict[int, int] = {}
    turn: dict[str | None, int] = {}
    for path, kind, one in [*((path, None, None) for path in good), *((one.path, one.defect, one) for one in bad)]:
        if path not in group:
            continue
        if group[path] not in side:
            turn[kind] = turn.get(kind, 0) + 1
            side[group[path]] = 1 - turn[kind] % 2
        half = found[side[group[path]]]
        if one is None:
            half.good.append(path)
        else:
            half.bad.append(one)
    return found


def laid_out(half: Half, folder: Path) -> Path:
    """Write a half as a folder in MVTec layout, of links."""
    places = [(path, folder / "train/good") for path in half.good]
    places += [(one.path, folder / "test" / str(one.defect)) for one in half.bad]
    for path, place in places:
        place.mkdir(parents=True, exist_ok=True)
        link = place / f"{path.parent.name}-{path.name}"
        if not link.exists():
            link.symlink_to(path.resolve())
        one = next((bad for bad in half.bad if bad.path == path and bad.mask is not None), None)
        if one is not None and one.mask is not None:
            mask = folder / "ground_truth" / str(one.defect) / f"{link.stem}_mask{one.mask.suffix}"
            mask.parent.mkdir(parents=True, exist_ok=True)
            if not mask.exists():
                mask.symlink_to(one.mask.resolve())
    (folder / "test/good").mkdir(parents=True, exist_ok=True)
    return folder


def judged(recipe: str, settings: FitSettings, learnt: Half, unseen: Half, place: Path) -> Judged:
    """Fit to one half and judge by the other."""
    fit(learnt.good, place, settings)
    artifact = load_artifact(place)
    inspector = Inspector(artifact, extractor_of(artifact, weights=settings.weights))
    found: list[Scores] = []
    spent = []
    for paths in (unseen.good, [one.path for one in unseen.bad]):
        own = []
        for path in paths:
            image = read_image(path)
            began = time.perf_counter()
            (anomaly,) = inspect([(inspector, image)])
            spent.append(time.perf_counter() - began)
            own.append(anomaly.score)
        found.append(np.array(own))
    promise = artifact.manifest.calibration.false_reject
    return Judged(recipe, found[0], found[1], artifact.threshold, promise, 1000 * float(np.median(spent)))


def rows(several: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the table: the best hand-made recipe, the default among them, is what all are measured by."""
    best = max(several[:-1], key=lambda one: float(one.found.mean()))
    random = np.random.default_rng(0)
    draws = random.integers(len(best.bad), size=(DRAWS, len(best.bad)))
    table = []
    for one in several:
        apart = one.found[draws].mean(axis=1) - best.found[draws].mean(axis=1)
        low, high = np.quantile(apart, (0.025, 0.975))
        found, rejected = int(one.found.sum()), int((one.good > one.threshold).sum())
        table.append(
            {
                "recipe": one.recipe,
                "promise": round(one.promise, 4),
                "recall": round(found / len(one.bad), 3),
                "interval": [round(value, 3) for value in share_interval(found, len(one.bad))],
                "against the best hand-made": [
                    round(float(apart.mean()), 3),
                    round(float(low), 3),
                    round(float(high), 3),
                ],
                "false rejects": f"{rejected} of {len(one.good)}",
                "auroc": round(
                    float(roc_auc_score([0] * len(one.good) + [1] * len(one.bad), [*one.good, *one.bad])), 4
                ),
                "ms": round(one.ms, 1),
            }
        )
    return table


def measured(name: str, place: Path, out: Path, budget: str, data: Path) -> dict[str, Any]:
    """Tune on one half of a set and judge all recipes on the other."""
    learnt, unseen = halves(place)
    folder = laid_out(learnt, out / name / "seen")
    job = TuneJob(
        images=folder, product=name, out=out / name / "tuned", budget=budget, network=(f"resnet18={data / RESNET18}",)
    )
    tuned = run_tune(job)
    settings = {"default": FitSettings(product=name, name=name)}
    for label, changes in hand_made(name, data).items():
        settings[label] = FitSettings.model_validate({"product": name, "name": name, **changes})
    settings[f"tune: {tuned.chosen}"] = FitJob.read(tuned.settings_file, {}).of_the_model
    found = []
    for number, (label, one) in enumerate(settings.items()):
        found.append(judged(label, one, learnt, unseen, out / name / f"model-{number}"))
    table = rows(found)
    told = (
        None
        if tuned.fresh is None
        else [round(value, 3) for value in (tuned.fresh.recall, tuned.fresh.low, tuned.fresh.high)]
    )
    return {
        "set": name,
        "halves": {"good": [len(learnt.good), len(unseen.good)], "defects": [len(learnt.bad), len(unseen.bad)]},
        "tried": len(tuned.recipes),
        "minutes": round(tuned.spent_s / 60, 1),
        "why": tuned.why,
        "tune told, on what chose nothing": told,
        "report": str(tuned.report),
        "rows": table,
    }


def printed(found: dict[str, Any]) -> str:
    """Return a set's figures as a table for docs/benchmarks."""
    (good, good_unseen), (bad, bad_unseen) = found["halves"]["good"], found["halves"]["defects"]
    told = (
        f"\n{found['set']}: tuned on {good} good parts and {bad} defects, {found['tried']} recipes in"
        f" {found['minutes']} min; judged on {good_unseen} and {bad_unseen} others. {found['why']}."
        f" Told beforehand: {found['tune told, on what chose nothing']}.\n"
    )
    lines = [
        told,
        "| recipe | recall | against the best hand-made | false rejects (promise) | AUROC | ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        mean, low, high = row["against the best hand-made"]
        lines.append(
            f"| {row['recipe']} | {row['recall']:.3f} ({row['interval'][0]:.2f}–{row['interval'][1]:.2f})"
            f" | {mean:+.3f} ({low:+.3f} to {high:+.3f}) | {row['false rejects']} ({row['promise']:.1%})"
            f" | {row['auroc']:.4f} | {row['ms']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure the sets that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--out", type=Path, required=True, help="folder for halves, searches, models and reports")
    parser.add_argument("--budget", default="10m", help="of each search")
    given = parser.parse_args()
    if set(given.sets) - set(SETS):
        parser.error(f"the sets are {', '.join(SETS)}")
    data = data_folder(parser, given.data)
    for name in given.sets:
        place = data / FOLDERS[name] if name in FOLDERS else given.out / "boards" / "drawn"
        if name == "boards" and not (place / "train").is_dir():
            write_dataset(place, Simulation("pcb", seed=7), **BOARDS)
        found = measured(name, place, given.out, given.budget, data)
        (given.out / f"{name}.json").write_text(json.dumps(found, indent=1))
        print(printed(found), flush=True)


if __name__ == "__main__":
    main()
