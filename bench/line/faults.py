"""Every service against every fault of what it depends on: what it says, whether it heals, how it stops.

Each pair has a site of its own: a broker, the service as a process whose ready file and log are watched, and what it
depends on behind a network that can be cut. The service works, the fault comes, lasts for a while and ends, and the
service must do its work again; then the fault comes once more and the service is told to stop in the midst of it.
Prints a Markdown table; exit code 1 when a pair breaks a rule of the page that the table stands on.
"""

import argparse
import asyncio
import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from neverblink.brokers.apache import LocalKafka

# isort: split
from rigs.faults.pairs import FAULTS, PAIRS, chosen
from rigs.faults.site import SECOND, Sites
from rigs.faults.table import rows_of, table, written_into
from rigs.faults.trial import Bounds, Seen, tried
from rigs.postgresql import PostgresqlServer
from rigs.scored_line import fit_striped, refit_striped


def shared(folder: Path, ends: contextlib.ExitStack, apache: LocalKafka | None, at_once: int) -> Sites:
    """Return what the sites share; the models and the server are made when a pair first needs them."""

    @cache
    def artifacts() -> Path:
        found = fit_striped(folder)
        refit_striped(found, SECOND, ratio=0.02)
        return found

    @cache
    def postgresql() -> PostgresqlServer:
        server = PostgresqlServer()
        ends.callback(server.end)
        server.start()
        return server

    sites = Sites(artifacts, postgresql, apache)
    for number in range(at_once):
        sites.routes.put_nowait(number)
    return sites


def write(page: Path, seen: Seen) -> None:
    """Put what was seen into the page's table."""
    page.write_text(written_into(page.read_text(), [seen]))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the log of the parts in this process, which fail on purpose, out of the way."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


async def run(names: list[str], *, outage_s: float, at_once: int, kafka: str, page: Path | None) -> list[Seen]:
    """Try the pairs, so many at once; each goes to the page when it is over."""
    seats = asyncio.Semaphore(at_once)
    found: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as place, contextlib.ExitStack() as ends:
        async with contextlib.AsyncExitStack() as brokers:
            apache = LocalKafka(routes=at_once) if kafka == "local" else None
            if apache is not None:
                await brokers.enter_async_context(apache)
            sites = shared(Path(place), ends, apache, at_once)
            pairs = chosen(names)
            if any(pair.service == "scorer" for pair in pairs):
                await asyncio.to_thread(sites.artifacts)

            async def one(number: int) -> None:
                pair = pairs[number]
                folder = Path(place) / f"pair-{number}"
                folder.mkdir()
                async with seats:
                    try:
                        seen = found[pair.name] = await tried(pair, sites, folder, Bounds(outage_s))
                    except Exception as error:  # noqa: BLE001 - the boundary: the other pairs are tried
                        print(f"{pair.name} could not be tried: {error!r}", file=sys.stderr, flush=True)
                        return
                if page is not None:
                    write(page, seen)
                print(f"{len(found)}/{len(pairs)} {pair.name}: {'; '.join(seen.broken()) or 'well'}",
                      file=sys.stderr, flush=True)  # fmt: skip

            await asyncio.gather(*(one(number) for number in range(len(pairs))))
    return [found[pair.name] for pair in pairs if pair.name in found]


def main() -> int:
    """Try, print, and write the page where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="PAIR", help="pairs that begin so: camera:Kafka")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each fault lasts")
    parser.add_argument("--at-once", type=int, default=5, help="so many pairs side by side")
    parser.add_argument("--kafka", choices=("development", "local"), default="development")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the rows into this page; others' rows stay")
    wanted = parser.parse_args()
    with quiet():
        seen = asyncio.run(
            run(wanted.only, outage_s=wanted.seconds, at_once=wanted.at_once, kafka=wanted.kafka, page=wanted.write)
        )
    print("\n".join(table(rows_of(seen))))
    print("\n" + "\n".join(f"{fault}: {meaning}." for fault, meaning in FAULTS.items()))
    missing = len(chosen(wanted.only)) - len(seen)
    broken = [f"{one.pair.name}: {fault}" for one in seen for fault in one.broken()]
    print(f"\n{len(seen)} of {len(PAIRS)} pairs tried, {missing} could not be, {len(broken)} rules broken")
    print("\n".join(broken))
    return 1 if broken or missing else 0


if __name__ == "__main__":
    sys.exit(main())
