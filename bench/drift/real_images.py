"""Light that falls over real magnetic tiles: when drift says so, and what a retraining brings back.

A model is fitted to one part of the good tiles; the others, and defective ones, come as a stream of parts: days of
steady light, then light that falls linearly to `--darkest`, then days at that. There are more parts than tiles, so
tiles come again, moved by up to two pixels and 1 % of brightness. Every part is really scored, and verdicts feed the
drift service's own statistics in event time. Retraining learns each tile of the last days once. What it is judged by,
the good and defective tiles of the data set's test folder in the low light, is in neither stream nor training, but for
the defects of the stream, which no model learns from. Writes a plot. About 6 minutes on 2 cores.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import orjson
import torch
from sklearn.metrics import roc_auc_score

from bench.real_images import Image, data_folder, read_all, weights_of
from neverblink.drift.alerts import AlertBook
from neverblink.drift.causes import explained
from neverblink.drift.history import Calendar
from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.drift.station_watch import StationWatch
from neverblink.drift.statistics import StationKey, Window
from neverblink.events import DriftAlert
from neverblink.trainer.datasets.confirmed_images import KnownPart, confirmed_images
from neverblink.trainer.datasets.images import DatasetError, good_images, labelled_images
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.retraining.retrain import Evidence, RetrainSettings, retrain
from neverblink.trainer.retraining.training_window import WindowSettings
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.augmentation import brightened
from neverblink.vision.inspector import Inspector, extractor_of, inspect
from neverblink.vision.quality import measure

KEY = StationKey("line-1", "top", "tile", "champion")
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
FITTED = 400
CALM, FALLING, LOW = 2250, 1200, 350
"""Parts of each stretch; a day has 250, so the drift service has learnt its week before the light begins to fall."""
A_DAY = 250
A_WINDOW = 10
DEFECTIVE = 0.02
RECENT = 300
"""Good parts over which a false-reject rate is taken along the stream."""

FITS = (("as fitted by default", (1.0,)), ("--brightness 0.8,1,1.2", (0.8, 1.0, 1.2)))

_BATCH = 16


@dataclass(slots=True)
class Stream:
    """What came of each part, (n,) each, and the alerts with the number of parts until then."""

    darkest: float
    brightness: npt.NDArray[np.float64]
    good: npt.NDArray[np.bool_]
    ratio: npt.NDArray[np.float64]
    alerts: list[tuple[int, DriftAlert]] = field(default_factory=list)

    @property
    def rejected(self) -> npt.NDArray[np.bool_]:
        """Return which parts were rejected."""
        return self.ratio > 1

    def false_rejects(self, first: int, last: int) -> float:
        """Return the false-reject rate of the parts from `first` to before `last`."""
        span = slice(first, last)
        return float(self.rejected[span][self.good[span]].mean())

    def recent(self, until: int) -> float:
        """Return the false-reject rate of the last good parts."""
        good = np.flatnonzero(self.good[:until])[-RECENT:]
        return float(self.rejected[good].mean())

    def doubled(self) -> int | None:
        """Return after how many parts the recent rate first was twice that of the calm days, None: never."""
        calm = self.false_rejects(0, CALM)
        return next((part for part in range(CALM + 50, len(self.good), 10) if self.recent(part) >= 2 * calm > 0), None)


def light(part: int, darkest: float) -> float:
    """Return the light at a part as a share of what it was."""
    return 1 - (1 - darkest) * float(np.clip((part - CALM) / FALLING, 0, 1))


def moment(part: int) -> datetime:
    """Return when a part is captured."""
    return START + timedelta(days=part / A_DAY)


def jittered(image: Image, factor: float, random: np.random.Generator) -> Image:
    """Return a tile as it comes again: moved by up to two pixels, 1 % brighter or darker, in that light."""
    x, y = random.integers(-2, 3, 2).tolist()
    matrix = np.array([[1, 0, x], [0, 1, y]], dtype=np.float64)
    size = (image.shape[1], image.shape[0])
    moved = np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)
    return brightened(moved, factor * float(random.normal(1, 0.01)))


def parts_of(
    good: Sequence[Image], defective: Sequence[Image], darkest: float, seed: int
) -> Iterator[tuple[bool, float, Image]]:
    """Yield the parts of the stream: whether good, the light, the picture."""
    random = np.random.default_rng(seed)
    queue: list[int] = []
    for part in range(CALM + FALLING + LOW):
        factor = light(part, darkest)
        if random.random() < DEFECTIVE:
            yield False, factor, jittered(defective[int(random.integers(len(defective)))], factor, random)
            continue
        # Every tile comes before any comes again.
        queue = queue or random.permutation(len(good)).tolist()
        yield True, factor, jittered(good[queue.pop()], factor, random)


def run(
    artifact: Artifact, inspector: Inspector, good: Sequence[Image], defective: Sequence[Image], darkest: float
) -> Stream:
    """Score the stream in batches and watch it as the drift service does."""
    count = CALM + FALLING + LOW
    stream = Stream(darkest, np.empty(count), np.empty(count, np.bool_), np.empty(count))
    watch, book, calendar = StationWatch(), AlertBook(), Calendar()
    waiting: list[tuple[bool, float, Image]] = []
    qualities: list[tuple[float, float, float, float]] = []
    done = 0
    for made in parts_of(good, defective, darkest, seed=0):
        waiting.append(made)
        if len(waiting) < _BATCH and done + len(waiting) < count:
            continue
        for (is_good, factor, image), anomaly in zip(
            waiting, inspect([(inspector, image) for _, _, image in waiting]), strict=True
        ):
            stream.good[done], stream.brightness[done] = is_good, factor
            stream.ratio[done] = anomaly.score / artifact.threshold
            seen = measure(image)
            qualities.append((seen.brightness, seen.contrast, seen.sharpness, seen.saturation))
            done += 1
            if done % A_WINDOW == 0:
                window = window_of(stream, np.array(qualities), done - A_WINDOW, done)
                for observation in watch.take(window, calendar):
                    for transition in book.take(KEY, observation):
                        if transition.stage == "raised":
                            stream.alerts.append((done, explained(KEY, transition, watch.latest)))
        waiting = []
    return stream


def window_of(stream: Stream, qualities: npt.NDArray[np.float64], first: int, last: int) -> Window:
    """Return the closed window of some parts, as the drift service makes it of their verdicts."""
    span = slice(first, last)
    rejected = int(stream.rejected[span].sum())
    passed = np.flatnonzero(~stream.rejected[span]) + first
    looks = [Moments.of(qualities[passed, column]) for column in range(4)]
    return Window(
        moment(first).timestamp(),
        moment(last).timestamp(),
        passed=len(passed),
        rejected={"anomaly": rejected} if rejected else {},
        pass_ratio=Moments.of(stream.ratio[passed]),
        brightness=looks[0],
        contrast=looks[1],
        sharpness=looks[2],
        saturation=looks[3],
        sketch=ScoreSketch.of(stream.ratio[passed]),
    )


def judged(
    folder: Path, weights: Path | None, good: Sequence[Image], bad: Sequence[Image]
) -> tuple[float, float, float]:
    """Return AUROC, false-reject rate and recall of a model on good and defective pictures."""
    artifact = load_artifact(folder)
    inspector = Inspector(artifact, extractor_of(artifact, weights=weights))
    scores: list[float] = []
    pictures = [*good, *bad]
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH]
        scores += [one.score for one in inspect([(inspector, picture) for picture in batch])]
    labels = [False] * len(good) + [True] * len(bad)
    found = np.array(scores) > artifact.threshold
    return (
        float(roc_auc_score(labels, scores)),
        float(found[: len(good)].mean()),
        float(found[len(good) :].mean()),
    )


def confirmed_folder(place: Path, good: Sequence[Image], darkest: float) -> Path:
    """Write each tile of the last days once, dark and as it came, with the index that a review leaves."""
    place.mkdir()
    random = np.random.default_rng(1)
    rows = []
    for number, image in enumerate(good):
        name = f"{number:04}.png"
        cv2.imwrite(str(place / name), jittered(image, darkest, random))
        captured = moment(CALM + FALLING + number)
        rows.append({"image": name, "captured": captured.isoformat(), "source": "reviewed-pass"})
    (place / "index.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return place


def known_defects(place: Path, defective: Sequence[Image], names: Sequence[str], darkest: float) -> list[KnownPart]:
    """Write the stream's defective tiles in the low light, as people confirmed them."""
    place.mkdir()
    for number, image in enumerate(defective):
        cv2.imwrite(str(place / f"{number:04}.png"), brightened(image, darkest))
    return [KnownPart(place / f"{number:04}.png", name) for number, name in enumerate(names)]


