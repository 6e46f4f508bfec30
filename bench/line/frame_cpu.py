"""Where a frame's CPU time goes in the scorer, stage by stage, and the former way of a stage beside the new one.

Each stage is called by itself on one thread, as the scorer calls it, and its CPU time is taken; figures are medians of
rounds, and ways that stand beside each other take turns. Sockets, tasks and the loop's turns are in none of them:
`bench.line.scorer` and `bench.line.scorer_growth` have the whole process.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import neverblink  # before torch: says how OpenMP waits  # noqa: F401

# isort: split
import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bench.line.scorer import SIDE, Site, drawn, fit_drawn
from neverblink.decisions.judgement import judged
from neverblink.events import Frame, Times, Verdict
from neverblink.events.envelope import Message, decode, encode
from neverblink.kafka.record_batches import RecordBatch
from neverblink.scorer import verdicts
from neverblink.scorer.models import Models
from neverblink.scorer.pictures import evidence_pictures
from neverblink.storage.frame_objects import body_of
from neverblink.vision import decode as pictures
from neverblink.vision.area_average import area_average
from neverblink.vision.backbones import load_backbone
from neverblink.vision.overlay import thumbnail
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.preprocess import Preprocess

Pixels = npt.NDArray[np.uint8]
SIZES = ((640, 480), (1152, 864), (2448, 2048), (4000, 3000))
NORMALS, BATCH, AT_LEAST_S = 12, 8, 0.02
QUALITY, GRAIN = 90, 3


@dataclass(frozen=True)
class Way:
    """One way of doing a stage; `each` is how many frames a call does."""

    name: str
    call: Callable[[], object]
    each: int = 1


def in_turns(ways: Sequence[Way], rounds: int) -> list[float]:
    """Return the median CPU ms a frame of each way, its threads' included."""
    times: list[list[float]] = [[] for _ in ways]
    for one in ways:
        one.call()
    for turn in range(rounds):
        order = list(range(len(ways)))
        for which in order[:: -1 if turn % 2 else 1]:
            began, calls = time.process_time(), 0
            while (spent := time.process_time() - began) < AT_LEAST_S or not calls:
                ways[which].call()
                calls += 1
            times[which].append(1000 * spent / calls / ways[which].each)
    return [median(found) for found in times]


def batch_of(message: Message) -> bytes:
    """Return a record batch as it comes from a broker, checksum included."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 26)
    builder.append(0, 1_700_000_000_000, message.key, message.value, message.headers)
    return bytes(builder.build())


def pictures_of(photograph: Pixels) -> Iterator[tuple[str, Pixels, str, bytes, str | None]]:
    """Yield size, (H, W, 3) RGB pixels, format, file and content type of raw rows."""
    noise = np.random.default_rng(0)
    for width, height in SIZES:
        large = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        rgb = np.clip(large + noise.normal(0, GRAIN, large.shape), 0, 255).astype(np.uint8)
        bgr, size = rgb[..., ::-1], f"{width} × {height}"
        yield size, rgb, "raw", rgb.tobytes(), pictures.raw_content_type(rgb)
        yield size, rgb, "PNG", cv2.imencode(".png", bgr)[1].tobytes(), None
        yield size, rgb, "JPEG", cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes(), None


def by_opencv(image: Pixels, height: int, width: int) -> Pixels:
    """Shrink as it was done before."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def reduced(data: bytes, height: int, width: int, factor: int) -> Pixels:
    """Decode a JPEG at a `factor`th of its size: not what the scorer does, beside what it does."""
    sides = {"min_height": -(-height // factor), "min_width": -(-width // factor), "min_factor": 1}
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True, **sides), dtype=np.uint8)


def decoding(photograph: Pixels, rounds: int) -> None:
    """Print what decoding takes by format and size, and what a smaller decoding of JPEG would."""
    print("| pixels | format | kB | sha256 | decode | JPEG at 1/2 | 1/4 |\n|---|---|--:|--:|--:|--:|--:|")
    for size, rgb, kind, data, content_type in pictures_of(photograph):
        ways = [
            Way("sha256", partial(hashlib.sha256, data)),
            Way("decode", partial(pictures.decode, data, content_type=content_type)),
        ]
        if kind == "JPEG":
            high, wide = rgb.shape[:2]
            ways += [Way("", partial(reduced, data, high, wide, by)) for by in (2, 4)]
        found = [f"{one:.2f}" for one in in_turns(ways, rounds)] + ["–", "–"]
        print(f"| {size} | {kind} | {len(data) / 1000:,.0f} | {' | '.join(found[:4])} |", flush=True)


