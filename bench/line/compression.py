"""What it costs to pack events for Kafka and to unpack them, and how many bytes are left, by codec.

Batches of one event (what a verdict with a deadline is) to 64 (what waits while a request is in flight), every id and
trace of its own. CPU time of this process, the best of several rounds; packing as the producer does it, unpacking as
the consumers do. With `--kafka local` the same through Apache Kafka: CPU of producer and broker, bytes on its disk.
"""

import argparse
import asyncio
import gzip
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.codec import lz4_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bench.processes import cpu_s
from neverblink.brokers.apache import LocalKafka
from neverblink.events import Actuation, Event, Message, Verdict, encode
from neverblink.events.examples import examples
from neverblink.kafka import bounded_codecs, ensure_topics, library
from neverblink.plant import Kafka

HEADER_BYTES = 61
READERS = 3  # of a verdict: bridge, drift, ledger
Pack = Callable[[bytes], bytes]
Unpack = Callable[[bytes], bytes]


def as_is(plain: bytes) -> bytes:
    """Return it as it came."""
    return plain


def at_level(level: int) -> Pack:
    """Return our packing at a level."""
    return lambda plain: bounded_codecs.pack_gzip(plain, level)


def library_gzip(plain: bytes) -> bytes:
    """Pack as aiokafka does by itself: level 9, through a file object."""
    return gzip.compress(plain, 9)


CODECS: dict[str, tuple[Pack, Unpack, str]] = {
    "none": (as_is, as_is, "every client"),
    "gzip 1 (ours)": (at_level(1), bounded_codecs.unpack_gzip, "every client"),
    "gzip 6": (at_level(6), bounded_codecs.unpack_gzip, "every client"),
    "gzip 9 (the library's)": (library_gzip, bounded_codecs.unpack_gzip, "every client"),
    "lz4": (lz4_encode, bounded_codecs.unpack_lz4, "not kafkajs"),
    "zstd (until now)": (zstd_encode, bounded_codecs.unpack_zstd, "not kafkajs"),
}


def messages(kind: type[Event], count: int) -> list[Message]:
    """Return so many records of one kind of event, each with an id and a trace of its own."""
    example = next(event for event in examples() if type(event) is kind)
    found = []
    for _ in range(count):
        trace = {"traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"}
        event = example.model_copy(update={"id": str(uuid.uuid4())})
        found.append(encode(event, source="/plant-1/test", trace=trace))
    return found


def batch(sent: Sequence[Message]) -> bytes:
    """Return the records of a batch as they are before they are packed."""
    builder = DefaultRecordBatchBuilder(2, 0, True, -1, -1, -1, 1 << 22)
    for number, message in enumerate(sent):
        builder.append(number, 1_700_000_000_000 + number, message.key, message.value, message.headers)
    return bytes(builder.build())[HEADER_BYTES:]


def cpu_us(work: Callable[[], object], times: int, rounds: int = 7) -> float:
    """Return the CPU time of one call, microseconds: the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


def show_codecs() -> None:
    """Print what each codec costs and leaves."""
    print(
        "| event, in a batch | codec | bytes an event | pack, µs | unpack, µs | one pack, three unpack, µs | read by |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind in (Verdict, Actuation):
        for count in (1, 8, 64):
            plain = batch(messages(kind, count))
            for name, (pack, unpack, clients) in CODECS.items():
                packed = pack(plain)
                assert unpack(packed) == plain
                times = max(4, 600 // count)
                packs = cpu_us(partial(pack, plain), times) / count
                unpacks = cpu_us(partial(unpack, packed), times) / count
                all_in_all = packs + READERS * unpacks
                print(
                    f"| {kind.__name__}, {count} | {name} | {len(packed) / count:.0f} | {packs:.1f} | {unpacks:.1f} "
                    f"| {all_in_all:.1f} | {clients} |",
                    flush=True,
                )


async def show_kafka(count: int, in_flight: int) -> None:
    """Print CPU and bytes of verdicts through Apache Kafka, by codec; runs take turns, the better of two counts."""
    print(f"\n| {count} verdicts, Apache Kafka | producer, CPU µs each | broker, CPU µs each | bytes on disk each |")
    print("|---|---|---|---|")
    levels = {
        "none": (None, 0),
        "gzip 1 (ours)": ("gzip", 1),
        "gzip 9": ("gzip", 9),
        "lz4": ("lz4", 0),
        "zstd": ("zstd", 0),
    }
    sent = messages(Verdict, count)
    library.prepare()
    async with LocalKafka() as broker:
        kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix="warm", partitions=1, replication=1)
        await ensure_topics(kafka, ("verdicts",))
        await through(broker, "warm.verdicts", sent, None, 0, in_flight)  # the JVM compiles what it runs often
        best: dict[str, tuple[float, float, float]] = {}
        for turn in range(2):
            for name, (codec, level) in levels.items():
                prefix = f"t{turn}-{name.split()[0]}-{level}"
                await ensure_topics(kafka.model_copy(update={"topic_prefix": prefix}), ("verdicts",))
                found = await through(broker, f"{prefix}.verdicts", sent, codec, level, in_flight)
                best[name] = min(best.get(name, found), found)
        for name, (ours, brokers, stored) in best.items():
            print(f"| {name} | {ours / count:.1f} | {brokers / count:.1f} | {stored / count:.0f} |")


async def through(
    broker: LocalKafka, topic: str, sent: Sequence[Message], codec: str | None, level: int, in_flight: int
) -> tuple[float, float, float]:
    """Send all and return the CPU of this process and of the broker, µs, and the bytes on its disk."""
    node = broker._nodes[0]
    assert node.process is not None
    bounded_codecs.PACKING_LEVEL = level or bounded_codecs.PACKING_LEVEL
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=True, compression_type=codec,
        max_batch_size=256 * 1024,
    )  # fmt: skip
    await producer.start()
    began, brokers = time.process_time(), cpu_s(node.process.pid)
    try:
        for first in range(0, len(sent), in_flight):
            some = sent[first : first + in_flight]
            pending = [await producer.send(topic, one.value, key=one.key, headers=one.headers) for one in some]
            await asyncio.gather(*pending)
    finally:
        ours = time.process_time() - began
        theirs = cpu_s(node.process.pid) - brokers
        await producer.stop()
    stored = await asyncio.to_thread(_stored, node.folder, topic)
    return ours * 1e6, theirs * 1e6, float(stored)


def _stored(folder: Path, topic: str) -> int:
    return sum(file.stat().st_size for file in folder.rglob(f"{topic}-0/*.log"))


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", choices=("local",), help="also through Apache Kafka, on the local JVM")
    parser.add_argument("--verdicts", type=int, default=20_000)
    parser.add_argument(
        "--in-flight", type=int, default=32, help="verdicts that wait at once for their acknowledgement"
    )
    chosen = parser.parse_args()
    print(f"zlib {zlib.ZLIB_RUNTIME_VERSION}, cramjam {cramjam.__version__}\n")
    show_codecs()
    if chosen.kafka:
        asyncio.run(show_kafka(chosen.verdicts, chosen.in_flight))


if __name__ == "__main__":
    main()
