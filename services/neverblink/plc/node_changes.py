"""Changes of nodes as the PLC tells them: one subscription, which its server may lose while the session lives."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncua.ua
from asyncua.common.subscription import DataChangeEvent, StatusChangeEvent, Subscription

from neverblink.plc.errors import PlcUnreachableError, words
from neverblink.service_life.time_limit import time_limit

LOOK_S = 0.5

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua


@dataclass(frozen=True, slots=True)
class Change:
    """A new good value of a subscribed node."""

    name: str
    value: Any
    source_time: Any


class NodeChanges:
    """A subscription to nodes, by the contract names that `names` gives for their ids; `lost` ends it."""

    def __init__(self, subscription: Subscription, names: Mapping[Any, str], lost: asyncio.Event) -> None:
        self._subscription = subscription
        self._names = names
        self._lost = lost
        self._can_be_asked = True

    @property
    def every_s(self) -> float:
        """Return how often the server tells changes, as it has granted."""
        return float(self._subscription.parameters.RequestedPublishingInterval) / 1000

    async def told(self) -> AsyncGenerator[Change, None]:
        """Yield changes, the present values first; a bad value is none. Ends when the session is lost."""
        while not self._lost.is_set():
            try:
                # Not next_event's own timeout: that is asyncio.wait_for, which before Python 3.12 swallows a
                # cancellation that meets an event, and a camera node told to stop would go on for ever.
                async with time_limit(LOOK_S):
                    event = await self._subscription.next_event()
            except TimeoutError:
                continue
            except StopAsyncIteration:
                return
            if isinstance(event, StatusChangeEvent):
                return
            if isinstance(event, DataChangeEvent):
                found = event.data.monitored_item.Value
                if event.value is not None and (found.StatusCode is None or found.StatusCode.is_good()):
                    yield Change(self._names[event.node.nodeid], event.value, found.SourceTimestamp)

    async def check(self) -> None:
        """Ask the server whether it still has the subscription. Raises PlcUnreachableError where it has not.

        It is told to publish, as it does anyway: a request that every server of subscriptions answers by their names.
        """
        if not self._can_be_asked:
            return
        try:
            (status,) = await self._subscription.set_publishing_mode(True)
        except (ua.uaerrors.BadServiceUnsupported, ua.uaerrors.BadNotImplemented):
            self._can_be_asked = False
            return
        except (TimeoutError, OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the PLC does not say whether it tells changes: {words(error)}") from error
        if not status.is_good():
            raise PlcUnreachableError(f"the PLC has dropped our subscription ({status.name})")
