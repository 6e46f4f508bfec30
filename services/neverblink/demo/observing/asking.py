"""What Prometheus and Alertmanager are told of a plant on one machine, made from deploy/prometheus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Target = tuple[str, int]
"""A Prometheus job and the port of this machine at which it is asked."""


def prometheus_settings(
    deploy: Path, targets: Sequence[Target], alertmanager: int | None, rules: Path, every: str
) -> dict[str, Any]:
    """Return Prometheus' configuration: the deployed one with these targets, Alertmanager and folder of rules."""
    watching: dict[str, Any] = yaml.safe_load((deploy / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    watching["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    watching["rule_files"] = [f"{rules.resolve()}/*.yml"]
    del watching["alerting"]
    if alertmanager is not None:
        told = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
        watching["alerting"] = {"alertmanagers": told}
    jobs = dict.fromkeys(job for job, _ in targets)
    watching["scrape_configs"] = [
        {
            "job_name": job,
            "static_configs": [{"targets": [f"127.0.0.1:{port}" for name, port in targets if name == job]}],
        }
        for job in jobs
    ]
    return watching


def alertmanager_settings(deploy: Path, hook: str | None) -> dict[str, Any]:
    """Return Alertmanager's configuration: the deployed one whose receivers call `hook`, or nobody."""
    told: dict[str, Any] = yaml.safe_load((deploy / "prometheus/alertmanager.yml").read_text(encoding="utf-8"))
    if hook is None:
        told["receivers"] = [{"name": receiver["name"]} for receiver in told["receivers"]]
    for receiver in told["receivers"]:
        for one in receiver.get("webhook_configs", ()):
            one["url"] = hook
    return told
