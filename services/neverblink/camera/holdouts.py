"""Which parts people judge whatever the verdict: a keyed hash of the part says it, the same at every station.

Pure but for `Holdouts`, which reads the keys. Who has no key can tell holdouts from others neither before nor
afterwards, and whoever replays a line with the same keys marks the same parts.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence

from neverblink import telemetry
from neverblink.camera.holdout_keys import HoldoutError, Key, key_at, keys_in, others_may_read
from neverblink.camera.marks import PLAIN, Marks
from neverblink.camera.triggers import Trigger
from neverblink.plant import HoldoutSettings, Line

READ_EVERY_S = 20.0
_LOTS = 2**64


def name_of(line: str, trigger: Trigger) -> str:
    """Return what a part is drawn by: line, epoch and number, or its name where no PLC counts."""
    tracking = trigger.tracking
    # Lines have no slash in their names, so no two parts of the plant are drawn by one text.
    return f"t/{line}/{tracking.epoch}/{tracking.number}" if tracking is not None else f"p/{line}/{trigger.part}"


def drawn(key: bytes, name: str, share: float) -> bool:
    """Say whether a part is among the share that is drawn: by HMAC-SHA256 of its name, as 64 bits.

    Who is among a share is among every larger one.
    """
    return int.from_bytes(hmac.digest(key, name.encode(), "sha256")[:8], "big") < share * _LOTS


def marks_of(keys: Sequence[Key], line: str, trigger: Trigger, share: float) -> Marks:
    """Return a part's marks by the key that held at its trigger; without one, or with a share of 0, none."""
    key = key_at(keys, trigger.at) if share > 0 else None
    return PLAIN if key is None else Marks(drawn(key.secret, name_of(line, trigger), share), share)


class Holdouts:
    """Draws the parts of a node's lines, and takes a rotated key while it runs."""

    def __init__(self, settings: HoldoutSettings) -> None:
        """Read the keys. Raises HoldoutError when they cannot be read, or the plant wants holdouts and has none."""
        self._settings = settings
        self._keys = keys_in(settings.key)
        self._recurring = telemetry.Recurring(telemetry.logger("camera"))
        if not self._keys and settings.demanded:
            raise HoldoutError(
                f"the plant file asks for holdouts (proof.holdouts), and there is no file of keys {settings.key}: make"
                " one with `neverblink holdouts key`, or copy the one of the plant's other camera nodes"
            )

    def of(self, line: Line) -> Callable[[Trigger], Marks]:
        """Return what marks the parts of a line: all its stations draw with one share, so that they agree."""
        share = self._share(line)
        return lambda trigger: marks_of(self._keys, line.name, trigger, share)

    def told(self, line: Line) -> str:
        """Return in a sentence which share of a line's parts is drawn, for whoever starts the node."""
        share = self._share(line)
        if not self._keys:
            return (
                f"no part of {line.name} is drawn as a holdout: there is no file of keys {self._settings.key}, which"
                " `neverblink holdouts key` makes"
            )
        if not share:
            return f"no part of {line.name} is drawn as a holdout: the plant file says a share of 0"
        return f"{share:.3%} of the parts of {line.name} are holdouts, which people judge whatever the verdict"

    async def follow(self) -> None:
        """Read the keys again and again, until cancelled. What cannot be read changes nothing."""
        while True:
            await asyncio.to_thread(self.read_again)
            await asyncio.sleep(READ_EVERY_S)

    def read_again(self) -> None:
        """Read the keys; what cannot be read changes nothing, and is told."""
        try:
            found = keys_in(self._settings.key)
            if not found and self._keys:
                raise HoldoutError(f"the file of holdout keys {self._settings.key} is gone")
            self._keys = found
            if found and others_may_read(self._settings.key):
                self._tell(
                    "open", f"{self._settings.key} can be read by others, who then know which parts are holdouts"
                )
        except (HoldoutError, OSError) as error:
            self._tell("unread", f"{error}; parts go on to be drawn with the keys that were known")

    def _share(self, line: Line) -> float:
        return self._settings.share_of(tuple(station.product for station in line.stations))

    def _tell(self, what: str, sentence: str) -> None:
        self._recurring.tell(f"holdout-keys-{what}", sentence, level=logging.WARNING)
