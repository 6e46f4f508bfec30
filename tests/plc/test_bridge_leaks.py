"""A session that is broken again and again leaves nothing behind: no task, no memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rigs.plc_endurance import Sample

REMEMBERED = 150

# In a process of its own: beside the models that other tests hold, a few MiB more or less say nothing.
PROGRAM = """
import asyncio, json, logging, sys
from dataclasses import asdict
from pathlib import Path
from neverblink.bridge import gate_feedback, line_session, part_tracking
from rigs.plc_endurance import endure
logging.disable(logging.CRITICAL)
# What is remembered on purpose is full before the first look.
for room in (gate_feedback, line_session, part_tracking):
    room.MEMORY = int(sys.argv[2])
print(json.dumps([asdict(one) for one in asyncio.run(endure(Path(sys.argv[1]), 450, 24, 30.0, 3))]))
"""


@pytest.mark.slow
@pytest.mark.plant
def test_verdicts_and_reconnects_leave_neither_tasks_nor_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(REMEMBERED)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = (Sample(**one) for one in json.loads(done.stdout.splitlines()[-1]))
    assert last.verdicts - first.verdicts > REMEMBERED
    assert last.reconnects - first.reconnects == 16
    assert last.confirmed >= first.confirmed + 16
    # A write or two may be under way.
    assert last.tasks <= first.tasks + 2
    # A leaked session would be some hundred objects each.
    assert last.objects - first.objects < 16 * 100
    assert last.resident_mib - first.resident_mib < 8
