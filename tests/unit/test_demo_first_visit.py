"""How whoever starts the demonstration gets into its console, and which part the summary shows."""

import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from neverblink.console.access import passwords
from neverblink.demo import first_visit
from neverblink.demo.board import LineState
from neverblink.demo.plant_file import write_plant
from neverblink.demo.stream import Stream, simulated_streams
from neverblink.events import Decision, Tracking, Verdict
from neverblink.events.examples import examples
from neverblink.plant import Plant, PlantError

(EXAMPLE,) = (event for event in examples() if type(event) is Verdict)
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quick_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def demonstration(folder: Path) -> Plant:
    first_visit.fresh(folder)
    return write_plant(folder, simulated_streams(), "127.0.0.1:9", {}, None, 8761)


def test_the_first_run_prints_a_password_and_a_later_one_says_whose_accounts_hold(tmp_path: Path) -> None:
    told = first_visit.invitation(demonstration(tmp_path), tmp_path)
    assert "http://127.0.0.1:8761" in told
    assert re.search(r"one-time password [a-z2-9]{5}(-[a-z2-9]{5}){3} within 72 hours", told)
    (tmp_path / "ledger.db").write_bytes(b"of the run before")
    again = first_visit.invitation(demonstration(tmp_path), tmp_path)
    assert "accounts of an earlier run, so no password is printed" in again
    assert "neverblink console account admin --why" in again
    assert not re.search(r"[a-z2-9]{5}(-[a-z2-9]{5}){3}", again)
    assert not (tmp_path / "ledger.db").exists(), "all else is of this run alone"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(PlantError, match="no earlier demonstration"):
        first_visit.fresh(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_where_the_usual_port_is_taken_the_console_gets_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert first_visit.console_port(taken) != taken
    assert first_visit.console_port(taken) == taken


def test_the_summary_leads_to_a_reject_that_is_defective_in_truth(tmp_path: Path) -> None:
    plant = demonstration(tmp_path)
    one, other = simulated_streams()
    stream = Stream(one.line, one.station, one.product, "", one.source, lambda number: "hair" if number == 2 else None)
    lines = {one.line: LineState(), other.line: LineState()}
    assert first_visit.rejected_part(plant, [stream, other], lines) is None
    for number, decision in enumerate((Decision.PASS, Decision.REJECT, Decision.REJECT), 1):
        tracking, at = Tracking(epoch=1, number=number), NOON + timedelta(seconds=number)
        changes = {"id": f"v{number}", "decision": decision, "tracking": tracking, "occurred": at}
        lines[one.line].verdicts[str(number)] = EXAMPLE.model_copy(update=changes)
    assert first_visit.rejected_part(plant, [stream, other], lines) == "http://127.0.0.1:8761/verdicts/v2"
