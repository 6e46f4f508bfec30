"""A process that measures what it is told to: the services' own instruments and their own place to be asked at.

Each order on standard input is a line of JSON: `["bridge", "told", "add", 3, {"line": "a", …}]` uses an instrument, a
`traceparent` may follow; `["observe", "drift", [["a", "top", "act"]]]` sets what whoever collects is answered,
`["tell", false, "why"]` whether the service is ready, `["version", "9.9"]` lets it be of another one, `["everything"]`
measures one of all there is.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import neverblink.bridge.instruments as bridge
import neverblink.camera.instruments as camera
import neverblink.console.instruments as console
import neverblink.drift.instruments as drift
import neverblink.kafka.instruments as kafka
import neverblink.ledger.instruments as ledger
import neverblink.scorer.instruments as scorer
from neverblink import telemetry
from neverblink.events import DriftState
from neverblink.events.service_report import CertificateEnd, DiskSpace
from neverblink.kafka import EventConsumer
from neverblink.scorer.backlog import Backlog
from neverblink.scorer.watermark import Watermark
from neverblink.service_life import instruments as service_life
from neverblink.service_life import ready, run_service, unready
from neverblink.service_life.instruments import restarts
from rigs.registered_telemetry import REGISTRY


class Urgent(Backlog):
    """A backlog whose urgency is what was ordered."""

    def __init__(self) -> None:
        super().__init__(EventConsumer.__new__(EventConsumer), Watermark(), lambda: datetime.now(UTC))

    def least_slack(self) -> float | None:
        """Return what was ordered."""
        found: float | None = OBSERVED["slack"]
        return found


ABOUT = {
    "line": "a",
    "station": "top",
    "decision": "pass",
    "outcome": "confirmed",
    "severity": "high",
    "stage": "raised",
}

OBSERVED: dict[str, Any] = {"drift": [], "slots": [], "slack": None, "disks": [], "certificates": []}


def rooms() -> dict[str, Any]:
    """Return the instruments by room."""
    return {
        "bridge": bridge.instruments(), "camera": camera.instruments(), "scorer": scorer.instruments(),
        "drift": drift.instruments(), "ledger": ledger.instruments(), "alarms": ledger.alarm_instruments(),
        "evidence": ledger.evidence_instruments(), "console": console.instruments(),
        "telling": console.alarm_instruments(),
        "kafka": {"lost": kafka.lost(), "dead": kafka.set_aside("scorer"), "sent": kafka.acknowledged(),
            "unreadable": kafka.unreadable(), "reconnects": kafka.reconnects(), "moved": kafka.moved()},
        "life": {"restarts": restarts("scorer")},
    }  # fmt: skip


def observe(service: str) -> None:
    """Let whoever collects be answered what was ordered."""
    drift.observe_states(lambda: [(line, station, DriftState(state)) for line, station, state in OBSERVED["drift"]])
    scorer.observe_models(lambda: {(line, station): n for line, station, n in OBSERVED["slots"]}, lambda: 1 << 28)
    scorer.observe_decoded(lambda: 1 << 20)
    scorer.observe_backlog(Urgent(), lambda: 2)
    camera.observe_waiting(lambda: [("a", "top", 1)])
    kafka.observe_belongings(
        service,
        lambda: [DiskSpace(folder=folder, free_bytes=free, total_bytes=100) for folder, free in OBSERVED["disks"]],
        lambda: [
            CertificateEnd(what=what, ends=datetime.now(UTC) + timedelta(days=days))
            for what, days in OBSERVED["certificates"]
        ],
    )


def measure(instrument: Any) -> None:
    """Measure one of whatever it is, with the attributes that are registered."""
    about = {name: ABOUT.get(name, "other") for name in REGISTRY["metrics"][instrument.name]["attributes"]}
    for method in ("add", "record", "set"):
        if hasattr(instrument, method):
            getattr(instrument, method)(1, about)


def obey(service: str, known: dict[str, Any], order: list[Any]) -> None:
    """Do what one line says."""
    word, *rest = order
    if word == "observe":
        OBSERVED[rest[0]] = rest[1]
    elif word == "tell":
        if rest[0]:
            ready(service)
        else:
            unready(service, rest[1])
    elif word == "everything":
        for room in known.values():
            for instrument in room.values() if isinstance(room, dict) else map(partial(getattr, room), room.__slots__):
                measure(instrument)
    elif word == "version":
        vars(service_life)["__version__"] = rest[0]
    else:
        field, method, value, labels, *trace = rest
        room = known[word]
        instrument = room[field] if isinstance(room, dict) else getattr(room, field)
        context = telemetry.remote_context({"traceparent": trace[0]}) if trace else None
        getattr(instrument, method)(value, labels, context)


async def main(service: str) -> None:
    """Serve until standard input ends or SIGTERM."""

    async def work(stop: asyncio.Event) -> None:
        known = rooms()
        observe(service)
        ready(service)
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        stopping = asyncio.ensure_future(stop.wait())
        while not stop.is_set():
            line = asyncio.ensure_future(orders.readline())
            await asyncio.wait({line, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not line.done() or not line.result():
                line.cancel()
                return
            obey(service, known, json.loads(line.result()))

    telemetry.setup(service, "alerting")
    await run_service(service, work)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
