"""Puts our parts in the places of the Kafka library's, for every client of this process: Faust's too.

The library has no doors for them, so its modules' names are set. `prepare` fails where a name is gone: better no
client than one that reads without bounds.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from neverblink.errors import NeverblinkError
from neverblink.kafka.bounded_codecs import UNPACK, pack_gzip
from neverblink.kafka.following_client import FollowingClient, create_conn
from neverblink.kafka.record_batches import FetchedRecords

_READERS = ("aiokafka.consumer.fetcher",)
_CLIENTS = ("aiokafka.consumer.consumer", "aiokafka.producer.producer", "aiokafka.admin.client")
# The library's own parsers, which nothing of ours reads with any more, unpack within the same bound; its builders of
# batches are those that write.
_DECODERS = ("aiokafka.codec", "aiokafka.record.default_records", "aiokafka.record.legacy_records")
_COMPILED = ("aiokafka.record._crecords.default_records", "aiokafka.record._crecords.legacy_records")
_NOT_IN_LEGACY = "zstd"

_prepared: set[str] = set()


class LibraryChangedError(NeverblinkError, RuntimeError):
    """The Kafka library has moved what we replace: this version of it cannot be used safely."""


def prepare() -> None:
    """Replace what must not be the library's own. Once is enough. Raises LibraryChangedError."""
    if _prepared:
        return
    for place in _READERS:
        _put(import_module(place), "MemoryRecords", FetchedRecords)
    for place in _CLIENTS:
        _put(import_module(place), "AIOKafkaClient", FollowingClient)
    _put(import_module("aiokafka.client"), "create_conn", create_conn)
    for place in (*_DECODERS, *_compiled()):
        for codec, unpack in UNPACK.items():
            if not (codec == _NOT_IN_LEGACY and "legacy" in place):
                _put(import_module(place), f"{codec}_decode", unpack)
        _put(import_module(place), "gzip_encode", pack_gzip)
    _prepared.add("aiokafka")


def _compiled() -> tuple[str, ...]:
    try:
        return tuple(place for place in _COMPILED if import_module(place))
    except ImportError:
        return ()  # without its extensions the library parses in Python


def _put(module: ModuleType, name: str, ours: Any) -> None:
    if not hasattr(module, name):
        raise LibraryChangedError(
            f"{module.__name__}.{name} is gone from the Kafka library: this version of aiokafka is not known to us,"
            " install the one of constraints.txt"
        )
    setattr(module, name, ours)
