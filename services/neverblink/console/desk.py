"""What the console is made of, for whoever answers a request."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from neverblink.console.access.attempts import Attempts
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.pace import Pace
from neverblink.console.access.passwords import Passwords
from neverblink.console.access.sessions import SessionRules
from neverblink.console.alarms.watching import AlarmBoard
from neverblink.console.health.services import Services
from neverblink.console.instruments import Instruments
from neverblink.console.line.live import Live
from neverblink.console.models.followed import FollowedModels
from neverblink.console.models.histories import Histories
from neverblink.console.models.stock import ModelStock
from neverblink.console.quality.exports import Exports
from neverblink.console.reviews.followed import FollowedTopics
from neverblink.console.reviews.given import Given
from neverblink.console.runs.book import Runs
from neverblink.http_serving.asking import Asking
from neverblink.plant import Plant
from neverblink.records.evidence_store import EvidenceStore

if TYPE_CHECKING:  # it takes a while to import, and most plants have none
    from neverblink.console.access.provider.login import Login


@dataclass(frozen=True, slots=True)
class Desk:
    """`secret` signs the forms of those who have not signed in yet; `secure` says that cookies travel by TLS alone.

    `ask` asks the records, `store` holds the pictures, `stop` ends what live pages follow. `models` is what the topic
    says and `stock` the artifacts. `runs` starts jobs; those that read the plant file find it at `plant_file`.
    `topics` are the claims and answers that it follows, None where each act reads for itself. `login` is the
    plant's login provider, where it has one.
    """

    plant: Plant
    access: AccessDatabase
    passwords: Passwords
    attempts: Attempts
    rules: SessionRules
    zone: tzinfo
    clock: Callable[[], datetime]
    secret: bytes
    secure: bool
    measured: Instruments
    ask: Asking
    live: Live
    store: EvidenceStore | None
    stop: asyncio.Event
    runs: Runs
    models: FollowedModels
    stock: ModelStock
    plant_file: Path | None = None
    given: Given = field(default_factory=Given)
    login: "Login | None" = None
    pace: Pace = field(default_factory=lambda: Pace(time.monotonic))
    exports: Exports = field(default_factory=Exports)
    alarms: AlarmBoard = field(default_factory=AlarmBoard)
    services: Services = field(default_factory=Services)
    topics: FollowedTopics | None = None
    histories: Histories = field(default_factory=Histories)

    @property
    def cookie(self) -> str:
        """Return the session cookie's name: with TLS one that only this host can set, for all of its paths."""
        return "__Host-neverblink" if self.secure else "neverblink"

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the names of the plant's lines."""
        return tuple(line.name for line in self.plant.lines)