def main() -> None:
    """Print the tables and write the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Folder of data sets; default: NEVERBLINK_DATA.")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", type=Path, help="SVG file to write.")
    parser.add_argument("--only-default", action="store_true", help="Only the fit without brightened copies.")
    parser.add_argument("--darkest", type=float, default=0.7, help="Share of the light that is left.")
    given = parser.parse_args()
    darkest = given.darkest
    data = data_folder(parser, given.data)
    torch.set_num_threads(given.threads)
    began = time.perf_counter()
    tiles = np.random.default_rng(0).permutation(np.array(good_images(data / "magnetic-tile"), dtype=object)).tolist()
    test = labelled_images(data / "magnetic-tile")
    bad = [image for image in test if image.defect is not None]
    streamed, kept = bad[::2], bad[1::2]
    stream_good, stream_bad = read_all(tiles[FITTED:]), read_all([image.path for image in streamed])
    test_good = read_all([image.path for image in test if image.defect is None])
    test_bad = read_all([image.path for image in kept])
    dark_good, dark_bad = ([brightened(image, darkest) for image in images] for images in (test_good, test_bad))
    weights = weights_of(given.model, data)
    shown: dict[str, Stream] = {}
    with tempfile.TemporaryDirectory(prefix="neverblink-drift-") as scratch:
        place = Path(scratch)
        folder = confirmed_folder(place / "confirmed", stream_good, darkest)
        defects = known_defects(place / "defects", stream_bad, [str(image.defect) for image in streamed], darkest)
        evidence = Evidence(confirmed_images(folder).normals, defects)
        for name, brightness in FITS[: 1 if given.only_default else None]:
            champion = place / f"champion-{len(brightness)}"
            settings = FitSettings(
                product="tile", name="tile", model=given.model, weights=weights, brightness=brightness
            )
            artifact = fit(tiles[:FITTED], champion, settings).artifact
            inspector = Inspector(artifact, extractor_of(artifact, weights=weights))
            stream = shown[name] = run(artifact, inspector, stream_good, stream_bad, darkest)
            print(
                f"\n**{name}**: {len(artifact.bank)} vectors, promise {artifact.manifest.calibration.false_reject:.2%}"
            )
            tell_stream(stream)
            corrected: list[str] = []
            print("\n| model | AUROC | false rejects | defects found | bank | known defects that escape |")
            print("|---|---|---|---|---|---|")
            tell(
                f"champion, full light ({len(test_good)} good, {len(test_bad)} defective)",
                champion,
                weights,
                test_good,
                test_bad,
            )
            tell(f"champion, {darkest:.0%} light", champion, weights, dark_good, dark_bad)
            for correct in (False, True):
                out = place / f"challenger-{len(brightness)}-{correct}"
                wish = RetrainSettings(WindowSettings(days=7), correct=correct, weights=weights)
                try:
                    done = retrain(champion, out, evidence, wish)
                except DatasetError as error:
                    print(f"| corrected | {error} | | | | |")
                    continue
                what = "corrected" if correct else "retrained"
                escaping = f"{len(done.trial.escaping)} of {len(defects)}, {len(done.trial.newly_escaping)} newly"
                name = f"{what} from {done.learnt}, {darkest:.0%} light"
                tell(name, out, weights, dark_good, dark_bad, escaping)
                before, after = done.trial.corrections
                corrected.append(f"{what}: of {before} held-out false rejects {after} are left")
            print("\n" + "; ".join(corrected) + ".")
            print(f"\n{(time.perf_counter() - began) / 60:.1f} min", flush=True)
    if given.plot is not None:
        given.plot.write_text(plot(shown), encoding="utf-8")


def tell(
    name: str,
    folder: Path,
    weights: Path | None,
    good: Sequence[Image],
    bad: Sequence[Image],
    escaping: str = "–",
) -> None:
    """Print one model's row."""
    auroc, false_rejects, found = judged(folder, weights, good, bad)
    vectors = load_artifact(folder).manifest.vectors
    print(f"| {name} | {auroc:.3f} | {false_rejects:.1%} | {found:.1%} | {vectors} | {escaping} |", flush=True)


