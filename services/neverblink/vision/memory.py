"""How much memory models hold: tensors, arrays and search indices, each once however many share it."""

import functools
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

Seen = set[tuple[str, int]]
"""Device and address of the memory that was counted."""

_FLOAT_BYTES = 4


def held_bytes(root: object, device: str = "cpu", seen: Seen | None = None) -> int:
    """Return the bytes that an object of ours holds on a device, in all that it refers to.

    Tensors count by their storage and arrays by what owns them, FAISS's indices by their vectors, and an object
    with `opaque_bytes` by what that says. `seen` is what was counted before, and grows. What the libraries need
    beside the numbers (compiled code, work space) is not counted.
    """
    kind = torch.device(device).type
    counted: Seen = set() if seen is None else seen
    visited: set[int] = set()
    waiting: list[Any] = [root]
    total = 0
    while waiting:
        found = waiting.pop()
        if id(found) in visited:
            continue
        visited.add(id(found))
        block = _block(found)
        if block is None:
            waiting += _parts(found)
            continue
        place, address, size = block
        if place == kind and (place, address) not in counted:
            counted.add((place, address))
            total += size
        if hasattr(found, "opaque_bytes"):
            waiting += _parts(found)
    return total


def _block(found: Any) -> tuple[str, int, int] | None:
    """Return device, address and size of memory, None for what only refers to some."""
    if isinstance(found, Tensor):
        storage = found.untyped_storage()
        return found.device.type, storage.data_ptr(), storage.nbytes()
    if isinstance(found, np.ndarray):
        while isinstance(found.base, np.ndarray):
            found = found.base
        return "cpu", found.__array_interface__["data"][0], found.nbytes
    if isinstance(found, faiss.Index):
        return "cpu", id(found), found.ntotal * found.d * _FLOAT_BYTES
    if hasattr(found, "opaque_bytes") and not isinstance(found, type):
        return "cpu", id(found), found.opaque_bytes
    return None


def _parts(found: Any) -> Iterator[Any]:
    """Yield what an object of ours refers to; manifests weigh little, other libraries' objects are closed."""
    # Lists of them: another thread may add to what is looked at.
    if isinstance(found, dict):
        yield from list(found.values())
    elif isinstance(found, (list, tuple, set, frozenset)):
        yield from list(found)
    elif isinstance(found, functools.partial):
        yield from (*found.args, *found.keywords.values())
    elif isinstance(found, torch.nn.Module) or (_is_ours(found) and not isinstance(found, (BaseModel, type))):
        yield from list(getattr(found, "__dict__", {}).values())
        for owner in type(found).__mro__:
            for name in getattr(owner, "__slots__", ()):
                if hasattr(found, name):
                    yield getattr(found, name)


def _is_ours(found: Any) -> bool:
    return type(found).__module__.startswith("neverblink.")
