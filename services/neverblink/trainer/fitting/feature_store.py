"""The features of all training images: in memory while they are few, else in a file that nobody else sees."""

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import torch
from torch import Tensor

from neverblink.trainer.datasets.images import DatasetError

_FLOAT = 4
_GIB = 1024**3


class FeatureStore:
    """(images, patches, dimension) float32, appended once and then read in any order.

    The file is read plainly: the pages of a mapped one would count as this process's memory. It has no name and
    vanishes when the store is closed. Raises DatasetError where the scratch folder has no room.
    """

    def __init__(
        self, images: int, patches: int, dimension: int, *, in_memory: int, scratch: Path | None = None
    ) -> None:
        """Make room; at most `in_memory` bytes are held in memory, more go to `scratch` (default: the system's)."""
        self.patches = patches
        self.dimension = dimension
        self._appended = 0
        self._memory: Tensor | None = None
        self._file: IO[bytes] | None = None
        size = _FLOAT * images * patches * dimension
        if size <= in_memory:
            self._memory = torch.empty((images, patches, dimension))
            return
        folder = scratch or Path(tempfile.gettempdir())
        if not folder.is_dir():
            raise DatasetError(f"there is no scratch folder {folder} for the features; name one that exists")
        free = shutil.disk_usage(folder).free
        if free < size:
            raise DatasetError(
                f"the features of {images} images need {size / _GIB:.1f} GiB and {folder} has {free / _GIB:.1f} GiB"
                " free; name another scratch folder or allow more memory"
            )
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._appended

    @property
    def on_disk(self) -> bool:
        """Return whether the features are in a file."""
        return self._file is not None

    def append(self, batch: Tensor) -> None:
        """Add the features of the next images, (n, ..., dimension) float32."""
        batch = batch.reshape(-1, self.patches, self.dimension)
        if self._memory is not None:
            self._memory[self._appended : self._appended + len(batch)] = batch
        else:
            data = batch.float().cpu().contiguous().numpy().data.cast("B")
            place = _FLOAT * self._appended * self.patches * self.dimension
            # One call may move less than asked: Linux stops at 2 GiB.
            while data:
                moved = os.pwrite(self._descriptor, data, place)
                data, place = data[moved:], place + moved
        self._appended += len(batch)

    def image(self, index: int) -> Tensor:
        """Return the (patches, dimension) features of one image."""
        return self.images(torch.tensor([index]))[0]

    def images(self, indices: Tensor) -> Tensor:
        """Return the (n, patches, dimension) features of some images, (n,) int64."""
        return self._rows(indices, self.patches * self.dimension).view(-1, self.patches, self.dimension)

    def gather(self, patches: Tensor) -> Tensor:
        """Return the (n, dimension) features of some patches, (n,) int64 counted over all images."""
        return self._rows(patches, self.dimension)

    def close(self) -> None:
        """Give the memory or the file back."""
        self._memory = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rows(self, indices: Tensor, width: int) -> Tensor:
        if self._memory is not None:
            return self._memory.view(-1, width)[indices]
        found = torch.empty((len(indices), width))
        # In the file's order: the disk then reads ahead.
        wanted, rows = indices.sort()
        for index, row in zip(wanted.tolist(), rows.tolist(), strict=True):
            data = found[row].numpy().data.cast("B")
            place = _FLOAT * index * width
            while data:
                moved = os.preadv(self._descriptor, [data], place)
                if moved == 0:
                    raise DatasetError(f"only {self._appended} images have features so far; append the others first")
                data, place = data[moved:], place + moved
        return found

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise DatasetError("the features were given back already; fit again")
        return self._file.fileno()


class SomeRows(FeatureStore):
    """Some rows of another store, which stays what it is: (n,) int64 of them, in an order of their own."""

    def __init__(self, whole: FeatureStore, rows: Tensor) -> None:
        super().__init__(0, whole.patches, whole.dimension, in_memory=0)
        self._whole, self._chosen = whole, rows

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def on_disk(self) -> bool:
        """Return whether the features are in a file."""
        return self._whole.on_disk

    def images(self, indices: Tensor) -> Tensor:
        """Return the (n, patches, dimension) features of some images, (n,) int64."""
        return self._whole.images(self._chosen[indices])

    def gather(self, patches: Tensor) -> Tensor:
        """Return the (n, dimension) features of some patches, (n,) int64 counted over all images."""
        return self._whole.gather(self._chosen[patches // self.patches] * self.patches + patches % self.patches)
