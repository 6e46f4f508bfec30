"""Knows reference parts when they come: by what was announced, or by their own serial numbers."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from neverblink import telemetry
from neverblink.camera.announced import Announced
from neverblink.camera.triggers import Trigger
from neverblink.events import Challenge
from neverblink.kafka.followed_topic import FollowedTopic
from neverblink.plant import Kafka
from neverblink.plant.references import ReferenceFile

Place = tuple[str, str]
"""Line and station."""

_LOOK_EVERY_S = 5.0


class KnownParts:
    """What is announced to the stations of this node, and the site's reference parts.

    `references` is the file of reference parts: those with a serial number need no announcement.
    """

    def __init__(
        self,
        kafka: Kafka,
        stations: Iterable[Place],
        references: Path | None,
        *,
        client_id: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        now = clock()
        self._clock = clock
        self._announced = {place: Announced(place[1], now) for place in stations}
        self._file = ReferenceFile(references)
        self._by_serial: dict[str, str] = {}
        self._recurring = telemetry.Recurring(telemetry.logger("camera"))
        self._topic = FollowedTopic(kafka, Challenge, "announced reference parts", self._take, client_id=client_id)

    def of(self, line: str, station: str) -> Callable[[Trigger], str | None]:
        """Return what says of a station's part which reference part it is, None for every other part."""
        announced = self._announced[line, station]

        def known(trigger: Trigger) -> str | None:
            serial = None if trigger.identity is None else trigger.identity.serial
            own = None if serial is None else self._by_serial.get(serial)
            if own is None:
                return announced.of(trigger.at, trigger.tracking)
            return own

        return known

    async def known(self, within_s: float) -> None:
        """Wait until the topic has been read once, or so long: parts do not wait for it."""
        await self._topic.known(within_s)

    async def follow(self) -> None:
        """Work until cancelled."""
        await self._topic.follow()

    async def read_references(self) -> None:
        """Read the file of reference parts, and again whenever it has changed, until cancelled."""
        while True:
            found = await asyncio.to_thread(self._file.read)
            if self._file.fault is not None:
                self._recurring.tell("references", f"{self._file.fault}; the reference parts stay those of before")
            self._by_serial = {one.serial: one.id for one in found.references if one.serial is not None}
            await asyncio.sleep(_LOOK_EVERY_S)

    def _take(self, events: Iterable[tuple[str, Challenge | None]]) -> None:
        now = self._clock()
        for key, challenge in events:
            if challenge is None or challenge.line != key or (challenge.tracking is None and challenge.expires < now):
                continue
            for (line, station), announced in self._announced.items():
                if line == key and (why := announced.take(challenge)) is not None:
                    self._recurring.tell(
                        ("gone by", line, station), why, fields={"line": line, "station": station, "part": "unmarked"}
                    )
