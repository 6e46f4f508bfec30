"""A part that is not found is never judged: its frame ends in a reason and a sentence, not in a score."""

import hashlib
from typing import Any, NoReturn, cast

import cv2
import numpy as np
import pytest

from neverblink.events import Frame, Reason
from neverblink.events.examples import examples
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.models import Model
from neverblink.scorer.work import UnscorableError
from neverblink.vision.alignment.aligner import NotFoundError


class Nothing:
    """A model whose parts lie anyhow, and that finds none."""

    depth: int | None = None

    @property
    def inspector(self) -> Any:
        return self

    def prepare_defects(self, image: Any) -> NoReturn:
        raise NotFoundError("no part stands out from the ground")


async def test_a_picture_without_a_part_is_unscored_with_the_reason_and_what_was_seen() -> None:
    (frame,) = (event for event in examples() if isinstance(event, Frame))
    body = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    digest = hashlib.sha256(body).hexdigest()
    frame = frame.model_copy(update={"body": body, "size": len(body), "sha256": digest, "content_type": "image/png"})
    pool = DecodePool(None, workers=1, max_bytes=1 << 20)
    with pytest.raises(UnscorableError, match="no part stands out") as told:
        async with pool.prepared(frame, cast(Model, Nothing()), deadline=0):
            pass
    assert told.value.reason is Reason.NOT_FOUND
    pool.close()
