"""A console over a day and more of a plant with two lines, without the services that would have made it.

Records, pictures, models and accounts are seeded; the last minutes and the models are on a broker too. For tests in a
browser, for pictures of pages, and to look around: `python -m rigs.seeded_console`
(PYTHONPATH=services:tests).
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from argon2 import PasswordHasher
from numpy.typing import NDArray

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access.accounts import make_account, set_password
from neverblink.console.access.audit import Actor
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.roles import Role, Roles
from neverblink.events import ArtifactRef, BoundingBox, Event, ModelSlots, Slot, Verdict
from neverblink.events.identity import derived_id
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.ledger.writing import keep
from neverblink.model_registry.changes import Stamp, Target, activated, shadowed
from neverblink.plant import Plant, load_plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_rules import rules_of
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.simulation.parts import Simulation
from neverblink.vision.artifact import Artifact, read_manifest, save_artifact
from neverblink.vision.artifact_manifest import Description, Provenance
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.calibration import calibrate
from neverblink.vision.overlay import overlay
from rigs.seeded_day import (
    DRAWN,
    MIDDLE,
    PRODUCTS,
    SIDE,
    STATIONS,
    TYPES,
    Model,
    SeededPart,
    Shape,
    alarms,
    drift_reports,
    parts_of,
    service_reports,
    shadow_verdicts,
)
from rigs.served_console import listening

PASSWORD = "a long enough one"
ACCOUNTS = {
    "admin": Role.ADMINISTRATOR,
    "erin": Role.ENGINEER,
    "rita": Role.REVIEWER,
    "olaf": Role.OPERATOR,
    "vera": Role.VIEWER,
}
"""Who may sign in with PASSWORD: one of each role on all lines."""

_SEED = Actor("seed", "here")
_ON_THE_WALL = timedelta(minutes=15)
_AT_ONCE = 2000
_Pictures = dict[str, tuple[str, int, str]]
"""By kind: digest, bytes and content type."""
_NORMALS = 320
_GOOD = 4
"""Drawn good pictures of a product: parts share them."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What is there: the plant, its parts in the order of time, the console's address."""

    plant: Plant
    parts: Sequence[SeededPart]
    address: str
    broker: DevelopmentBroker

    def part_where(self, true: Callable[[SeededPart], bool]) -> SeededPart:
        """Return the newest part of which something holds."""
        return next(one for one in reversed(self.parts) if true(one))


