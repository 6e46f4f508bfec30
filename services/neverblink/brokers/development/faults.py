"""Faults on command: what a real broker does one bad night, a test asks for at once.

broker.faults.delay(Api.PRODUCE, 0.5)
broker.faults.drop(Api.PRODUCE, times=1, after=True)    # done, but the acknowledgement is lost
broker.faults.refuse("fetch", ErrorCode.NOT_LEADER_OR_FOLLOWER, times=3)
broker.faults.refuse_partition("neverblink.frames", 0)
broker.faults.freeze(); ...; broker.faults.unfreeze()
broker.faults.go_away(); ...; broker.faults.come_back()
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from neverblink.brokers.development.protocol import Api, ErrorCode


@dataclass(slots=True, eq=False)
class Fault:
    """One fault in force. `hits` counts how often it struck; `remaining` is None for one without end."""

    api: Api | None
    delay_s: float = 0.0
    code: ErrorCode = ErrorCode.NONE
    drop_before: bool = False
    drop_after: bool = False
    remaining: int | None = None
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Strike:
    """What the faults in force do to one request."""

    delay_s: float = 0.0
    code: ErrorCode = ErrorCode.NONE
    drop_before: bool = False
    drop_after: bool = False


_UNHARMED = Strike()


class Faults:
    """The faults of one broker. Every method takes effect with the next request."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._partitions: dict[tuple[str, int], ErrorCode] = {}
        self._moving = asyncio.Event()
        self._moving.set()
        self._away = False
        self._on_disconnect: Callable[[], None] = lambda: None

    def delay(self, api: Api | str | None, seconds: float, *, times: int | None = None) -> Fault:
        """Answer requests of this kind (None: all) that much later."""
        return self._add(Fault(_api(api), delay_s=seconds, remaining=times))

    def drop(self, api: Api | str | None, *, times: int | None = 1, after: bool = False) -> Fault:
        """Close the connection that asks; `after` does the work first, so that only the answer is lost."""
        return self._add(Fault(_api(api), drop_before=not after, drop_after=after, remaining=times))

    def refuse(self, api: Api | str, code: ErrorCode, *, times: int | None = None) -> Fault:
        """Answer requests of this kind with an error and do nothing."""
        return self._add(Fault(_api(api), code=code, remaining=times))

    def lift(self, fault: Fault) -> None:
        """End one fault."""
        if fault in self._faults:
            self._faults.remove(fault)

    def refuse_partition(self, topic: str, partition: int, code: ErrorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER) -> None:
        """Let producing to and reading from one partition fail, as when its leader is gone."""
        self._partitions[topic, partition] = code

    def accept_partition(self, topic: str, partition: int) -> None:
        """End `refuse_partition`."""
        self._partitions.pop((topic, partition), None)

    def freeze(self) -> None:
        """Take requests and answer none, as a process that hangs does. Sessions do not expire meanwhile."""
        self._moving.clear()

    def unfreeze(self) -> None:
        """End `freeze`; what waited is answered in order."""
        self._moving.set()

    def disconnect(self) -> None:
        """Close every connection once; clients may come back at once."""
        self._on_disconnect()

    def go_away(self) -> None:
        """Close every connection and take no new one; the records stay."""
        self._away = True
        self._on_disconnect()

    def come_back(self) -> None:
        """End `go_away`."""
        self._away = False

    def clear(self) -> None:
        """End every fault."""
        self._faults.clear()
        self._partitions.clear()
        self.unfreeze()
        self.come_back()

    @property
    def frozen(self) -> bool:
        """Whether `freeze` is in force."""
        return not self._moving.is_set()

    @property
    def away(self) -> bool:
        """Whether `go_away` is in force."""
        return self._away

    async def moving(self) -> None:
        """Wait until nothing is frozen."""
        await self._moving.wait()

    def strike(self, api: Api) -> Strike:
        """Return what happens to this request, and count it."""
        struck = [fault for fault in self._faults if fault.api is None or fault.api is api]
        if not struck:
            return _UNHARMED
        for fault in struck:
            fault.hits += 1
            if fault.remaining is not None:
                fault.remaining -= 1
        self._faults = [fault for fault in self._faults if fault.remaining is None or fault.remaining > 0]
        return Strike(
            sum(fault.delay_s for fault in struck),
            next((fault.code for fault in struck if fault.code), ErrorCode.NONE),
            any(fault.drop_before for fault in struck),
            any(fault.drop_after for fault in struck),
        )

    def on_partition(self, topic: str, partition: int) -> ErrorCode:
        """Return the error that this partition answers with, NONE when it is well."""
        return self._partitions.get((topic, partition), ErrorCode.NONE)

    def attach(self, disconnect: Callable[[], None]) -> None:
        """Tell the faults how connections are closed; the server calls this."""
        self._on_disconnect = disconnect

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault


def _api(api: Api | str | None) -> Api | None:
    if isinstance(api, str):
        try:
            return Api[api.upper().replace("-", "_")]
        except KeyError:
            raise ValueError(
                f"{api!r} is no request of the broker; known are {', '.join(one.name.lower() for one in Api)}"
            ) from None
    return api
