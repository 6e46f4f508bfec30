"""Images on their way to a judge: read ahead by threads, in order, in batches that memory holds."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from neverblink.trainer.datasets.inputs import Input, UnreadableError
from neverblink.trainer.offline_inspection.rows import DETAIL, Unscored
from neverblink.vision.decode import Image, ImageError
from neverblink.vision.quality import ImageQuality, measure

_BATCH_BYTES = 512 * 1024 * 1024
"""A batch of large images ends here, whatever its count: two 64-megapixel ones, or 170 of one megapixel."""

_HELD_BYTES = 1024 * 1024 * 1024
"""Decoded images that wait for their batch; beyond, no further one is decoded."""


class Picture(NamedTuple):
    """A decoded image, and what is measured on it."""

    image: Image
    quality: ImageQuality


def read(item: Input) -> Picture | Unscored:
    """Read and measure one image; runs in the decoding threads."""
    try:
        image = item.read()
    except (ImageError, UnreadableError) as error:
        return Unscored(error.reason, str(error)[:DETAIL])
    return Picture(image, measure(image))


def ahead_of(
    inputs: Iterator[Input], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Input, Picture | Unscored]]:
    """Yield the inputs in order, read by threads: at most `ahead` of them, or a bound of bytes, wait to be taken."""
    waiting: deque[tuple[Input, Future[Picture | Unscored]]] = deque()
    for item in inputs:
        waiting.append((item, pool.submit(read, item)))
        while len(waiting) >= ahead or sum(_bytes(future) for _, future in waiting) > _HELD_BYTES:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _bytes(future: "Future[Picture | Unscored]") -> int:
    if not future.done():
        return 0
    picture = future.result()
    return 0 if isinstance(picture, Unscored) else picture.image.nbytes


def in_batches(
    pictures: Iterator[tuple[Input, Picture | Unscored]], size: int
) -> Iterator[list[tuple[Input, Picture | Unscored]]]:
    """Yield pictures in batches of `size`, smaller where they are large."""
    batch: list[tuple[Input, Picture | Unscored]] = []
    held = 0
    for item, picture in pictures:
        batch.append((item, picture))
        held += 0 if isinstance(picture, Unscored) else picture.image.nbytes
        if len(batch) == size or held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
