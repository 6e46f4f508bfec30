"""A real Prometheus and Alertmanager watch real services: who is gone is told, and so is that it is back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from neverblink.brokers.apache import free_port
from rigs.alerting.scenarios import BridgedLine, Measured, real_scenarios, run_together
from rigs.alerting.watched_plant import PACKAGES, WatchedPlant, missing_parts
from rigs.real_parts import without

pytestmark = pytest.mark.plant

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def watched(tmp_path: Path, port: int) -> Iterator[WatchedPlant]:
    if missing := missing_parts():
        without(PACKAGES, f"{', '.join(missing)} cannot be found")
    with WatchedPlant(tmp_path / "watched", [("neverblink-bridge", port)]) as one:
        yield one


@pytest.mark.timeout(1200)
def test_a_plc_that_is_off_and_a_bridge_that_is_gone_are_told_and_so_is_their_return(
    watched: WatchedPlant, tmp_path: Path, port: int
) -> None:
    with BridgedLine(tmp_path / "line", port) as line:
        line.start_bridge()
        served = f'neverblink_bridge_state{{line="{line.line}"}} == 3'
        watched.until(lambda: bool(watched.query(served)), "the line to be served")
        scenarios = [one for one in real_scenarios(line) if not one.key.startswith("PartsNotToldInTime")]
        seen = [found for one in scenarios for found in run_together(watched, [one])]
    assert [found.runbook for found in seen] == [
        "docs/runbooks/line-not-served.md",
        "docs/runbooks/service-silent.md",
    ]
    assert {"ServiceDoesAPart/bridge", f"LineNotServed/{line.line}"} <= watched.told.fired.keys()


def test_from_a_part_that_had_little_time_left_prometheus_leads_to_its_trace(
    watched: WatchedPlant, tmp_path: Path, port: int
) -> None:
    with Measured(tmp_path, "bridge", port).running() as bridge:
        late = ["bridge", "slack", "record", 0.01, {"line": "a"}, f"00-{TRACE}-b7ad6b7169203331-01"]
        bridge.say(late)
        found = lambda: watched.exemplars('neverblink_bridge_slack_seconds_bucket{line="a"}')  # noqa: E731
        watched.until(lambda: bool(found()), "an exemplar")
    (series,) = found()
    assert {one["labels"]["trace_id"] for one in series["exemplars"]} == {TRACE}
    assert series["seriesLabels"]["le"] == "0.02"
