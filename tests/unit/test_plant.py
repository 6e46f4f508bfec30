"""The plant file: every mistake is told with file, line, column and a sentence."""

import os
import re
from pathlib import Path

import pytest

from neverblink.plant import EXAMPLE, MAX_PLANT_BYTES, Plant, PlantError, load_plant, parse_plant

MINIMAL = """\
site: plant-1
products:
  - name: pcb
    artifact: pcb-3
lines:
  - name: line-1
    timing:
      distance_to_gate_m: 2.0
      speed_m_s: 1.0
    plc:
      endpoint: opc.tcp://127.0.0.1:4840
      security: {policy: None, allow_insecure: true}
    stations:
      - name: top
        product: pcb
        source: {kind: folder, path: pictures}
        trigger: {kind: timer}
"""


def with_change(old: str, new: str) -> str:
    assert MINIMAL.count(old) == 1, f"{old!r} must stand once in the plant file of this test"
    return MINIMAL.replace(old, new)


def told(text: str) -> str:
    with pytest.raises(PlantError) as caught:
        parse_plant(text, "plant.yaml")
    return str(caught.value)


@pytest.mark.parametrize("text", [MINIMAL, EXAMPLE])
def test_a_right_plant_file_is_accepted(text: str) -> None:
    assert isinstance(parse_plant(text), Plant)


