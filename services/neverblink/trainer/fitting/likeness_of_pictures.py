"""Are pictures of good parts like those that a model was calibrated with, grouped as those were?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.picture_groups import group_pictures
from neverblink.vision.artifact import Artifact
from neverblink.vision.copies import one_each
from neverblink.vision.likeness import LEAST, Likeness, likeness


def likeness_of(model: Artifact, scores: Mapping[Path, float], place: Path) -> Likeness:
    """Compare the scores of good parts' pictures, found at `place`, with the held-out ones of the calibration.

    Where groups were made by a rule that fits these pictures too, groups are compared by their worst, as the promise
    counts them. Where it does not fit, each picture is compared with the worst of a group: that warns later.
    """
    calibration = model.manifest.calibration
    new = np.array(list(scores.values()), dtype=np.float32)
    by = model.manifest.provenance.grouped_by
    if by is not None:
        root = place if place.is_dir() else place.parent
        try:
            groups = group_pictures(list(scores), root, by)
        except DatasetError:
            return likeness(calibration, model.scores, new)
        if groups.count >= LEAST:
            return likeness(calibration, model.scores, one_each(new, groups.group), noun="groups of good parts")
    return likeness(calibration, model.scores, new)
