"""compose.observability.yaml: what watches is bounded, pinned, on this machine alone, and reads the files we ship."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLANT: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
WATCHING: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.observability.yaml").read_text())["services"]
WATCHED = sorted(WATCHING.keys() & PLANT.keys())
PARTS = sorted(WATCHING.keys() - PLANT.keys())
PROMETHEUS = yaml.safe_load((ROOT / "deploy/docker/prometheus.yml").read_text())


def test_every_service_of_ours_is_watched_and_traced() -> None:
    assert WATCHED == ["bridge", "camera", "console", "drift", "ledger", "scorer"]
    assert PARTS == ["alertmanager", "collector", "grafana", "prometheus", "traces"]
    for name in WATCHED:
        port = WATCHING[name]["environment"]["NEVERBLINK_HEALTH"].rpartition(":")[2]
        (asked,) = [one for one in PROMETHEUS["scrape_configs"] if one["job_name"] == f"neverblink-{name}"]
        assert asked["static_configs"] == [{"targets": [f"{name}:{port}"]}]
        assert WATCHING[name]["environment"]["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].startswith("http://collector:")


def test_the_jobs_are_called_as_the_shipped_configuration_calls_them() -> None:
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert [one["job_name"] for one in PROMETHEUS["scrape_configs"]] == [
        one["job_name"] for one in shipped["scrape_configs"]
    ]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_bounded_pinned_and_cannot_gain_rights(name: str) -> None:
    service = WATCHING[name]
    assert service["mem_limit"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    tag = service["image"].rpartition(":")[2].removeprefix("v")
    assert tag[0].isdigit()
    for needed in service.get("depends_on", {}):
        assert WATCHING[needed]["healthcheck"]["test"]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_reached_from_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in WATCHING[name].get("ports", []))


@pytest.mark.parametrize("name", PARTS)
def test_a_part_reads_files_that_are_shipped(name: str) -> None:
    for volume in WATCHING[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).exists(), volume
            assert volume.endswith(":ro")


def test_nobody_administers_the_dashboards_with_a_known_password() -> None:
    assert WATCHING["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")
