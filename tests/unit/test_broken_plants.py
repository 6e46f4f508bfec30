# ruff: noqa: E501 - tables, a case a line
"""Fifty broken plant files and more: each mistake is told at its own line, in a sentence without a library's words."""

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from broken_plants import WHOLE, surroundings
from small_artifacts import write_artifact
from typer.testing import CliRunner

import neverblink.plant.references  # noqa: F401 - its sections count too
from neverblink.brokers.apache import free_port
from neverblink.cli import app
from neverblink.plant import Plant, PlantError, Section, load_plant, parse_plant
from neverblink.plant.loading import placed
from neverblink.surroundings import Finding, ask, look
from rigs.application_certificates import certificate

LIBRARYS = re.compile(
    r"\b([Ii]nput|[Ss]tring should|[Vv]alue error|pydantic|validat\w+|instance of|mapping|NoneType|tag)\b"
)

# What is replaced, by what, and the line and sentence that say it.
IN_THE_FILE: list[tuple[str, str, int, str]] = [
    ('site: plant-1', 'site: plant/1', 1, "site: must be a name: letters, digits, dot, underscore and hyphen, a letter or digit first, 64 at most (it is 'plant/1')"),
    ('site: plant-1', 'site: [plant-1', 2, "this is not valid YAML: expected ',' or ']', but got ':'"),
    ('site: plant-1\n', '', 1, 'site is missing'),
    ('site: plant-1', 'site: plant-1\nsit: plant-2', 2, "'sit' is not a setting of the plant; did you mean 'site'?"),
    ('bootstrap: 127.0.0.1:9092', 'bootstrap: 127.0.0.1', 3, "kafka.bootstrap: must have another form: host:port of one or more brokers, separated by commas (it is '127.0.0.1')"),
    ('partitions: 48', 'partitions: many', 4, "kafka.partitions: must be a whole number (it is 'many')"),
    ('partitions: 48', 'partitions: 0', 4, 'kafka.partitions: must be at least 1 (it is 0)'),
    ('protocol: SASL_SSL', 'protocol: SASL_TLS', 6, "kafka.security.protocol: must be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'; did you mean 'SASL_SSL'? (it is 'SASL_TLS')"),
    ('    username: neverblink\n', '', 5, 'kafka.security: protocol SASL_SSL needs username and password_file'),
    ('objects_keep_h: 12', 'objects_keep_h: 1', 10, 'storage: objects_keep_h is 1 and the frames topic keeps its events 6 h: an event would outlive its image'),
    ('device: cpu', 'device: gpu', 14, "scorer.device: must have another form: cpu, cuda or cuda:N (it is 'gpu')"),
    ('max_batch: 8', 'max_batch: 2.5', 15, 'scorer.max_batch: must be a whole number (it is 2.5)'),
    ('max_batch: 8', 'max_batch: 8\n  max_batch: 16', 16, "'max_batch' stands twice in the same section"),
    ('time_zone: UTC', 'time_zone: Berlin', 17, "drift.time_zone: 'Berlin' is no time zone; write one such as UTC or Europe/Berlin"),
    ('shifts_begin_h: [6, 14, 22]', 'shifts_begin_h: [22, 6]', 18, 'drift.shifts_begin_h: shifts begin at ascending hours from 0 to 23, such as [6, 14, 22]'),
    ('    key_file: api.pem\n', '', 20, 'records.api: cert_file and key_file go together: give both or neither'),
    ('begins: "14:00"', 'begins: "25:00"', 25, "records.shifts[1].begins: must be a time such as 06:00 (it is '25:00')"),
    ('{name: late, begins', '{name: early, begins', 25, "records.shifts[1].name: two shifts are named 'early'; each needs its own"),
    ('lines: [line-1]}', 'lines: [line-1, line-9]}', 28, "records.reviewing.reviewers[0].lines[1]: reviewer m.okafor judges parts of line 'line-9', which the plant does not have; did you mean 'line-2'?"),
    ('audit: {share: 0.1', 'audit: {share: 2', 30, 'proof.audit.share: must be at most 1 (it is 2)'),
    ('products: {pcb: 0.2}', 'products: {pbc: 0.2}', 30, "proof.audit.products.pbc: proof.audit.products names product 'pbc', which is not in products; did you mean 'pcb'?"),
    ('sets: {pcb: golden}', 'sets: {pbc: golden}', 31, "proof.golden.sets.pbc: proof.golden.sets names product 'pbc', which is not in products; did you mean 'pcb'?"),
    ('- {line: line-1, references', '- {line: line-3, references', 34, "proof.challenges.schedule[0].line: proof.challenges.schedule names line 'line-3', which the plant does not have; did you mean 'line-2'?"),
    ('shifts: [early]', 'shifts: [night]', 34, "proof.challenges.schedule[0].shifts[0]: proof.challenges.schedule names shift 'night'; the plant's shifts are early, late"),
    ('references: [scratch-07]', 'references: []', 34, 'proof.challenges.schedule[0].references: needs at least 1 of them'),
    ('  - name: pcb\n', '  - name: disc\n', 39, "products[1].name: two products are named 'disc'; each needs its own"),
    ('types: {scratch: {min_area_px: 9}}', 'types: {scratch: {min_area_px: tiny}}', 38, "products[0].defects.types.scratch.min_area_px: must be a whole number (it is 'tiny')"),
    ('defects: {types', 'defects: {typs', 38, "'typs' is not a setting of products[0].defects; did you mean 'types'?"),
    ('distance_to_gate_m: 2.0\n      speed_m_s: 1.0', 'distance_to_gate_m: 2.0\n      speed_m_s: 20.0', 43, 'lines[0].timing: a part reaches the gate 100 ms after its trigger, and actuator, PLC cycle and margin need 220 ms: no time is left for a verdict; move the gate or slow the line'),
    ('      distance_to_gate_m: 2.0\n', '', 43, 'lines[0].timing.distance_to_gate_m is missing'),
    ('endpoint: opc.tcp://127.0.0.1:4840', 'endpoint: http://127.0.0.1', 47, "lines[0].plc.endpoint: must have another form: opc.tcp://host:port/path (it is 'http://127.0.0.1')"),
    ('        plc_certificate: plc.der\n', '', 48, 'lines[0].plc.security: policy Basic256Sha256 needs plc_certificate, or a folder trusted'),
    ('        product: pcb\n', '        product: pbc\n', 56, "lines[0].stations[0].product: station line-1/top inspects product 'pbc', which is not in products; did you mean 'pcb'?"),
    ('source: {kind: folder, path', 'source: {kind: foldr, path', 57, "lines[0].stations[0].source.kind: 'foldr' is no kind of it; there are folder, simulated, video, rtsp, v4l2, genicam, gige; did you mean 'folder'?"),
    ('source: {kind: folder, path: pictures}', 'source: {path: pictures}', 57, 'lines[0].stations[0].source: has no `kind`, which says what it is'),
    ('  - name: line-2', '  - name: line-1', 59, "lines[1].name: two lines are named 'line-1'; each needs its own"),
    ('opc.tcp://127.0.0.1:4841', 'opc.tcp://127.0.0.1:4840', 61, 'lines[1].plc.node: lines line-1 and line-2 would write the same nodes of opc.tcp://127.0.0.1:4840: give each its own node'),
    ('security: {certificate: ours.der, key: ours.pem, trusted: plcs}', 'profile: mailbox\n      security: {certificate: ours.der, key: ours.pem, trusted: plcs}', 61, 'lines[1].plc: with profile mailbox a part passes when nobody speaks, so a lost verdict is a missed defect: write accept_silent_pass: true to accept that, or profile: verdict-table, where silence rejects'),
    ('url: "rtsp://127.0.0.1:8554/x"', 'url: "rtsp://me:secret@127.0.0.1/x"', 67, "lines[1].stations[0].source.url: must have another form: rtsp://host:port/path, without user and password (it is 'rtsp://***@127.0.0.1/x')"),
    ('path: pictures}\n        trigger: {kind: plc}', 'path: pictures}\n        trigger: {kind: hardware}', 58, 'lines[0].stations[0].trigger: trigger hardware needs a source that fires by itself (genicam, gige, v4l2, rtsp, or video with pace own-rate); folder shows a picture when it is asked'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "sentence"), IN_THE_FILE)
