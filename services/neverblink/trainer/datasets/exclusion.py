"""Pictures that a person leaves out by name."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from neverblink.trainer.datasets.labelled_image import DatasetError, file_digest
from neverblink.trainer.datasets.picture_groups import below


def without_excluded(paths: Sequence[Path], root: Path, patterns: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    """Return the pictures that none of the patterns names, and of the others path below `root` and sha256.

    A pattern is a file, or a pattern of the shell's (`*`, `?`, `[...]`) of its name or its path below `root`. Raises
    DatasetError for one that names no picture, and when none is left.
    """
    out: dict[Path, None] = {}
    for pattern in patterns:
        named = [path for path in paths if _names(pattern, path, root)]
        if not named:
            raise DatasetError(
                f"--exclude {pattern} names none of the {len(paths)} pictures: it is a file, or a pattern of names such"
                " as 'lot7/*', looked for below the folder of images"
            )
        out |= dict.fromkeys(named)
    kept = [path for path in paths if path not in out]
    if not kept:
        raise DatasetError(f"--exclude leaves out all {len(paths)} pictures: nothing is left to learn from")
    return kept, {below(path, root): file_digest(path) for path in out}


def _names(pattern: str, path: Path, root: Path) -> bool:
    if fnmatchcase(path.name, pattern) or fnmatchcase(below(path, root), pattern):
        return True
    # A file as it is told, from where the command was given.
    return Path(pattern).absolute() == path.absolute()
