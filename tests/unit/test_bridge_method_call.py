"""The method of a PLC, called by a bridge: every answer reaches its part, however late."""

import asyncio
from collections.abc import Sequence
from typing import Any

from neverblink.bridge.method_call import MethodCall
from neverblink.bridge.scheduler import Order
from neverblink.events import Outcome
from neverblink.plc.contract import PROFILES, Code, TellStatus
from neverblink.plc.validation import Agreement


class SlowPlc:
    """Answers a call when it is told to, with the status that it is told."""

    profile = PROFILES["method"]

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[TellStatus]] = {}

    async def call(self, _: object, values: Sequence[int]) -> tuple[str | None, list[Any]]:
        number = values[2]
        self.waiting[number] = asyncio.get_running_loop().create_future()
        return None, [int(await self.waiting[number])]


def order(number: int, deadline: float) -> Order:
    return Order(1, number, Code.REJECT, deadline, 0.0, urgent=True)


async def test_an_answer_that_comes_after_its_deadline_and_after_the_next_call_is_still_the_parts_answer() -> None:
    plc, early, late = SlowPlc(), order(1, deadline=1.0), order(2, deadline=9.0)
    method = MethodCall(plc, Agreement(1024, 1, 10))  # type: ignore[arg-type]
    first = asyncio.create_task(method.tell([early], now=0.9))
    await asyncio.sleep(0)
    second = asyncio.create_task(method.tell([late], now=1.1))
    await asyncio.sleep(0)
    plc.waiting[1].set_result(TellStatus.TOO_LATE)
    plc.waiting[2].set_result(TellStatus.ACCEPTED)
    answers = {**await first, **await second}
    assert {key.number: answer and answer.outcome for key, answer in answers.items()} == {
        1: Outcome.LATE,
        2: Outcome.CONFIRMED,
    }