def test_a_mistake_in_the_file_is_told_at_its_own_line(old: str, new: str, line: int, sentence: str) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(PlantError) as caught:
        parse_plant(WHOLE.replace(old, new), "plant.yaml")
    (told,) = str(caught.value).splitlines()
    place, _, said = told.partition(": ")
    assert (int(place.split(":")[1]), said) == (line, sentence)
    assert not LIBRARYS.search(said)


def another_product(folder: Path) -> None:
    (folder / "artifacts/pcb-3").rename(folder / "artifacts/gone")
    write_artifact(folder / "artifacts", "pcb-3", product="disc")


def readable_by_all(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(0o644)


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_bytes(content))


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: void((folder / name).rename(folder / "elsewhere"))


def ended(name: str, pem: bool = False, days: int = -1) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        where = folder / name
        certificate(where.parent, where.name, valid_from=timedelta(days=-90), valid_to=timedelta(days=days), pem=pem)
        for key in where.parent.glob("*.pem"):
            key.chmod(0o600)

    return make


def void(_: object) -> None:
    return None


# What is done to what the file names, and the line and sentence that say it; FOLDER is the plant file's own.
AROUND_THE_FILE: list[tuple[str, Callable[[Path], None], int, str]] = [
    ("an authority that is not there", without("kafka-ca.der"), 7, "the file FOLDER/kafka-ca.der is not there"),
    ("an authority that has ended", ended("kafka-ca"), 7, "the certificate FOLDER/kafka-ca.der expired on"),
    ("a password that is not there", without("kafka-password"), 9, "the file FOLDER/kafka-password is not there"),
    ("an empty password", written("kafka-password", b"\ns3cret\n"), 9, "the first line of FOLDER/kafka-password is empty"),
    ("a picture for a password", written("kafka-password", b"\x89PNG\xff"), 9, "is no text in UTF-8"),
    ("a password for everybody", readable_by_all("kafka-password"), 9, "which is secret (mode 644): chmod 600 FOLDER"),
    ("a folder for a password", lambda folder: folder_for(folder / "kafka-password"), 9, "is a folder and must be a file"),
    ("a certificate that has ended", ended("api", pem=True), 21, "api-certificate.pem expired on"),
    ("a certificate that ends soon", ended("api", pem=True, days=9), 21, "note: the certificate FOLDER/api-certificate.pem ends on"),
    ("a key that does not fit", lambda folder: void(certificate(folder, "x")[1].rename(folder / "api.pem")), 22, "does not fit the certificate FOLDER/api-certificate.pem"),
    ("no key", written("api.pem", b"no key"), 22, "FOLDER/api.pem holds no private key that can be read (PEM)"),
    ("no golden set", without("golden"), 31, "the folder FOLDER/golden is not there: `neverblink golden add` makes it"),
    ("no model", without("artifacts/pcb-3"), 37, "there is no model FOLDER/artifacts/pcb-3: `neverblink fit` makes one"),
    ("a model of another product", another_product, 37, "was fitted for product 'disc' and stands at 'pcb'"),
    ("no manifest", without("artifacts/disc-1/manifest.json"), 40, "FOLDER/artifacts/disc-1 is no model: it has no manifest.json"),
    ("a torn manifest", written("artifacts/disc-1/manifest.json", b"{"), 40, "is not a manifest: `neverblink artifact verify"),
    ("our key for everybody", readable_by_all("ours.pem"), 50, "everybody on this machine may open FOLDER/ours.pem"),
    ("our certificate has ended", ended("ours"), 49, "our certificate FOLDER/ours.der expired on"),
    ("the PLC's certificate is a key", written("plc.der", b"-----BEGIN PRIVATE KEY-----"), 51, "FOLDER/plc.der holds no certificate: it is a private key"),
    ("no pictures", lambda folder: (folder / "pictures/1.png").unlink(), 57, "the folder FOLDER/pictures holds no picture"),
    ("nobody is trusted", lambda folder: (folder / "plcs/plc-2.der").unlink(), 63, "the folder FOLDER/plcs trusts no PLC"),
    ("a trusted PLC's certificate has ended", ended("plcs/plc-2"), 63, "the certificate FOLDER/plcs/plc-2.der expired on"),
    ("a camera without its password", without("camera-password"), 67, "the file FOLDER/camera-password is not there"),
]  # fmt: skip


