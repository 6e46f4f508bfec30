"""`simulate-drift`: the real service finds what was simulated, and draws it."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from neverblink.demo.drift.drift_simulation import Simulation, run, scenario_named

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")


@pytest.mark.plant
async def test_a_knocked_camera_is_found_by_the_service_and_drawn(tmp_path: Path) -> None:
    scenario = scenario_named("camera-knocked")
    assert scenario is not None
    console = Console(record=True, width=140)
    plot = tmp_path / "plot.svg"
    code = await run(Simulation(scenario, weeks=2, per_minute=0.5, plot=plot), console)
    said = console.export_text()
    assert code == 0, said
    assert "0 false alarms; the change was found" in said
    assert "the camera: out of focus" in said
    words = [text.text for text in ET.fromstring(plot.read_text()).iter() if text.tag.endswith("text")]
    assert "sharpness" in words[words.index("the change begins") :]
