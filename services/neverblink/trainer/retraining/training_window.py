"""Which confirmed normals a retraining learns from and which it is tried on: pure, and the same for a seed."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from neverblink.trainer.datasets.confirmed_images import ConfirmedImage
from neverblink.trainer.retraining.settings import HoldOutBy
from neverblink.vision.errors import VisionError


class WindowError(VisionError):
    """Confirmed images that do not suffice; the message says how many there are and what to do."""


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Normals of so many days before `until` (None: the newest image) count; `most` of them, None: all.

    `hold_out` is the share that is kept for the trial: by a hash of the image, so that it stays held out in every later
    retraining with the same seed, or the newest by `time`. `shifts` are the hours at which shifts begin in `zone`.
    """

    days: float = 28.0
    until: datetime | None = None
    most: int | None = None
    hold_out: float = 0.2
    by: HoldOutBy = "hash"
    seed: int = 0
    shifts: tuple[int, ...] = (6, 14, 22)
    zone: tzinfo = UTC
    least: int = 59
    """Fewer normals to learn from are refused: they could not even promise 5 %."""
    least_held_out: int = 10


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """`learn` and `held_out` share no image. The counts say what was left out and why."""

    learn: tuple[ConfirmedImage, ...]
    held_out: tuple[ConfirmedImage, ...]
    begins: datetime | None
    ends: datetime | None
    outside: int
    duplicates: int
    balanced_away: int
    known_to_champion: int

    @property
    def sources(self) -> dict[str, int]:
        """Return how many normals each source confirmed."""
        return dict(sorted(Counter(image.source for image in (*self.learn, *self.held_out)).items()))


def training_window(
    images: Sequence[ConfirmedImage], settings: WindowSettings, *, champion_knows: frozenset[str] = frozenset()
) -> TrainingWindow:
    """Choose what a challenger learns from and what both models are tried on.

    An image counts once, however often it was confirmed. Images that the champion was fitted to (`champion_knows`, by
    digest) are learnt from and never held out: they would flatter it. Undated images lie in every window.
    Raises WindowError when too few are left.
    """
    once = _once(images)
    dated = [image.captured for image in once if image.captured is not None]
    ends = settings.until or max(dated, default=None)
    begins = None if ends is None else ends - timedelta(days=settings.days)
    inside = [image for image in once if _lies_in(image.captured, begins, ends)]
    chosen = inside if settings.most is None else balanced(inside, settings.most, settings)
    fresh = [image for image in chosen if image.digest not in champion_knows]
    held = {image.digest for image in _held_out(fresh, settings)}
    learn = tuple(image for image in chosen if image.digest not in held)
    held_out = tuple(image for image in chosen if image.digest in held)
    _check_enough(learn, held_out, len(images), settings)
    return TrainingWindow(
        learn=learn,
        held_out=held_out,
        begins=begins,
        ends=ends,
        outside=len(once) - len(inside),
        duplicates=len(images) - len(once),
        balanced_away=len(inside) - len(chosen),
        known_to_champion=len(chosen) - len(fresh),
    )


def balanced(images: Sequence[ConfirmedImage], most: int, settings: WindowSettings) -> list[ConfirmedImage]:
    """Return `most` images, as evenly over days and their shifts as these allow, in their order.

    Every day's shift gives the same number, or all that it has; which ones is drawn by the seed.
    """
    groups: dict[tuple[object, ...], list[ConfirmedImage]] = defaultdict(list)
    for image in images:
        groups[_shift(image, settings)].append(image)
    left, taken = most, set[str]()
    # Smallest first: what a small group cannot give, the larger ones share.
    for number, own in enumerate(sorted(groups.values(), key=len)):
        share = -(-left // (len(groups) - number))
        drawn = sorted(own, key=lambda image: _draw(image, settings.seed))[: min(share, left)]
        taken |= {image.digest for image in drawn}
        left -= len(drawn)
    return [image for image in images if image.digest in taken]


def _once(images: Iterable[ConfirmedImage]) -> list[ConfirmedImage]:
    found: dict[str, ConfirmedImage] = {}
    for image in images:
        found.setdefault(image.digest, image)
    return sorted(found.values(), key=lambda image: (image.captured or datetime.min.replace(tzinfo=UTC), image.digest))


def _lies_in(captured: datetime | None, begins: datetime | None, ends: datetime | None) -> bool:
    return captured is None or begins is None or ends is None or begins < captured <= ends


def _shift(image: ConfirmedImage, settings: WindowSettings) -> tuple[object, ...]:
    """Return the day and the shift of an image; what runs past midnight is of the day before."""
    if image.captured is None:
        return (image.shift,)
    local = image.captured.astimezone(settings.zone)
    day = (local - timedelta(hours=settings.shifts[0])).date()
    return day, image.shift or sum(begin <= local.hour for begin in settings.shifts) % len(settings.shifts)


def _held_out(images: Sequence[ConfirmedImage], settings: WindowSettings) -> list[ConfirmedImage]:
    if settings.by == "hash":
        return [image for image in images if _draw(image, settings.seed) < settings.hold_out]
    undated = sum(image.captured is None for image in images)
    if undated:
        raise WindowError(
            f"{undated} images do not say when they were captured: hold out by hash, or give their times in an index"
        )
    return list(images[len(images) - round(settings.hold_out * len(images)) :])


def _draw(image: ConfirmedImage, seed: int) -> float:
    """Return a number from 0 to 1 that depends on an image's content and the seed alone."""
    digest = hashlib.sha256(f"{seed} {image.digest}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _check_enough(
    learn: Sequence[ConfirmedImage], held_out: Sequence[ConfirmedImage], given: int, settings: WindowSettings
) -> None:
    for found, least, what in (
        (len(learn), settings.least, "to learn from"),
        (len(held_out), settings.least_held_out, "held out for the trial"),
    ):
        if found < least:
            raise WindowError(
                f"of {given} confirmed normals {found} are left {what}, and {least} are needed: confirm more parts,"
                f" look further back than {settings.days:g} days, or hold out another share than"
                f" {100 * settings.hold_out:g} %"
            )