def folder_for(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a sound plant has, made once: keys take their time."""
    folder = tmp_path_factory.mktemp("whole")
    surroundings(folder)
    (folder / "plcs/plc-2.pem").unlink()
    return folder


@pytest.fixture
def plant(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    folder = tmp_path / "plant"
    shutil.copytree(whole, folder)
    return folder


def found_in(folder: Path) -> Iterator[tuple[int, str]]:
    file = folder / "plant.yaml"
    found = look(load_plant(file), datetime.now(UTC))
    for place, one in zip(placed(file, [one.at for one in found]), found, strict=True):
        yield int(place.split(":")[1]), f"{'' if one.wrong else 'note: '}{one.sentence}"


def test_a_plant_with_all_that_it_names_is_sound(plant: Path) -> None:
    assert list(found_in(plant)) == []


@pytest.mark.parametrize(
    ("spoil", "line", "sentence"), [case[1:] for case in AROUND_THE_FILE], ids=[case[0] for case in AROUND_THE_FILE]
)
def test_what_is_wrong_around_the_file_is_told_at_the_line_that_names_it(
    plant: Path, spoil: Callable[[Path], None], line: int, sentence: str
) -> None:
    spoil(plant)
    told = list(found_in(plant))
    assert any(at == line and sentence.replace("FOLDER", str(plant.resolve())) in said for at, said in told), told
    assert not any(LIBRARYS.search(said) for _, said in told)


def test_there_are_fifty_of_them() -> None:
    assert len(IN_THE_FILE) + len(AROUND_THE_FILE) >= 50


def test_the_command_tells_all_in_the_order_of_the_file_and_asks_nobody_when_offline(plant: Path) -> None:
    (plant / "kafka-password").chmod(0o644)
    (plant / "camera-password").unlink()
    ran = CliRunner().invoke(app, ["plant", "check", str(plant / "plant.yaml"), "--offline"])
    assert ran.exit_code == 1
    told = [line for line in ran.stdout.splitlines() if line.startswith(str(plant))][1:]
    assert [line.split(":")[1] for line in told] == ["9", "67"]
    (plant / "kafka-password").chmod(0o600)
    (plant / "camera-password").write_text("s3cret")
    (plant / "camera-password").chmod(0o600)
    ran = CliRunner().invoke(app, ["plant", "check", str(plant / "plant.yaml"), "--offline"])
    assert ran.exit_code == 0, ran.stdout


async def test_who_does_not_answer_is_told_and_who_does_is_not(plant: Path) -> None:
    answering = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port, silent = answering.sockets[0].getsockname()[1], free_port()
    text = WHOLE
    for old in ("127.0.0.1:9092", "127.0.0.1:4840", "127.0.0.1:8554"):
        text = text.replace(old, f"127.0.0.1:{port}")
    (plant / "plant.yaml").write_text(text.replace("127.0.0.1:4841", f"127.0.0.1:{silent}"))
    found = await ask(load_plant(plant / "plant.yaml"), 5.0)
    answering.close()
    ((at, said),) = [(one.at, one.sentence) for one in found if isinstance(one, Finding)]
    assert at == ("lines", 1, "plc", "endpoint")
    assert said.startswith(f"nobody answers at 127.0.0.1:{silent}: ")


# Every setting says what it is.


def sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for one in kind.__subclasses__():
        yield one
        yield from sections(one)


def test_every_setting_of_every_section_has_a_title_and_a_description() -> None:
    schema = Plant.model_json_schema()
    names = {one.__name__ for one in sections()}
    assert {"Plant", "KafkaSecurity", "GigeSource", "ReferencePart", "Shift"} <= names
    assert not [
        f"{one.__name__}.{name}"
        for one in sections()
        for name, field in one.model_fields.items()
        if not field.description
    ]
    for section in (schema, *(schema["$defs"][name] for name in names & schema["$defs"].keys())):
        for name, setting in section["properties"].items():
            referred: dict[str, Any] = schema["$defs"].get(setting.get("$ref", "").removeprefix("#/$defs/"), {})
            assert setting.get("title") or referred.get("title"), f"{section['title']}.{name}"


def test_a_title_has_its_unit() -> None:
    timing = Plant.model_json_schema()["$defs"]["Timing"]["properties"]
    assert [one["title"] for one in timing.values()][:3] == ["Distance to gate, m", "Speed, m/s", "Actuator, ms"]
