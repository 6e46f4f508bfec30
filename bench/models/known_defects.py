"""Known defects on real images: what U-Net, classifier and hybrid make of magnetic tiles and circuit boards.

Every run trains one U-Net and writes one JSON file; `report` prints the tables from the files that are there, so that
runs can go side by side and be interrupted.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from bench.real_images import data_folder
from neverblink.trainer.datasets.defect_images import BOXES, DefectImage, defect_images, read_boxes, split, types_of
from neverblink.trainer.datasets.images import good_images, images_in
from neverblink.trainer.evaluation.defect_evaluation import DefectTally, InspectedImage
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.teaching.synthesize import SynthesizeSettings, synthesize
from neverblink.trainer.teaching.train_classifier import flagged_by, train_classifier
from neverblink.trainer.teaching.train_unet import train_unet
from neverblink.trainer.teaching.unet_settings import TrainSettings
from neverblink.vision.artifact import Artifact, joined, load_artifact
from neverblink.vision.artifact_manifest import ClassifierPart, UnetPart
from neverblink.vision.decode import read_image
from neverblink.vision.hybrid import Policy, decide
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.regions import outlined_finely
from neverblink.vision.synthesis import Policy as Drawings
from neverblink.vision.synthesis.policy import Kind
from neverblink.vision.unet import unet_tensors
from neverblink.vision.unet_spec import UnetSpec

TILES, BOARDS = "magnetic-tile", "deeppcb"
KINDS: tuple[Kind, ...] = ("pit", "hole", "crack", "scratch", "edge-break", "stain", "oxidation", "dent", "finish")
"""What synthetic tiles get; bridges and misplaced pieces do not occur on a bare surface."""

DRAWINGS = Drawings.model_validate(
    {
        "pit": {"size": [0.015, 0.08], "contrast": [0.06, 0.35], "count": [1, 3]},
        "hole": {"size": [0.04, 0.12], "contrast": [0.08, 0.4]},
        "crack": {"size": [0.15, 0.9], "contrast": [0.06, 0.35], "width": [0.003, 0.014]},
        "scratch": {"size": [0.1, 0.5], "contrast": [0.06, 0.25]},
        "edge-break": {"size": [0.06, 0.35], "contrast": [0.06, 0.4]},
        "stain": {"size": [0.3, 1.0], "contrast": [0.04, 0.2]},
        "oxidation": {"size": [0.15, 0.6], "contrast": [0.06, 0.25]},
        "dent": {"size": [0.1, 0.3], "contrast": [0.06, 0.2]},
        "finish": {"size": [0.5, 1.0], "contrast": [0.02, 0.15]},
    }
)
"""What defects of tiles look like to the eye that saw a few: faint, and some as large as the tile."""

PER_KIND = 25
FALSE_REJECT = 0.05
"""What PatchCore's threshold promises at most."""

BOARDS_IN_TRAINING = 120
SEED = 0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    """Train and judge, or print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="real, synthetic, both, without-TYPE, boards, or report.")
    parser.add_argument("--data", type=Path, help="Folder of data sets; default: NEVERBLINK_DATA.")
    parser.add_argument("--cache", type=Path, required=True, help="Folder for models, synthetic images and results.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--resize", type=int, help="Input of the U-Net; default: 256, boards 320.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N.")
    parser.add_argument("--workers", type=int, default=0, help="Threads that prepare images ahead; for GPUs.")
    arguments = parser.parse_args()
    data = data_folder(parser, arguments.data)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    for name in arguments.runs:
        if name == "report":
            report(arguments.cache, arguments.encoder)
            continue
        file = arguments.cache / f"{name}-{arguments.encoder}.json"
        if file.is_file():
            print(f"{name}: {file} is there", flush=True)
            continue
        began = time.perf_counter()
        found = boards(data, arguments) if name == "boards" else tiles(name, data, arguments)
        found["minutes"] = (time.perf_counter() - began) / 60
        file.write_text(json.dumps(found, indent=1))
        print(f"{name}: {found['minutes']:.1f} min", flush=True)


def tiles(name: str, data: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train on one half of the tiles' defects, split by image, and judge on the other half."""
    folder = data / TILES
    without = name.removeprefix("without-") if name.startswith("without-") else None
    images = defect_images(folder)
    if without is not None and without not in types_of(images):
        raise SystemExit(f"tiles have no type {without}: {', '.join(types_of(images))}")
    learnt, kept = split(images, 0.5, SEED)
    lessons = [image for image in learnt if without not in image.types] if name != "synthetic" else []
    if name in ("synthetic", "both"):
        lessons += defect_images(synthetic_tiles(folder, arguments.cache))
    settings = TrainSettings(
        preprocess=Preprocess(resize=arguments.resize or 256),
        **training(arguments),
    )
    artifact = fitted(
        folder, arguments.cache / TILES, FitSettings(product="tile", name="tile", false_reject=FALSE_REJECT)
    )
    place = arguments.cache / "models" / f"{name}-{arguments.encoder}"
    return judged(artifact, lessons, good_images(folder), kept, settings, place)


