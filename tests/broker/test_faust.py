"""Faust keeps a table on either broker and finds it again after a restart."""

import ast
import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")
COUNTER = Path(__file__).with_name("faust_counter.py")


async def _count(bootstrap: str, topic: str, expected: int) -> dict[str, int]:
    """Let the application run until it has counted that many, and return its table."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(COUNTER), bootstrap, topic, str(expected),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, complaints = await asyncio.wait_for(program.communicate(), 60)
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert program.returncode == 0, complaints.decode()[-3000:]
    table: dict[str, int] = ast.literal_eval(out.decode().strip().splitlines()[-1])
    return table


async def test_a_faust_table_survives_a_restart_of_its_application(clients: Any) -> None:
    topic = await clients.topic(2)
    producer = await clients.producer()
    for number in range(60):
        await producer.send(topic, b"verdict", key=b"line-%d" % (number % 3))
    await producer.flush()
    assert await _count(clients.bootstrap, topic, 60) == {"line-0": 20, "line-1": 20, "line-2": 20}
    assert await _count(clients.bootstrap, topic, 60) == {"line-0": 20, "line-1": 20, "line-2": 20}
