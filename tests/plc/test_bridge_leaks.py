"""A session that is broken again and again leaves nothing behind: no task, no memory."""

import logging
from pathlib import Path

import pytest

from neverblink.bridge import gate_feedback, line_session, part_tracking
from rigs.plc_endurance import endure

REMEMBERED = 150


@pytest.mark.slow
async def test_verdicts_and_reconnects_leave_neither_tasks_nor_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is remembered on purpose is full before the first look.
    for room in (gate_feedback, line_session, part_tracking):
        monkeypatch.setattr(room, "MEMORY", REMEMBERED)
    # Pytest would keep every record, and a log's fields are not what a session leaves behind.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    first, *_, last = await endure(tmp_path, 450, 24, 30.0, 3)
    assert last.verdicts - first.verdicts > REMEMBERED
    assert last.reconnects - first.reconnects == 16
    assert last.confirmed >= first.confirmed + 16
    # A write or two may be under way.
    assert last.tasks <= first.tasks + 2
    # A leaked session would be some hundred objects each.
    assert last.objects - first.objects < 16 * 100
    assert last.resident_mib - first.resident_mib < 16