@contextlib.asynccontextmanager
async def seeded_console(
    folder: Path,
    shape: Shape | None = None,
    *,
    console: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> AsyncIterator[Seeded]:
    """Seed a plant in an empty folder and serve its console on a free port.

    `console` are settings of the console, `settings` of the plant file's other sections.
    """
    end = datetime.now(UTC)
    async with DevelopmentBroker() as broker:
        plant = await asyncio.to_thread(plant_in, folder, broker.bootstrap, console or {}, settings or {})
        models, slots = await asyncio.to_thread(make_models, plant, end)
        pool = await asyncio.to_thread(_Pool, plant)
        parts = parts_of(shape or Shape(), end, models, pool.boxes)
        events = [event for one in parts for event in one.events]
        shadows = shadow_verdicts(parts, await asyncio.to_thread(_challenger, plant, slots), "line-2", "top")
        reports = drift_reports(end, int((shape or Shape()).hours), models)
        await asyncio.to_thread(_keep, plant, [*events, *shadows, *slots, *reports, *alarms(end)], end)
        await asyncio.to_thread(_keep_pictures, plant, pool, parts, end)
        await ensure_topics(plant.kafka)
        lately = [one for one in events if one.occurred > end - _ON_THE_WALL]
        async with EventProducer(plant.kafka, source="/seeded", client_id="seeded") as producer:
            for one in [*slots, *reports[-len(STATIONS) * 4 :], *alarms(end), *service_reports(end), *lately]:
                await producer.send(one)
        access = await asyncio.to_thread(make_accounts, plant, end)
        try:
            async with listening(plant, access, folder / "plant.yaml") as address:
                yield Seeded(plant, parts, address, broker)
        finally:
            access.close()


def plant_in(folder: Path, bootstrap: str, console: dict[str, Any], settings: dict[str, Any]) -> Plant:
    """Write the plant file of the two lines, and return it as every service reads it."""
    described: dict[str, Any] = {
        "site": "seeded",
        "kafka": {"bootstrap": bootstrap, "partitions": 4},
        "storage": {"artifacts": "artifacts", "ledger": f"sqlite:///{folder}/ledger.db"},
        "records": {
            "time_zone": "UTC",
            "shifts": [
                {"name": "early", "begins": "06:00"},
                {"name": "late", "begins": "14:00"},
                {"name": "night", "begins": "22:00"},
            ],
            "evidence": {"store": f"{folder}/evidence"},
        },
        "products": [
            {
                "name": product,
                "artifact": f"{product}-3",
                "defects": {"types": {name: {"taxonomy": taxonomy} for name, taxonomy, _ in TYPES[product]}},
            }
            for product in PRODUCTS.values()
        ],
        "lines": [_line(name, product) for name, product in PRODUCTS.items()],
        "console": {"database": f"sqlite:///{folder}/console.db", **console},
        **settings,
    }
    file = folder / "plant.yaml"
    file.write_text(yaml.safe_dump(described, sort_keys=False))
    return load_plant(file)


def _line(name: str, product: str) -> dict[str, Any]:
    source = {"kind": "simulated", "drawing": product}
    return {
        "name": name,
        "timing": {
            "distance_to_gate_m": 2.0,
            "speed_m_s": 1.0,
            "actuator_ms": 200,
            "plc_cycle_ms": 20,
            "margin_ms": 50,
        },
        "plc": {
            "endpoint": f"opc.tcp://127.0.0.1:484{name[-1]}",
            "security": {"policy": "None", "allow_insecure": True},
        },
        "stations": [
            {"name": station, "product": product, "source": source, "trigger": {"kind": "plc"}}
            for station in STATIONS[name]
        ],
    }


# Models


def make_models(plant: Plant, end: datetime) -> tuple[dict[str, list[Model]], list[ModelSlots]]:
    """Write the artifacts; ten hours before the end pcb-4 replaced pcb-3, and disc-4 is in shadow since four."""
    folder = plant.storage.artifacts
    made = {
        f"{product}-{version}": make_artifact(folder, product, version, end - timedelta(days=40 - 9 * version))
        for product in PRODUCTS.values()
        for version in (3, 4)
    }
    changed, long_ago = end - timedelta(hours=10), end - timedelta(days=30)
    models = {product: [_model(made[f"{product}-3"], long_ago)] for product in PRODUCTS.values()}
    models["pcb"].append(_model(made["pcb-4"], changed))
    stamp = Stamp("erin", "retrained on four weeks of confirmed good parts", changed)
    slots = [
        activated(None, Target("line-1", station, "pcb"), _slot(made["pcb-4"]), stamp) for station in STATIONS["line-1"]
    ]
    tried = Stamp("erin", "tried beside the old one for a week", end - timedelta(hours=4))
    slots.append(shadowed(None, Target("line-2", "top", "disc"), _slot(made["disc-4"]), tried))
    return models, slots


def _challenger(plant: Plant, slots: Sequence[ModelSlots]) -> Model:
    """Return the one model that is in shadow."""
    (change,) = (one for one in slots if one.shadow is not None)
    assert change.shadow is not None
    manifest, _ = read_manifest(plant.storage.artifacts / change.shadow.location)
    return Model(change.shadow.artifact, manifest.calibration.threshold, change.at)


def _model(artifact: Artifact, since: datetime) -> Model:
    return Model(_slot(artifact).artifact, artifact.manifest.calibration.threshold, since)


def _slot(artifact: Artifact) -> Slot:
    manifest = artifact.manifest
    reference = ArtifactRef(name=manifest.name, version=manifest.version, digest=artifact.digest)
    return Slot(artifact=reference, location=f"{manifest.name}-{manifest.version}")


def make_artifact(folder: Path, product: str, version: int, created: datetime) -> Artifact:
    """Write `PRODUCT-VERSION`: a few vectors, and held-out scores as a fit leaves them."""
    random = np.random.default_rng(version)
    scores = (random.lognormal(0.3 + version / 20, 0.14, _NORMALS)).astype(np.float32)
    description = Description(
        name=product,
        version=str(version),
        product=product,
        created=created.replace(microsecond=0),
        backbone=BackboneSpec(
            model="wide_resnet50_2", levels=(2, 3), source="file", weights="sha256:" + "0" * 64,
            mean=(123.675, 116.28, 103.53), deviation=(58.395, 57.12, 57.375),
        ),
        grid=(4, 4),
        dimension=8,
        vectors=64,
        calibration=calibrate(scores, scores * 1.4, unsure=0.03),
        provenance=Provenance(
            images=tuple(f"sha256:{one:064}" for one in range(_NORMALS)), coreset_ratio=0.01, projection=128, seed=0,
            folds=5,
        ),
    )  # fmt: skip
    bank = random.random((64, 8)).astype(np.float32)
    return save_artifact(
        folder / f"{product}-{version}", description, bank=bank, scores=scores, peaks=scores * np.float32(1.4)
    )


# Records


def _keep(plant: Plant, events: Sequence[Event], end: datetime) -> None:
    database = Database(plant.storage.ledger, create=True)
    rules = rules_of(plant)
    try:
        ordered = sorted(events, key=lambda one: one.occurred)
        for first in range(0, len(ordered), _AT_ONCE):
            keep(database, ordered[first : first + _AT_ONCE], end, rules)
    finally:
        database.close()


def _keep_pictures(plant: Plant, pool: "_Pool", parts: Sequence[SeededPart], end: datetime) -> None:
    """Keep pictures of what a plant keeps them of: what people should look at, and a few good parts."""
    rows = []
    for number, one in enumerate(parts):
        if one.holds_picture or number % 25 == 0:
            for verdict in one.verdicts:
                rows += pool.rows(verdict, end)
    database = Database(plant.storage.ledger, create=False)
    try:
        with database.session() as session:
            session.add_all(rows)
            session.commit()
    finally:
        database.close()


class _Pool:
    """Drawn pictures in the store, by product, defect and number; `boxes` are where their defects lie."""

    def __init__(self, plant: Plant) -> None:
        assert plant.records.evidence.store is not None
        self._store = EvidenceStore(plant.records.evidence.store)
        self._held: dict[tuple[str, str | None, int], _Pictures] = {}
        self.boxes: dict[tuple[str, str, int], BoundingBox] = {}
        for product in PRODUCTS.values():
            drawing = Simulation(product=product)
            for number in range(_GOOD):
                good = drawing.good(number)
                self._held[product, None, number] = self._kept(good.image, None)
                self._held[product, "anomaly", number] = self._kept(good.image, _around(MIDDLE))
            for kind, _, _ in TYPES[product]:
                for number in range(DRAWN):
                    seen = drawing.defective(kind, number)
                    self._held[product, kind, number] = self._kept(seen.image, seen.mask)
                    x, y, width, height = cv2.boundingRect(seen.mask.astype(np.uint8))
                    self.boxes[product, kind, number] = BoundingBox(x=x, y=y, width=width, height=height)

    def rows(self, verdict: Verdict, end: datetime) -> list[EvidenceFileRow]:
        """Return the rows of a verdict's pictures."""
        kind = verdict.defects[0].type if verdict.defects else None
        number = verdict.seq % (_GOOD if kind in (None, "anomaly") else DRAWN)
        why = "reject" if kind else "unsure" if verdict.unsure else "holdout" if verdict.holdout else "sample"
        return [
            EvidenceFileRow(
                id=derived_id("picture", verdict.id, name), frame_id=verdict.frame_id, verdict_id=verdict.id,
                line=verdict.line, station=verdict.station, product=verdict.product, kind=name, digest=digest,
                bytes=size, content_type=content, why=why, captured=verdict.times.captured, kept=end, deleted=None,
            )
            for name, (digest, size, content) in self._held[verdict.product, kind, number].items()
        ]  # fmt: skip

    def _kept(self, image: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> "_Pictures":
        found = {"frame": self._put(image, ".png"), "thumbnail": self._put(image[::4, ::4], ".jpg")}
        if mask is not None:
            heat = np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 7), np.float32)
            heat *= np.float32(1.6 / max(float(heat.max()), 1e-6))
            found["overlay"] = self._put(overlay(image, heat, 1.0), ".jpg")
        return found

    def _put(self, image: NDArray[np.uint8], suffix: str) -> tuple[str, int, str]:
        done, coded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        assert done
        content = coded.tobytes()
        return self._store.put(content), len(content), "image/png" if suffix == ".png" else "image/jpeg"


def _around(box: BoundingBox) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[box.y : box.y + box.height, box.x : box.x + box.width] = True
    return mask


def make_accounts(plant: Plant, now: datetime) -> AccessDatabase:
    """Make one account of each role, with hashes that are quick to check."""
    access = AccessDatabase(plant.console.database)
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with access.writing() as connection:
        for name, role in ACCOUNTS.items():
            made = make_account(connection, name, Roles({"*": role}), _SEED, now)
            set_password(connection, made.account, quick, _SEED, now)
    return access


async def _serve(hours: float) -> None:
    with tempfile.TemporaryDirectory(prefix="seeded-console-") as folder:
        async with seeded_console(Path(folder), Shape(hours=hours)) as seeded:
            sys.stdout.write(f"{seeded.address} as {', '.join(ACCOUNTS)}, password: {PASSWORD}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--hours", type=float, default=26.0)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(reader.parse_args().hours))
