"""What another process has used: of benchmarks that start services."""

import os
from contextlib import suppress
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    return _used_s(Path(f"/proc/{pid}/stat"))


def resident_mib(pid: int | str = "self") -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def threads_cpu_s(pid: int) -> dict[int, float]:
    """Return the processor time that each living thread of a process has used, in seconds; the first is `pid`'s own."""
    found = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            found[int(folder.name)] = _used_s(folder / "stat")
    return found


def _used_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