MISTAKES = {
    "a misspelt setting": (
        ("distance_to_gate_m: 2.0", "distance_to_gate_m: 2.0\n      sped_m_s: 1.0"),
        "plant.yaml:9:7: 'sped_m_s' is not a setting of lines[0].timing; did you mean 'speed_m_s'?",
    ),
    "a misspelt setting of a union": (
        ("source: {kind: folder, path: pictures}", "source: {kind: folder, path: pictures, shufle: true}"),
        "plant.yaml:16:48: 'shufle' is not a setting of lines[0].stations[0].source; did you mean 'shuffle'?",
    ),
    "a defect area in mm² at a station without a scale": (
        ("    artifact: pcb-3\n", "    artifact: pcb-3\n    defects: {types: {scratch: {min_area_mm2: 0.5}}}\n"),
        "product pcb has defect areas in mm², and station line-1/top has no mm_per_px",
    ),
    "a taxonomy that does not exist": (
        ("    artifact: pcb-3\n", "    artifact: pcb-3\n    defects: {types: {scratch: {taxonomy: skin}}}\n"),
        "products[0].defects.types.scratch.taxonomy",
    ),
    "a missing setting": (
        ("      speed_m_s: 1.0\n", ""),
        "plant.yaml:7:5: lines[0].timing.speed_m_s is missing",
    ),
    "a wrong type": (
        ("speed_m_s: 1.0", "speed_m_s: fast"),
        "plant.yaml:9:7: lines[0].timing.speed_m_s: must be a number (it is 'fast')",
    ),
    "a number out of bounds": (
        ("speed_m_s: 1.0", "speed_m_s: -1"),
        "plant.yaml:9:7: lines[0].timing.speed_m_s: must be more than 0 (it is -1)",
    ),
    "a name that cannot be part of a key": (
        ("site: plant-1", "site: plant/1"),
        "plant.yaml:1:1: site: must be a name: letters, digits, dot, underscore and hyphen",
    ),
    "a setting twice": (
        ("site: plant-1", "site: plant-1\nsite: plant-2"),
        "plant.yaml:2:1: 'site' stands twice in the same section",
    ),
    "an unknown product": (
        ("        product: pcb", "        product: pbc"),
        "station line-1/top inspects product 'pbc', which is not in products; did you mean 'pcb'?",
    ),
    "a line with no time for a verdict": (
        ("speed_m_s: 1.0", "speed_m_s: 20.0"),
        (
            "a part reaches the gate 100 ms after its trigger, and actuator, PLC cycle and margin need 220 ms: "
            "no time is left for a verdict; move the gate or slow the line"
        ),
    ),
    "an unsigned PLC connection that nobody accepted": (
        ("policy: None, allow_insecure: true", "policy: None"),
        "policy None sends verdicts unsigned; write allow_insecure: true to accept that",
    ),
    "a signed connection without certificates": (
        ("{policy: None, allow_insecure: true}", "{}"),
        "policy Basic256Sha256 needs certificate, key, plc_certificate",
    ),
    "an endpoint that is no OPC UA address": (
        ("opc.tcp://127.0.0.1:4840", "http://127.0.0.1:4840"),
        "plant.yaml:11:7: lines[0].plc.endpoint: must have another form: opc.tcp://host:port/path",
    ),
    "an unknown kind of source": (
        ("{kind: folder, path: pictures}", "{kind: telescope}"),
        "plant.yaml:16:18: lines[0].stations[0].source.kind: 'telescope' is no kind of it; there are folder",
    ),
    "no stations": (
        (
            (
                "    stations:\n      - name: top\n        product: pcb\n"
                "        source: {kind: folder, path: pictures}\n        trigger: {kind: timer}\n"
            ),
            "    stations: []\n",
        ),
        "plant.yaml:13:5: lines[0].stations",
    ),
    "a PLC trigger without a PLC": (
        (
            (
                "    plc:\n      endpoint: opc.tcp://127.0.0.1:4840\n"
                "      security: {policy: None, allow_insecure: true}\n    stations:\n      - name: top\n"
                "        product: pcb\n        source: {kind: folder, path: pictures}\n        trigger: {kind: timer}\n"
            ),
            (
                "    stations:\n      - name: top\n        product: pcb\n"
                "        source: {kind: folder, path: pictures}\n        trigger: {kind: plc}\n"
            ),
        ),
        "station top is triggered by the PLC, and the line has no plc section",
    ),
    "a camera that is to trigger and shows a picture only when it is asked": (
        ("trigger: {kind: timer}", "trigger: {kind: hardware}"),
        (
            "trigger hardware needs a source that fires by itself (genicam, gige, v4l2, rtsp, or video with pace"
            " own-rate); folder shows a picture when it is asked"
        ),
    ),
    "a camera that triggers where the PLC counts": (
        (
            "source: {kind: folder, path: pictures}\n        trigger: {kind: timer}",
            "source: {kind: v4l2}\n        trigger: {kind: hardware}",
        ),
        (
            "station top is triggered by its camera, which does not know the PLC's part numbers, so no verdict could be"
            " told: wire the photo-eye to both and write trigger: {kind: plc}"
        ),
    ),
    "a camera's password in its address": (
        ("{kind: folder, path: pictures}", "{kind: rtsp, url: 'rtsp://me:secret@192.0.2.1/x'}"),
        "plant.yaml:16:30: lines[0].stations[0].source.url: must have another form: rtsp://host:port/path",
    ),
    "a camera's user without a password": (
        ("{kind: folder, path: pictures}", "{kind: rtsp, url: 'rtsp://192.0.2.1/x', username: me}"),
        "username and password_file go together: give both or neither",
    ),
    "a pixel format of more than four letters": (
        ("{kind: folder, path: pictures}", "{kind: v4l2, pixel_format: mjpeg}"),
        "source.pixel_format",
    ),
    "objects that are deleted before their events": (
        ("site: plant-1", "site: plant-1\nstorage: {objects: images, objects_keep_h: 1}"),
        "objects_keep_h is 1 and the frames topic keeps its events 6 h: an event would outlive its image",
    ),
    "a password without its user": (
        ("{policy: None, allow_insecure: true}", "{policy: None, allow_insecure: true, password_file: secret}"),
        "username and password_file go together: give both or neither",
    ),
    "a cluster password that is missing": (
        ("site: plant-1", "site: plant-1\nkafka: {security: {protocol: SASL_SSL}}"),
        "protocol SASL_SSL needs username and password_file",
    ),
    "invalid YAML": (
        ("site: plant-1", "site: [plant-1"),
        "this is not valid YAML",
    ),
    "a tab for indentation": (
        ("  - name: pcb", "\t- name: pcb"),
        "plant.yaml:3:1: this is not valid YAML",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_a_sentence(mistake: str) -> None:
    (old, new), sentence = MISTAKES[mistake]
    message = told(with_change(old, new))
    assert sentence in message
    for line in message.splitlines():
        assert re.match(r"plant\.yaml:\d+:\d+: \S", line), line


@pytest.mark.parametrize(("what", "line"), [("line", "line-1"), ("station", "top"), ("product", "pcb")])
def test_two_of_one_name_are_told(what: str, line: str) -> None:
    blocks = {
        "product": ("  - name: pcb\n    artifact: pcb-3\n", 2),
        "station": (MINIMAL[MINIMAL.index("      - name: top") :], 2),
        "line": (MINIMAL[MINIMAL.index("  - name: line-1") :], 2),
    }
    block, times = blocks[what]
    assert f"two {what}s are named {line!r}; each needs its own" in told(with_change(block, block * times))


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = with_change("speed_m_s: 1.0", "speed_m_s: fast").replace("kind: timer", "kind: timer, rate_per_s: 0")
    places = [int(line.split(":")[1]) for line in told(text).splitlines()]
    assert places == [9, 17]


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list\n", "42"])
def test_what_is_no_mapping_is_told(text: str) -> None:
    assert "plant.yaml:1:1: a plant file is a mapping that starts with `site:`" in told(text)


def test_a_huge_file_is_refused_before_it_is_parsed() -> None:
    assert f"is larger than {MAX_PLANT_BYTES} bytes" in told("#" * (MAX_PLANT_BYTES + 1))


def test_tags_that_make_objects_are_refused() -> None:
    message = told("site: !!python/object/apply:os.system ['true']\n" + MINIMAL.partition("\n")[2])
    assert message.startswith("plant.yaml:1:7: ")


def test_a_date_that_does_not_exist_and_sections_without_end_are_refused() -> None:
    assert "this is not valid YAML: month must be in 1..12" in told("site: 2026-99-99\n")
    assert "nested deeper than any plant is" in told("site: " + "[" * 5000)


def test_aliases_that_grow_without_bound_are_refused_or_harmless() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    assert "is not a setting of the plant" in told(bomb)


def test_an_absent_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PlantError, match=r"there is no plant file .*; `neverblink plant example` prints one"):
        load_plant(tmp_path / "plant.yaml")


def test_a_folder_or_a_picture_is_no_plant_file(tmp_path: Path) -> None:
    with pytest.raises(PlantError, match="cannot be read"):
        load_plant(tmp_path)
    picture = tmp_path / "plant.yaml"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(PlantError, match="cannot be read"):
        load_plant(picture)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(MINIMAL)
    file.chmod(0)
    with pytest.raises(PlantError, match="cannot be read"):
        load_plant(file)


def test_relative_paths_are_seen_from_the_plant_files_folder(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(MINIMAL)
    plant = load_plant(tmp_path / "plant.yaml")
    folder = tmp_path.resolve()
    assert plant.artifact_folder(plant.products[0]) == folder / "artifacts" / "pcb-3"
    assert plant.storage.ledger == f"sqlite:///{folder / 'ledger.db'}"
    source = plant.lines[0].stations[0].source
    assert source.kind == "folder"
    assert source.path == folder / "pictures"


@pytest.mark.parametrize(
    ("objects", "anchored"), [("images", "{folder}/images"), ("/images", "/images"), ("s3://b/images", "s3://b/images")]
)
def test_an_object_store_is_a_folder_beside_the_plant_file_or_a_url(
    tmp_path: Path, objects: str, anchored: str
) -> None:
    (tmp_path / "plant.yaml").write_text(
        with_change("site: plant-1", f"site: plant-1\nstorage: {{objects: {objects}}}")
    )
    storage = load_plant(tmp_path / "plant.yaml").storage
    assert storage.objects == anchored.format(folder=tmp_path.resolve())
    assert storage.spool == tmp_path.resolve() / "spool"


def test_yes_and_no_of_yaml_reach_a_cameras_nodes_as_they_are() -> None:
    nodes = "{TriggerMode: On, ExposureTime: 500, Gain: 1.5, TriggerSource: Line0}"
    source = f"{{kind: genicam, producer: maker.cti, nodes: {nodes}}}"
    camera = parse_plant(with_change("{kind: folder, path: pictures}", source)).lines[0].stations[0].source
    assert camera.kind == "genicam"
    assert list(camera.nodes.items()) == [
        ("TriggerMode", True), ("ExposureTime", 500), ("Gain", 1.5), ("TriggerSource", "Line0"),
    ]  # fmt: skip


def test_asking_for_a_line_that_is_not_there_names_those_that_are() -> None:
    plant = parse_plant(MINIMAL)
    with pytest.raises(PlantError, match="no line 'line-2'; did you mean 'line-1'"):
        plant.line("line-2")


def test_the_deadline_is_the_way_to_the_gate_less_what_the_gate_needs() -> None:
    timing = parse_plant(MINIMAL).lines[0].timing
    assert timing.lead_s == pytest.approx(2.0)
    assert timing.budget_s == pytest.approx(2.0 - 0.15 - 0.02 - 0.05)
