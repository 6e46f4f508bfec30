"""Mistakes in the plant file's PLC sections: one clear sentence each, and the other lines start."""

from pathlib import Path

import pytest

from neverblink.bridge.commands import run
from neverblink.plant import PlantError, load_plant, load_sound_lines

HEAD = """\
site: demo
products: [{name: pcb, artifact: pcb-1}]
lines:
"""
SECURITY = '{policy: "None", allow_insecure: true}'


def line(name: str, port: int = 4840, security: str = SECURITY, plc: str = "", timing: str = "speed_m_s: 1.0") -> str:
    return f"""\
  - name: {name}
    timing: {{distance_to_gate_m: 0.5, actuator_ms: 100, {timing}}}
    plc: {{endpoint: "opc.tcp://127.0.0.1:{port}", security: {security}{plc}}}
    stations:
      - {{name: top, product: pcb, source: {{kind: simulated, drawing: pcb}}, trigger: {{kind: plc}}}}
"""


def plant_file(folder: Path, *lines: str) -> Path:
    path = folder / "plant.yaml"
    path.write_text(HEAD + "".join(lines))
    return path


MISTAKES = {
    "silent pass": (line("line-2", 4841, plc=", profile: mailbox"), "a part passes when nobody speaks"),
    "silent pass of a method": (line("line-2", 4841, plc=", profile: method"), "write accept_silent_pass: true"),
    "silent pass that cannot be": (
        line("line-2", 4841, plc=", accept_silent_pass: true"),
        "with profile verdict-table silence rejects: take accept_silent_pass away",
    ),
    "unsigned": (line("line-2", 4841, security='{policy: "None"}'), "write allow_insecure: true"),
    "nobody trusted": (
        line("line-2", 4841, security="{certificate: a, key: b}"),
        "policy Basic256Sha256 needs plc_certificate, or a folder trusted",
    ),
    "trusted twice": (
        line("line-2", 4841, security="{certificate: a, key: b, plc_certificate: c, trusted: d}"),
        "give one of the two",
    ),
    "password without user": (
        line("line-2", 4841, security='{policy: "None", allow_insecure: true, password_file: p}'),
        "username and password_file go together",
    ),
    "misspelt": (line("line-2", 4841, plc=", sloot_node: x"), "did you mean 'slot_node'?"),
    "no time": (line("line-2", 4841, timing="speed_m_s: 90"), "no time is left for a verdict"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_faulty_line_is_one_sentence_with_its_place_and_the_others_start(
    tmp_path: Path, mistake: tuple[str, str]
) -> None:
    text, sentence = mistake
    path = plant_file(tmp_path, line("line-1"), text, line("line-3", 4842))
    with pytest.raises(PlantError) as caught:
        load_plant(path)
    (fault,) = str(caught.value).splitlines()
    assert sentence in fault
    assert "lines[1]" in fault

    plant, faults = load_sound_lines(path)
    assert [sound.name for sound in plant.lines] == ["line-1", "line-3"]
    assert faults == (fault,)


def test_of_two_lines_with_one_name_neither_starts(tmp_path: Path) -> None:
    path = plant_file(tmp_path, line("line-1"), line("line-2", 4841), line("line-1", 4842))
    with pytest.raises(PlantError, match="two lines are named 'line-1'; each needs its own"):
        load_plant(path)
    plant, faults = load_sound_lines(path)
    assert [sound.name for sound in plant.lines] == ["line-2"]
    assert "two lines are named 'line-1'" in "\n".join(faults)


def test_two_lines_never_write_the_same_slots(tmp_path: Path) -> None:
    own_nodes = ', node: "s=L2.{name}"'
    path = plant_file(tmp_path, line("line-1"), line("line-2", plc=own_nodes), line("line-3", 4842))
    with pytest.raises(PlantError, match=r"would write the same nodes of .* give each its own slot_node"):
        load_plant(path)
    plant, _ = load_sound_lines(path)
    assert [sound.name for sound in plant.lines] == ["line-3"]
    both = own_nodes + ', slot_node: "s=L2.V{index}"'
    assert len(load_plant(plant_file(tmp_path, line("line-1"), line("line-2", plc=both))).lines) == 2


def test_a_fault_outside_the_lines_stops_everything(tmp_path: Path) -> None:
    path = plant_file(tmp_path, line("line-1"))
    path.write_text(path.read_text().replace("site: demo", "site: demo\nkafak: {}"))
    with pytest.raises(PlantError, match="did you mean 'kafka'"):
        load_sound_lines(path)
    path.write_text("lines: [")
    with pytest.raises(PlantError, match="not valid YAML"):
        load_sound_lines(path)
    with pytest.raises(PlantError, match="there is no plant file"):
        load_sound_lines(tmp_path / "none.yaml")
    with pytest.raises(PlantError, match="allow_insecure"):
        load_sound_lines(plant_file(tmp_path, line("line-1", security='{policy: "None"}')))


async def test_a_faulty_line_asked_for_by_name_is_refused_with_its_fault(tmp_path: Path) -> None:
    path = plant_file(tmp_path, line("line-1"), line("line-2", 4841, security='{policy: "None"}'))
    plant, faults = load_sound_lines(path)
    with pytest.raises(PlantError, match="allow_insecure"):
        await run(plant, ["line-2"], faults)


def test_braces_in_a_node_id_are_the_plcs_own(tmp_path: Path) -> None:
    odd = ', node: "s={DB}.{name}", slot_node: "s={DB}.V{index}"'
    settings = load_plant(plant_file(tmp_path, line("line-1", plc=odd))).lines[0].plc
    assert settings is not None
    assert (settings.node_id("Epoch"), settings.slot_id(3)) == ("s={DB}.Epoch", "s={DB}.V3")


@pytest.mark.parametrize("profile", ["mailbox", "method"])
def test_a_profile_that_passes_in_silence_is_served_once_it_is_accepted(tmp_path: Path, profile: str) -> None:
    accepted = f", profile: {profile}, accept_silent_pass: true"
    settings = load_plant(plant_file(tmp_path, line("line-1", plc=accepted))).lines[0].plc
    assert settings is not None
    assert settings.profile == profile
    assert settings.slot_id(3, "CmdWord") == "s=VisionReject.CmdWord[3]"
