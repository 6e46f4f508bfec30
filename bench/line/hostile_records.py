"""What the services bear of records that anybody with write access may send.

`decoders` gives a million mutated inputs to the decoders alone. `services` sends a hundred thousand mutated records to
every topic that services read, on Apache Kafka, while camera, scorer, bridge, drift and ledger run: none may end, each
stays within its container's memory, and every record is either a dead letter or has its effect.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from neverblink.events import EVENTS, EventError, encode
from neverblink.events.envelope import decode
from neverblink.events.examples import examples
from neverblink.kafka.record_batches import FetchedRecords
from rigs.hostile_line import HostileLine
from rigs.hostile_mutations import mutated_batch, mutated_message


def decoders(count: int, seed: int) -> None:
    """Print what came of so many inputs, one in ten of them a batch of records."""
    drawn = random.Random(seed)
    messages = [encode(event, source="/bench") for event in examples()]
    told: Counter[str] = Counter()
    began = time.perf_counter()
    batches = count // 10
    for _ in range(count - batches):
        headers, value = mutated_message(drawn.choice(messages), drawn)
        try:
            decode(headers, value, *EVENTS)
        except EventError:
            told["records refused with a sentence"] += 1
        else:
            told["records read"] += 1
    records_s = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(batches):
        fetched = FetchedRecords(mutated_batch([drawn.choice(messages)], drawn, damaged=True)[0])
        while fetched.has_next():
            batch = fetched.next_batch()
            assert batch is not None
            before = batch.base_offset - 1
            for record in batch:
                assert before < record.offset < batch.next_offset
                before = record.offset
        told["batches passed"] += 1
    batches_s = time.perf_counter() - began
    print("| inputs | so many | µs each, the making included |\n|---|---|---|")
    for name, number in sorted(told.items()):
        each = (batches_s / batches if "batch" in name else records_s / (count - batches)) * 1e6
        print(f"| {name} | {number} | {each:.0f} |")
    print(f"\n{count} inputs, none raised anything else, none took a wrong offset.", flush=True)


async def services(count: int, rate: float, seed: int) -> None:
    """Run the line, send the records, and print what became of them."""
    with TemporaryDirectory(prefix="hostile-") as folder:
        async with HostileLine(Path(folder), seed) as line:
            await line.send(count, rate)
            for row in await line.report():
                print(row, flush=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["decoders", "services"])
    parser.add_argument("--count", type=int, help="1,000,000 inputs or 100,000 records by default")
    parser.add_argument("--rate", type=float, default=300.0, help="records a second")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.what == "decoders":
        decoders(chosen.count or 1_000_000, chosen.seed)
    else:
        asyncio.run(services(chosen.count or 100_000, chosen.rate, chosen.seed))


if __name__ == "__main__":
    main()
