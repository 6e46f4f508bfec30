"""compose.yaml: every container is bounded, unprivileged, checked and pinned, and its plant file is right.

The file's shape itself was checked with compose-go's loader, which is what `docker compose config` runs.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from neverblink.plant import load_plant
from neverblink.service_life import READY_FILE

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(SERVICES.keys() - {"kafka"})


def test_every_service_of_the_path_is_there() -> None:
    assert SERVICES.keys() >= {"kafka", "camera", "scorer", "bridge", "drift", "ledger", "console"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_bounded_and_cannot_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_to_a_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")
    assert tag
    assert tag[0].isdigit()


@pytest.mark.parametrize("name", OURS)
def test_our_containers_cannot_write_their_own_system(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["build"]["dockerfile"] == "deploy/docker/Dockerfile"


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"fit"}))
def test_a_service_is_checked_and_waits_for_healthy_ones(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


def test_the_readmes_kcat_line_comes_to_the_door_that_tells_it_to_come_there_again() -> None:
    (address,) = re.findall(r"^kcat -b (\S+) ", (ROOT / "README.md").read_text(), re.MULTILINE)
    kafka = SERVICES["kafka"]
    asks = {name: rest for name, _, rest in (one.partition("://") for one in _listed(kafka, "KAFKA_LISTENERS"))}
    told = {
        name: rest for name, _, rest in (one.partition("://") for one in _listed(kafka, "KAFKA_ADVERTISED_LISTENERS"))
    }
    doors = {f":{inner}": f"{outer}" for _, outer, inner in (port.split(":") for port in kafka["ports"])}
    (name,) = [name for name, address_told in told.items() if address_told == address]
    assert doors[asks[name]] == address.rpartition(":")[2]
    assert all(port.startswith("127.0.0.1:") for port in kafka["ports"]), "without TLS it is for this machine alone"
    plant = load_plant(ROOT / "deploy/docker/plant.yaml")
    assert plant.kafka.bootstrap in told.values()
    secured = dict(one.split(":") for one in _listed(kafka, "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"))
    assert secured.keys() == asks.keys() == told.keys() | {"CONTROLLER"}


def _listed(service: dict[str, Any], name: str) -> list[str]:
    return str(service["environment"][name]).split(",")


def test_the_health_check_reads_the_file_that_a_service_keeps_fresh() -> None:
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    assert f"{READY_FILE}=/tmp/ready" in dockerfile
    assert all("/tmp/ready" in SERVICES[name]["healthcheck"]["test"][1] for name in OURS if name != "fit")


def test_the_containers_plant_file_is_right_and_names_the_containers() -> None:
    plant = load_plant(ROOT / "deploy/docker/plant.yaml")
    assert plant.kafka.bootstrap.split(":")[0] in SERVICES
    for line in plant.lines:
        assert line.plc is not None
        assert line.plc.endpoint.removeprefix("opc.tcp://").split(":")[0] in SERVICES


def test_the_console_is_reached_from_this_machine_alone_and_keeps_what_it_is_told() -> None:
    plant = load_plant(ROOT / "deploy/docker/plant.yaml")
    console = SERVICES["console"]
    assert console["ports"] == [f"127.0.0.1:{plant.console.port}:{plant.console.port}"]
    assert sorted(name for name, service in SERVICES.items() if "ports" in service) == ["console", "kafka"]
    mounted = {place for _, place in (volume.split(":")[:2] for volume in console["volumes"])}
    kept = [plant.console.database, plant.storage.ledger, f"sqlite:///{plant.records.evidence.store}"]
    for url in kept:
        assert any(url.removeprefix("sqlite:///").startswith(f"{place}/") for place in mounted), url