def shrinking(photograph: Pixels, rounds: int) -> None:
    """Print what it takes to shrink to the network's size and to a thumbnail, before and now."""
    print(f"\n| pixels | to {SIDE} px: before | now | pixels that differ | thumbnail: before | now |")
    print("|---|--:|--:|--:|--:|--:|")
    for size, rgb, kind, _, _ in pictures_of(photograph):
        if kind != "raw":
            continue
        high, wide = rgb.shape[:2]
        scale = SIDE / max(high, wide)
        small = round(high * scale), round(wide * scale)
        before, now, drawn_before, drawn_now = in_turns(
            [
                Way("before", partial(by_opencv, rgb, SIDE, SIDE)),
                Way("now", partial(area_average, rgb, SIDE, SIDE)),
                Way("before", partial(by_opencv, rgb, *small)),
                Way("now", partial(thumbnail, rgb, SIDE)),
            ],
            rounds,
        )
        away = np.abs(by_opencv(rgb, SIDE, SIDE).astype(int) - area_average(rgb, SIDE, SIDE))
        differ = f"{np.count_nonzero(away):,} of {away.size:,}, by {away.max()} at most"
        print(f"| {size} | {before:.2f} | {now:.2f} | {differ} | {drawn_before:.2f} | {drawn_now:.2f} |", flush=True)


def stages(folder: Path) -> list[Way]:
    """Return the stages of a drawn PNG's way through the scorer, in their order."""
    site = Site("127.0.0.1:1", fit_drawn(folder, NORMALS), 1, BATCH)
    models = Models.load(site.plant)
    model = models["part"]
    frame, image = site.frame(0, site.lines[0], 3600), drawn(0)
    sent = encode(frame, source="/bench")
    received, body = batch_of(sent), frame.body
    prepared = model.inspector.prepare_defects(image)
    inputs = [prepared.inputs[0]] * BATCH
    features = model.inspector.extractor.embed(inputs)
    inspection = models.score([(model, prepared)])[0]
    now = datetime.now(UTC)
    times = Times(captured=now, published=now, received=now, batched=now, scored=now, emitted=now)

    def told() -> Verdict:
        judgement = judged(inspection, model.calibration, model.rules, mm_per_px=None, edited=model.edited)
        return verdicts.in_time(
            frame, (), times=times, judgement=judgement, artifact=model.reference, calibrated=model.calibrated
        )

    verdict = told()
    sizes = [image.shape[:2]] * BATCH
    return [
        Way("a record out of its batch, checksum", lambda: list(RecordBatch(received))),
        Way("frame event read", lambda: decode(sent.headers, sent.value, Frame)),
        Way("sha256 of the picture", lambda: body_of(frame, None)),
        Way("PNG of 320 px decoded", lambda: pictures.decode(body)),
        Way("resized, inputs made", lambda: model.inspector.prepare_defects(image)),
        Way("**network**", lambda: model.inspector.extractor.embed(inputs), BATCH),
        Way("**search**", lambda: model.inspector.judge(features, sizes), BATCH),
        Way("network, search, regions and findings", lambda: models.score([(model, prepared)] * BATCH), BATCH),
        Way("judged, verdict made", told),
        Way("verdict written as a record", lambda: batch_of(encode(verdict, source="/bench"))),
        Way("thumbnail", lambda: evidence_pictures(image, inspection, model.artifact, ("thumbnail",))),
    ]


def threads(rounds: int) -> None:
    """Print what the network costs by threads: CPU ms an image, and what two threads cost more than one."""
    rows: list[tuple[int, list[float]]] = []
    image = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    for count in (1, 2):
        torch.set_num_threads(count)
        extractor = FeatureExtractor(load_backbone(preprocess=Preprocess(resize=SIDE)))
        ways = [Way("", partial(extractor.embed, [image] * many), many) for many in (1, BATCH)]
        rows.append((count, in_turns(ways, rounds)))
    print("\n| threads | network, CPU ms an image: one alone | in batches of 8 |\n|---|--:|--:|")
    for count, (alone, together) in rows:
        print(f"| {count} | {alone:.1f} | {together:.1f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", type=Path, help="a folder with cookie/; without it a drawn part is enlarged")
    parser.add_argument("--without-model", action="store_true", help="pictures alone")
    parser.add_argument("--threads", action="store_true", help="the network by threads alone")
    given = parser.parse_args()
    if given.threads:
        threads(given.rounds)
        return
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found = sorted((given.data / "cookie/train/good").glob("*.jpg")) if given.data else []
    photograph = pictures.read_image(found[0]) if found else drawn(0)
    print(f"CPU ms a frame, medians of {given.rounds} rounds; {'a cookie' if found else 'a drawn part'}\n")
    decoding(photograph, given.rounds)
    shrinking(photograph, given.rounds)
    if given.without_model:
        return
    with TemporaryDirectory() as folder:
        ways = stages(Path(folder))
        print(f"\n| stage, batches of {BATCH}, one thread | CPU ms a frame |\n|---|--:|")
        for way, spent in zip(ways, in_turns(ways, given.rounds), strict=True):
            print(f"| {way.name} | {spent:.3f} |", flush=True)


if __name__ == "__main__":
    main()
