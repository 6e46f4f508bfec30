"""Which pictures are copies where parts lie anyhow: two that fell alike make pictures alike, and are two parts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from neverblink.trainer.datasets.picture_groups import PictureGroups, group_pictures
from neverblink.trainer.fitting.picture_set import PictureSet
from neverblink.vision.alignment.aligner import Aligner
from neverblink.vision.alignment.view import Pose
from neverblink.vision.copies import find_copies, upright_size, variety_of
from neverblink.vision.decode import read_image
from neverblink.vision.evenly import some_of

_LOOKED_AT: Final = 60
"""Pictures that say what tells upright parts apart."""


def told_apart(given: PictureSet, aligner: Aligner, poses: Mapping[Path, Pose], depth: int | None) -> PictureSet:
    """Return the set with those near copies alone that are as near as pictures of one part are. Raises ImageError.

    Of 120 plates with a grain on a turntable under even light, 30 of them saved twice, whole pictures tell 63 apart and
    this all 120; of plain ones 48, and this 100.
    """
    if not given.usable.copies.near:
        return given
    shown = some_of(given.usable.pictures, _LOOKED_AT)
    size = upright_size(aligner.size, shown[0].size)
    variety = variety_of(
        aligner.placed(read_image(one.path, depth=depth), poses[one.path]).sampled(*size) for one in shown
    )
    copies = find_copies([one.fingerprint for one in given.usable.pictures], variety)
    groups, by = PictureGroups(copies.group), given.groups.by
    if by is not None:
        paths = [path.absolute() for path in given.usable.paths]
        groups = group_pictures(paths, given.root.absolute(), by, copies.group)
    return replace(given, usable=replace(given.usable, known_copies=copies), groups=groups)