def tell_stream(stream: Stream) -> None:
    """Print when the alert came and how the false-reject rate went."""
    count = len(stream.good)
    calm, doubled = stream.false_rejects(0, CALM), stream.doubled()
    early = sum(part <= CALM for part, _ in stream.alerts)
    later = [(part, alert) for part, alert in stream.alerts if part > CALM]
    print(f"\n| stream | parts | light | false rejects, last {RECENT} good parts |\n|---|---|---|---|")
    print(f"| calm days; {early} alerts | 0 to {CALM} | 100 % | {calm:.1%} of all |")
    marks = [(f"alert on {alert.signal}", part) for part, alert in later[:4]]
    marks += [] if doubled is None else [("rate doubled", doubled)]
    for what, part in sorted(marks, key=lambda mark: mark[1]):
        print(f"| {what} | {part - CALM} after | {light(part, stream.darkest):.1%} | {stream.recent(part):.1%} |")
    if doubled is None:
        print("| rate doubled | never | | |")
    print(f"| end | {count - CALM} after | {stream.darkest:.0%} | {stream.recent(count):.1%} |", flush=True)
    for _, alert in later[:1]:
        print(f"\nThe first alert: {alert.change}. Cause: {alert.cause}. Next: {alert.next_step}.")


def plot(shown: dict[str, Stream]) -> str:
    """Return an SVG: the light, the false-reject rate of each model, the first alert and where the rate doubles."""
    width, height, left, top = 860, 400, 62, 40
    wide, high = width - left - 70, height - top - 70
    first, count = CALM - 1000, CALM + FALLING + LOW
    highest = max(stream.recent(part) for stream in shown.values() for part in range(first, count, 20))
    darkest = min(stream.darkest for stream in shown.values())
    ceiling = max(0.02, np.ceil(highest * 20) / 20)

    def x(part: float) -> float:
        return left + wide * (part - first) / (count - first)

    def y(share: float) -> float:
        return top + high * (1 - share)

    def line(points: Sequence[tuple[float, float]], colour: str, dash: str = "") -> str:
        drawn = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
        return f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'

    ink, soft = "#1a1f26", "#5a6572"
    colours = ("#cf5a1d", "#2a72b8")
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/><g font-size="12">',
    ]
    for step in range(5):
        at = step / 4
        found.append(f'<line x1="{left}" x2="{left + wide}" y1="{y(at):.1f}" y2="{y(at):.1f}" stroke="#e8ecf0"/>')
        found.append(
            f'<text x="{left - 8}" y="{y(at) + 4:.1f}" text-anchor="end" fill="{soft}">{ceiling * at:.1%}</text>'
        )
        shade = darkest + (1 - darkest) * at
        found.append(f'<text x="{left + wide + 8}" y="{y(at) + 4:.1f}" fill="{soft}">{100 * shade:.3g} %</text>')
    found += [
        f'<text x="{x(CALM + part):.1f}" y="{top + high + 18}" text-anchor="middle" fill="{soft}">{part}</text>'
        for part in range(-1000, count - CALM + 1, 500)
    ]
    lit = [(x(part), y((light(part, darkest) - darkest) / (1 - darkest))) for part in range(first, count, 20)]
    found.append(line(lit, "#8b95a1", ' stroke-dasharray="5 4"'))
    for colour, (name, stream) in zip(colours, shown.items(), strict=False):
        rates = [(x(part), y(stream.recent(part) / ceiling)) for part in range(first, count, 20)]
        found.append(line(rates, colour))
        alert = next((part for part, _ in stream.alerts if part > CALM), None)
        for part, word in ((alert, "alert"), (stream.doubled(), "doubled")):
            if part is not None:
                up = y(stream.recent(part) / ceiling)
                fill = colour if word == "alert" else "#fff"
                found.append(
                    f'<circle cx="{x(part):.1f}" cy="{up:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2">'
                    f"<title>{name}: {word}</title></circle>"
                )
    x_text = left
    for colour, name in (*zip(colours, shown, strict=False), ("#8b95a1", "light (right axis)")):
        found.append(f'<rect x="{x_text}" y="14" width="12" height="4" fill="{colour}"/>')
        found.append(f'<text x="{x_text + 18}" y="20" fill="{ink}">{name}</text>')
        x_text += 40 + 7 * len(name)
    found.append(f'<circle cx="{x_text + 6}" cy="16" r="5" fill="{ink}"/>')
    found.append(f'<text x="{x_text + 18}" y="20" fill="{ink}">first alert</text>')
    found.append(f'<circle cx="{x_text + 106}" cy="16" r="5" fill="#fff" stroke="{ink}" stroke-width="2"/>')
    found.append(f'<text x="{x_text + 118}" y="20" fill="{ink}">false rejects have doubled</text>')
    found.append(
        f'<text x="{left + wide / 2:.0f}" y="{height - 14}" text-anchor="middle" fill="{soft}">parts since the light'
        f" began to fall; up: false rejects among the last {RECENT} good parts</text></g></svg>"
    )
    return "\n".join(found) + "\n"


if __name__ == "__main__":
    main()