def boards(data: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train on boards that DeepPCB gives for it, name types by the classifier, and judge on its test boards."""
    folder = data / BOARDS
    lessons = labelled_boards(folder)[:BOARDS_IN_TRAINING]
    test = defect_images(folder)
    settings = TrainSettings(
        preprocess=Preprocess(resize=arguments.resize or 320),
        **training(arguments),
    )
    artifact = fitted(
        folder,
        arguments.cache / BOARDS,
        FitSettings(product="board", name="board", size=320, false_reject=FALSE_REJECT),
    )
    place = arguments.cache / "models" / f"boards-{arguments.encoder}"
    return judged(artifact, lessons, good_images(folder), test, settings, place, named=True)


def training(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that all runs have in common."""
    return {
        "encoder": arguments.encoder,
        "classes": "binary",
        "epochs": arguments.epochs,
        "patience": 15,
        "seed": SEED,
        "device": arguments.device,
        "workers": arguments.workers,
    }


def judged(
    artifact: Artifact,
    lessons: Sequence[DefectImage],
    good: Sequence[Path],
    test: Sequence[DefectImage],
    settings: TrainSettings,
    place: Path,
    *,
    named: bool = False,
) -> dict[str, Any]:
    """Train, join in `place` and judge test images; returns figures by type, of the U-Net alone and of the hybrid."""
    trained = train_unet(
        lessons, good, settings, on_epoch=lambda epoch: print(f"  {epoch.number}: {epoch.mean_dice:.3f}", flush=True)
    )
    print(f"  {trained.held_out}", flush=True)
    model = joined(artifact, place, unet=(_part(trained.spec), unet_tensors(trained.unet)), version="unet", created=NOW)
    extractor = extractor_of(model, device=settings.device)
    if named:
        classified = train_classifier(
            lessons, extractor, flag=flagged_by(Inspector(model, extractor, device=settings.device))
        )
        part = ClassifierPart(spec=classified.classifier.spec, created=NOW, images=())
        tensors = classified.classifier.tensors()
        model = joined(model, place, classifier=(part, tensors), version="named", created=NOW, overwrite=True)
    inspector = Inspector(model, extractor, device=settings.device)
    tally = DefectTally(trained.spec, classified.classifier.spec.types if named else None)
    rows: list[dict[str, Any]] = []
    for image in test:
        picture = read_image(image.path)
        (inspection,) = inspect_defects([(inspector, picture)])
        score = inspection.anomaly.score
        decision = decide(score, model.threshold, inspection.findings, Policy())
        height, width = picture.shape[:2]
        tally.add(
            InspectedImage(image, height, width, inspection, decision.reject, decision.unsure, score / model.threshold)
        )
        masks = image.masks(height, width)
        rows.append(
            {
                "type": image.types[0] if image.types else None,
                "hybrid": decision.reject,
                "patchcore": score > model.threshold,
                "unet": any("unet" in finding.seen_by for finding in inspection.findings),
                "dice": _dice(inspection, trained.spec, masks, (height, width)),
                "sure_dice": _dice(inspection, trained.spec, masks, (height, width), sure=True),
            }
        )
    return {
        "lessons": sum(image.defective for image in lessons),
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "seconds_per_epoch": median(epoch.seconds for epoch in trained.history),
        "thresholds": (*trained.spec.thresholds, *trained.spec.sure),
        "held_out_dice": trained.held_out.mean_dice,
        "rows": rows,
        "evaluation": tally.evaluation().as_dict(),
    }


def _part(spec: UnetSpec) -> UnetPart:
    return UnetPart(spec=spec, created=NOW, images=(), epochs=1, held_out=0)


def _dice(
    inspection: Inspection,
    spec: UnetSpec,
    masks: dict[str, npt.NDArray[np.bool_]],
    size: tuple[int, int],
    *,
    sure: bool = False,
) -> float | None:
    """Return the Dice of all classes' pixels with all types', None where nothing is labelled.

    `sure` leaves out regions that the U-Net is not sure enough of to reject the part for.
    """
    truth = np.logical_or.reduce(list(masks.values())) if masks else np.zeros(size, dtype=np.bool_)
    if not truth.any() or inspection.probabilities is None:
        return None
    planes = np.stack([cv2.resize(plane, (size[1], size[0])) for plane in inspection.probabilities])
    if sure and inspection.outlined is not None:
        marked = outlined_finely(spec, planes, inspection.outlined).any(axis=0)
    else:
        marked = (planes > np.array(spec.thresholds)[:, None, None]).any(axis=0)
    return float(2 * (marked & truth).sum() / (marked.sum() + truth.sum()))


def fitted(folder: Path, place: Path, settings: FitSettings) -> Artifact:
    """Return PatchCore's artifact of a data set, fitted the first time."""
    if not place.is_dir():
        fit(good_images(folder), place, settings)
    return load_artifact(place)


def synthetic_tiles(folder: Path, cache: Path) -> Path:
    """Return a folder of synthetic defects on good tiles, drawn the first time."""
    place = cache / "synthetic"
    if not place.is_dir():
        drawn = SynthesizeSettings(kinds=KINDS, per_kind=PER_KIND, seed=SEED, policy=DRAWINGS)
        synthesize(good_images(folder), place, drawn)
    return place


def labelled_boards(folder: Path) -> list[DefectImage]:
    """Return the defective boards for training: masks in a folder of their own, types from the set's boxes."""
    boxes = read_boxes(folder / BOXES)
    extra = folder / "extra_train_defective"
    return [
        DefectImage(
            path,
            tuple(sorted({box.type for box in boxes[path.stem]})),
            extra / "masks" / f"{path.stem}_mask.png",
            tuple(boxes[path.stem]),
        )
        for path in images_in(extra / "images")
    ]


def report(cache: Path, encoder: str) -> None:
    """Print the tables of all results in a folder."""
    found = {
        file.stem.removesuffix(f"-{encoder}"): json.loads(file.read_text()) for file in cache.glob(f"*-{encoder}.json")
    }
    compared: dict[str, Any] = {name: found[name] for name in ("real", "synthetic", "both") if name in found}
    if compared:
        types = sorted({row["type"] for run in compared.values() for row in run["rows"] if row["type"]})
        for figure, title in (("dice", "Dice of outlines"), ("sure_dice", "Dice, sure regions")):
            print(f"\n{title:24}" + "".join(f"{name:>12}" for name in compared))
            for type_ in types:
                print(f"{type_:24}" + "".join(f"{_mean_dice(run, type_, figure):12.3f}" for run in compared.values()))
            means = [np.mean([_mean_dice(run, type_, figure) for type_ in types]) for run in compared.values()]
            print(f"{'mean over types':24}" + "".join(f"{value:12.3f}" for value in means))
        _print_shares("rejected by the U-Net alone", compared, types, "unet")
        _print_shares("rejected by PatchCore alone", compared, types, "patchcore")
        _print_shares("rejected by the hybrid", compared, types, "hybrid")
        for name, run in compared.items():
            print(f"{name}: {run['lessons']} images with defects, {run['epochs']} epochs, best {run['best_epoch']},")
            print(
                f"  {run['seconds_per_epoch']:.1f} s an epoch, thresholds {run['thresholds']}, {run['minutes']:.1f} min"
            )
    left = {name.removeprefix("without-"): run for name, run in found.items() if name.startswith("without-")}
    if left:
        print(f"\n{'type never seen':16}{'U-Net alone':>14}{'PatchCore':>12}{'hybrid':>10}   false rejects of each")
        for type_, run in sorted(left.items()):
            shares = [_share(run, type_, by) for by in ("unet", "patchcore", "hybrid")]
            alarms = [_share(run, None, by) for by in ("unet", "patchcore", "hybrid")]
            print(
                f"{type_:16}{shares[0]:14.3f}{shares[1]:12.3f}{shares[2]:10.3f}   "
                + " ".join(f"{x:.3f}" for x in alarms)
            )
    if "boards" in found:
        print(json.dumps(found["boards"]["evaluation"]["types"], indent=1))


def _mean_dice(run: dict[str, Any], type_: str, figure: str) -> float:
    return float(np.mean([row[figure] for row in run["rows"] if row["type"] == type_ and row[figure] is not None]))


def _share(run: dict[str, Any], type_: str | None, by: str) -> float:
    return float(np.mean([row[by] for row in run["rows"] if row["type"] == type_]))


def _print_shares(title: str, runs: Mapping[str, dict[str, Any]], types: Sequence[str], by: str) -> None:
    print(f"\n{title:28}" + "".join(f"{name:>12}" for name in runs))
    for type_ in (*types, None):
        print(
            f"{type_ or 'good (false rejects)':28}"
            + "".join(f"{_share(run, type_, by):12.3f}" for run in runs.values())
        )


if __name__ == "__main__":
    main()
