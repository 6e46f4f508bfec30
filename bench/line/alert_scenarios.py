"""Every alert in a scenario against a real Prometheus and Alertmanager: what happens, when it is told, when it is over.

Rules and routes are those of `deploy/prometheus`; windows and patience last seconds instead of minutes and days
(`rigs/alerting/watched_plant.py`). Three scenarios run on a real bridge with a real PLC session, the others on the
metrics that the services' own instruments export at their own address. Prints a Markdown table; exit code 1 when an
alert has no scenario, and a traceback when one did not fire or did not end.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from neverblink.brokers.apache import free_port

# isort: split
from rigs.alerting.scenarios import (
    BridgedLine,
    Measured,
    Seen,
    at_start,
    exported_scenarios,
    full_disk,
    real_scenarios,
    run_together,
)
from rigs.alerting.watched_plant import DEPLOYED, PACKAGES, WatchedPlant, missing_parts


def alerts() -> set[str]:
    """Return the names of all alerts that are deployed."""
    read = [yaml.safe_load(path.read_text()) for path in (DEPLOYED / "rules").glob("*.yml")]
    rules = [rule for document in read for group in document["groups"] for rule in group["rules"]]
    return {rule["alert"] for rule in rules if "alert" in rule}


def run(folder: Path) -> list[Seen]:
    """Run all scenarios. Raises TimeoutError."""
    taken: set[int] = set()
    scorer, camera, bridge = (free_port(taken) for _ in range(3))
    targets = [("neverblink-scorer", scorer), ("neverblink-camera", camera), ("neverblink-bridge", bridge)]
    at, other = Measured(folder, "scorer", scorer), Measured(folder, "camera", camera)
    with contextlib.ExitStack() as stack:
        watched = stack.enter_context(WatchedPlant(folder / "watched", targets))

        def start() -> None:
            stack.enter_context(at.running())
            stack.enter_context(other.running())

        seen = run_together(watched, at_start(start))
        seen += run_together(watched, exported_scenarios(at, other))
        seen += run_together(watched, [full_disk(at)])
        line = stack.enter_context(BridgedLine(folder / "line", bridge))
        line.start_bridge()
        for one in real_scenarios(line):
            seen += run_together(watched, [one])
    return seen


def table(seen: Sequence[Seen]) -> list[str]:
    """Return the rows of the table."""
    rows = ["| alert | scenario | on | fired after s | resolved after s | runbook |", "|---|---|---|---|---|---|"]
    for one in seen:
        name = one.scenario.key.partition("/")[0]
        on = "real services" if one.scenario.real else "exported metrics"
        page = f"[{Path(one.runbook).stem}](../runbooks/{Path(one.runbook).name})"
        rows.append(f"| {name} | {one.scenario.what} | {on} | {one.fired_s:.1f} | {one.resolved_s:.1f} | {page} |")
    return rows


def main() -> int:
    """Run, print, and say whether all alerts were seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="Keep configuration and logs here.")
    folder = parser.parse_args().folder
    if missing := missing_parts():
        print(f"{', '.join(missing)} cannot be found: apt-get install {PACKAGES}")
        return 2
    with contextlib.ExitStack() as stack:
        made = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alerts-")))
        made.mkdir(parents=True, exist_ok=True)
        seen = run(made)
    print("\n".join(table(seen)))
    unseen = alerts() - {one.scenario.key.partition("/")[0] for one in seen}
    if unseen:
        print(f"no scenario: {', '.join(sorted(unseen))}")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
