"""What a classifier makes of a defect type that it never saw, and how well it tells those that it knows.

Each type in turn is left out; a fifth of the images of the others is held out beside it. Regions are drawn masks, or
also what PatchCore marks in the same images; figures are medians over seeds, of which images are held out.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score

from bench.real_images import data_folder, weights_of
from neverblink.trainer.datasets.defect_images import defect_images
from neverblink.trainer.datasets.images import good_images
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.teaching.train_classifier import (
    ClassifierSettings,
    Regions,
    TrainedClassifier,
    fit_regions,
    flagged_by,
    labelled_regions,
)
from neverblink.vision.inspector import Inspector, extractor_of

BACKBONES = ("tf_efficientnet_lite0", "resnet18")
OUTLINES = ("drawn", "both", "flagged")
"""Learnt from and tried on drawn masks; learnt from both and tried on flagged regions; learnt from drawn, tried on
flagged.
"""
DATA_SETS = {"magnetic-tile": OUTLINES, "deeppcb": ("drawn",)}
"""PatchCore does not see the defects of boards that all differ, so there is nothing that it would mark."""

SIDE, GOOD, SURE, HELD_OUT = 256, 190, 0.9, 0.2


@dataclass(frozen=True)
class Novelty:
    """One left-out type. `sure` is the share of its regions with a known name and a confidence of 0.9, `called` that
    with a known name at all, `unknown` that of held-out known regions without one; `auroc` ranks by novelty.
    """

    auroc: float
    sure: float
    called: float
    unknown: float


def regions_of(name: str, model: str, data: Path, *, flagged: bool) -> Regions:
    """Describe the regions of a data set; `flagged` fits PatchCore first."""
    good = good_images(data / name)
    weights = weights_of(model, data)
    with TemporaryDirectory() as folder:
        settings = FitSettings(product=name, name=name, model=model, weights=weights, size=SIDE, folds=2)
        artifact = fit(good[:: max(1, len(good) // GOOD)] if flagged else good[:2], Path(folder) / name, settings)
    inspector = Inspector(artifact.artifact, extractor_of(artifact.artifact, weights=weights))
    flag = flagged_by(inspector) if flagged else None
    return labelled_regions(defect_images(data / name), inspector.extractor, flag=flag)


def left_out(found: Regions, novel: str, seed: int, outlines: str) -> Novelty:
    """Leave out a type and some images of the others, and try both. Novel regions are of images never learnt from."""
    images = np.unique(found.image)
    away = np.random.default_rng(seed).permutation(images)[: round(HELD_OUT * len(images))]
    held_out = np.isin(found.image, away)
    learnt = ~held_out & (found.type != novel) & ((found.source == "drawn") | (outlines == "both"))
    tried = ~np.isin(found.image, found.image[learnt]) & (
        found.source == ("drawn" if outlines == "drawn" else "flagged")
    )
    classifier = fit_regions(found.chosen(learnt), ClassifierSettings(seed=seed)).classifier
    names = np.array(classifier.name(found.descriptors[tried]), dtype=object)
    is_novel = found.type[tried] == novel
    named = np.array([name is not None for name in names[:, 0]])
    sure = named & (names[:, 1].astype(float) >= SURE)
    ranks = classifier.novelty(found.descriptors[tried])
    return Novelty(
        float(roc_auc_score(is_novel, ranks)),
        float(sure[is_novel].mean()),
        float(named[is_novel].mean()),
        float((~named)[~is_novel].mean()),
    )


def told(trained: TrainedClassifier, name: str, source: str) -> tuple[float, float]:
    """Return recall and precision of a type over its cross-fitted regions of one source; unknown is no name."""
    tried = [one for one in trained.tried if one.source == source]
    right = sum(one.type == one.name.type == name for one in tried)
    return right / sum(one.type == name for one in tried), right / max(1, sum(one.name.type == name for one in tried))


def medians(rows: Iterable[Iterable[float]]) -> list[float]:
    """Return the median of each column."""
    return [median(column) for column in zip(*rows, strict=True)]


def cells(values: Iterable[float]) -> str:
    """Write up to six figures as a table's cells."""
    written = [f"{value:.3f}" for value in values]
    return " | ".join(written + ["–"] * (6 - len(written)))


def report(found: Regions, outlines: str, label: str, seeds: int) -> None:
    """Print the table of one data set, backbone and kind of regions."""
    own: npt.NDArray[np.bool_] = found.source == ("drawn" if outlines == "drawn" else "flagged")
    known = found if outlines == "both" else found.chosen(found.source == "drawn")
    trained = [fit_regions(known, ClassifierSettings(seed=seed)) for seed in range(seeds)]
    table: list[list[float]] = []
    for name in np.unique(found.type).tolist():
        tried = [left_out(found, name, seed, outlines) for seed in range(seeds)]
        row = medians((one.auroc, one.sure, one.called, one.unknown) for one in tried)
        if outlines != "flagged":
            row += medians(told(one, name, "drawn" if outlines == "drawn" else "flagged") for one in trained)
        table.append(row)
        print(
            f"| {label} | {outlines} | {name} | {int((own & (found.type == name)).sum())} | {cells(row)} |", flush=True
        )
    print(
        f"| {label} | {outlines} | mean | {int(own.sum())} | {cells(map(mean, zip(*table, strict=True)))} |", flush=True
    )


def main() -> None:
    """Print the table, then the time it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--sets", nargs="+", default=list(DATA_SETS), choices=list(DATA_SETS))
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--outlines", nargs="+", default=list(OUTLINES), choices=OUTLINES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    torch.set_num_threads(given.threads)
    start = time.perf_counter()
    print(
        f"medians over {given.seeds} seeds\n\n| data, backbone | regions | type left out, or told | regions |"
        " AUROC known vs novel | novel named, ≥ 0.9 | novel named | known called unknown | recall | precision |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    for name in given.sets:
        for model in given.backbones:
            wanted = [outlines for outlines in DATA_SETS[name] if outlines in given.outlines]
            found = regions_of(name, model, data, flagged=wanted != ["drawn"])
            for outlines in wanted:
                report(found, outlines, f"{name}, {model}", given.seeds)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
