"""The page for reviewers over a plant on a broker: its console, its pictures, and who judges."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from console_desk import Console

from neverblink.events import Verdict
from neverblink.events.identity import derived_id
from neverblink.plant import ConsoleSettings, Plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow

HTMX = {"hx-request": "true"}


def now() -> datetime:
    """Return the present instant: Kafka's own clock cannot be moved."""
    return datetime.now(UTC)


def with_console(plant: Plant, folder: Path, **settings: Any) -> Plant:
    """Return a plant with a console and an evidence store in a folder."""
    console = ConsoleSettings.model_validate({"database": f"sqlite:///{folder / 'console.db'}", **settings})
    evidence = plant.records.evidence.model_copy(update={"store": str(folder / "evidence")})
    records = plant.records.model_copy(update={"evidence": evidence})
    return plant.model_copy(update={"console": console, "records": records})


def console_of(plant: Plant, folder: Path) -> Console:
    """Return a console whose clock is the broker's."""
    return Console(with_console(plant, folder), clock=now)


def picture(number: int, *, width: int = 640, height: int = 480) -> bytes:
    """Return a PNG of a brushed plate with a bright scratch, another one for every number."""
    random = np.random.default_rng(number)
    image = np.repeat(random.normal(120, 9, (height, 1)), width, axis=1) + random.normal(0, 5, (height, width))
    image = np.clip(image, 0, 255).astype(np.uint8)
    at = (int(random.integers(width // 4, width // 2)), int(random.integers(height // 4, height // 2)))
    cv2.line(image, at, (at[0] + width // 8, at[1] + height // 10), 235, 4, cv2.LINE_AA)
    done, coded = cv2.imencode(".png", image)
    assert done
    return coded.tobytes()


def keep_pictures(plant: Plant, verdicts: Sequence[Verdict]) -> None:
    """Keep a frame of every verdict, as the ledger does."""
    assert plant.records.evidence.store is not None
    store = EvidenceStore(plant.records.evidence.store)
    database = Database(plant.storage.ledger, create=False)
    with database.session() as session:
        for verdict in verdicts:
            content = picture(verdict.seq)
            session.add(
                EvidenceFileRow(
                    id=derived_id("picture", verdict.id),
                    frame_id=verdict.frame_id,
                    verdict_id=verdict.id,
                    line=verdict.line,
                    station=verdict.station,
                    product=verdict.product,
                    kind="frame",
                    digest=store.put(content),
                    bytes=len(content),
                    content_type="image/png",
                    why="reject",
                    captured=verdict.times.captured,
                    kept=now(),
                    deleted=None,
                )
            )
        session.commit()
    database.close()
