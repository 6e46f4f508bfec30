"""Named regions that look for what must be there: simulated boards with one of 40 parts absent, another one, or turned.

Each seed fits twice to the same boards: with a presence check on each part and with the plain score of the whole
picture. Prints JSON: the share of faulty boards that are rejected, that the right region names, with the right state,
and of fresh good boards that are rejected.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.decisions.judgement import Judgement, judged
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.simulation.parts.pcb_assembly import Fault, faults_of, polygon_of, put_together
from neverblink.simulation.parts.pcb_layout import PARTS
from neverblink.simulation.parts.simulation import SIZE, Simulation
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects

Image = npt.NDArray[np.uint8]

BOARD_PARTS = tuple(part.ref for part in PARTS)[-40:]
EXAMPLES = 20
FAULTS_AN_EXAMPLE = 4
"""An example board has faults in so many parts, far from each other on the whole: few boards show many faults."""

FRESH_FROM = 100_000
_BATCH = 16


class Shown(NamedTuple):
    """A faulty board."""

    part: str
    fault: Fault
    image: Image


def write_examples(folder: Path, sim: Simulation, random: np.random.Generator, wanted: int) -> int:
    """Write `wanted` examples of each part's faults, in turn, as boards with several faults; return how many boards."""
    left = [(ref, faults_of(ref)[number % len(faults_of(ref))]) for ref in BOARD_PARTS for number in range(wanted)]
    random.shuffle(left)
    boards = 0
    while left:
        faults: dict[str, Fault] = {}
        for ref, fault in list(left):
            if ref not in faults and len(faults) < FAULTS_AN_EXAMPLE:
                faults[ref] = fault
                left.remove((ref, fault))
        picture = folder / "boards" / f"{boards:04d}.png"
        write(picture, sim.showing(put_together(faults), boards).image)
        for ref, fault in faults.items():
            place = folder / ref / fault
            place.mkdir(parents=True, exist_ok=True)
            (place / picture.name).symlink_to(picture)
        boards += 1
    return boards


def regions_of(folder: Path) -> dict[str, Any]:
    """Return a presence check on each part, with its examples, as a regions file says it."""
    return {
        "width": SIZE,
        "height": SIZE,
        "regions": [
            {
                "name": ref,
                "kind": "presence",
                "polygon": [list(corner) for corner in polygon_of(ref)],
                "examples": {
                    fault: str(folder / ref / fault) for fault in faults_of(ref) if (folder / ref / fault).is_dir()
                },
            }
            for ref in BOARD_PARTS
        ],
    }


def write(path: Path, image: Image) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def judgements(artifact: Artifact, images: Sequence[Image]) -> list[Judgement]:
    """Return what is decided about boards."""
    inspector = Inspector(artifact, extractor_of(artifact))
    found = []
    for start in range(0, len(images), _BATCH):
        batch = [(inspector, image) for image in images[start : start + _BATCH]]
        found += [
            judged(seen, artifact.manifest.calibration, DEFAULT_RULES, mm_per_px=None)
            for seen in inspect_defects(batch)
        ]
    return found


def one_seed(seed: int, *, good: int, fresh: int, examples: int, promise: float, folder: Path) -> dict[str, Any]:
    """Fit with presence checks and without, and judge boards that neither saw."""
    sim, random = Simulation("pcb", seed=seed + 1), np.random.default_rng(seed)
    pictures = folder / "good"
    for number in range(good):
        write(pictures / f"{number:04d}.png", sim.good(number).image)
    boards = write_examples(folder / "examples", sim, random, examples) if examples else 0
    file = folder / "regions.json"
    file.write_text(json.dumps(regions_of(folder / "examples")))
    paths = sorted(pictures.iterdir())
    faulty = [
        Shown(ref, fault, sim.showing(put_together({ref: fault}), FRESH_FROM + place).image)
        for place, (ref, fault) in enumerate((ref, fault) for ref in BOARD_PARTS for fault in faults_of(ref))
    ]
    calm = [sim.good(FRESH_FROM + number).image for number in range(fresh)]
    row: dict[str, Any] = {"seed": seed, "example_boards": boards, "faulty": len(faulty), "fresh": fresh}
    for name, regions in (("presence", file), ("plain", None)):
        settings = FitSettings(
            product="pcb", name="pcb", seed=seed, false_reject=promise, brightness=(1.0,), regions=regions
        )
        begun = time.perf_counter()
        fit(paths, folder / name, settings)
        row[name] = {"fit_s": round(time.perf_counter() - begun, 1)}
        artifact = load_artifact(folder / name)
        row[name] |= counted(judgements(artifact, [one.image for one in faulty]), faulty)
        row[name]["false_rejects"] = sum(one.reject for one in judgements(artifact, calm)) / max(1, fresh)
    return row


def counted(found: Sequence[Judgement], faulty: Sequence[Shown]) -> dict[str, Any]:
    """Return the shares of faulty boards that are rejected, and named rightly."""
    named, first, states, others = 0, 0, 0, 0
    for one, shown in zip(found, faulty, strict=True):
        failed = [defect for defect in one.defects if defect.source == "presence"]
        named += any(defect.region == shown.part for defect in failed)
        first += bool(failed) and failed[0].region == shown.part
        states += any(defect.region == shown.part and defect.type == shown.fault for defect in failed)
        others += sum(defect.region != shown.part for defect in failed)
    total = len(faulty)
    missed = [f"{shown.part} {shown.fault}" for one, shown in zip(found, faulty, strict=True) if not one.reject]
    return {
        "recall": sum(one.reject for one in found) / total,
        "named": named / total,
        "named_first": first / total,
        "state": states / total,
        "others_named": others / total,
        "missed": missed[:20],
    }


def main() -> None:
    """Print a row of JSON a seed, then the means and the least and the largest of all seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--good", type=int, default=300)
    parser.add_argument("--fresh", type=int, default=300)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each part, its faults in turn; 0: none")
    parser.add_argument("--promise", type=float, default=0.01)
    given = parser.parse_args()
    rows = []
    for seed in range(given.seeds):
        with TemporaryDirectory() as place:
            row = one_seed(
                seed, good=given.good, fresh=given.fresh, examples=given.examples, promise=given.promise,
                folder=Path(place),
            )  # fmt: skip
        rows.append(row)
        print(json.dumps(row), flush=True)
    for name in ("presence", "plain"):
        for figure in ("recall", "named", "named_first", "state", "others_named", "false_rejects"):
            own = [row[name][figure] for row in rows]
            print(f"{name} {figure}: mean {np.mean(own):.4f}, {min(own):.4f} to {max(own):.4f}")


if __name__ == "__main__":
    main()
