"""The files of a folder that are somebody's: what systems and programs leave there is nobody's."""

from collections.abc import Collection, Iterator
from pathlib import Path

_SYSTEM = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"}
)
_LOCKS = "~$"


def is_hidden(name: str) -> bool:
    """Say whether a file's or folder's name is one that a system or program gives to what it keeps for itself.

    A dot comes first in `._part.png`, which macOS puts beside `part.png` on foreign disks, in `.ipynb_checkpoints`
    and in `.DS_Store`; Windows keeps `Thumbs.db` and `desktop.ini`, archives of macOS `__MACOSX`.
    """
    return name.startswith((".", _LOCKS)) or name.casefold() in _SYSTEM


def files_in(folder: Path, suffixes: Collection[str] | None = None, *, deep: bool = False) -> list[Path]:
    """Return the files of a folder by name, those with these `suffixes` (`.png`, whatever its case) where given.

    `deep` goes into its sub-folders too. Hidden files and folders are passed over. A link that leads nowhere is
    listed: it is somebody's file that is not there. Raises OSError.
    """
    wanted = None if suffixes is None else {suffix.lower() for suffix in suffixes}
    return sorted(
        path
        for path in _walk(folder, deep=deep)
        if (wanted is None or path.suffix.lower() in wanted) and (not path.is_dir())
    )


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones. Raises OSError."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _walk(folder: Path, *, deep: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if is_hidden(path.name):
            continue
        yield path
        # A link to a folder may lead back here.
        if deep and path.is_dir() and not path.is_symlink():
            yield from _walk(path, deep=True)
