"""What a simulated PLC remembers while it is off: its epoch, so that no two parts are ever called the same."""

import logging
from pathlib import Path

from neverblink.plant import PlantError
from neverblink.plc.epochs import EPOCH_NUMBERS

_log = logging.getLogger("neverblink.plc-sim")


def next_epoch(file: Path) -> int:
    """Return the epoch to begin with: the one after that of the last run, 1 at the first. Raises PlantError."""
    try:
        return (int(file.read_text(encoding="ascii")) + 1) % EPOCH_NUMBERS
    except FileNotFoundError:
        return 1
    except (OSError, ValueError) as error:
        raise PlantError(
            f"the last epoch of the simulated PLC cannot be read in {file}: {error}; write there the highest epoch "
            "that its line has seen"
        ) from error


def keep_epoch(file: Path, epoch: int) -> None:
    """Write the epoch where the next run finds it, whole or not at all. A disk that is full is told, and costs that."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(f"{epoch}\n", encoding="ascii")
        fresh.replace(file)
    except OSError as error:
        _log.warning(f"the epoch cannot be kept in {file}: {error}; the next run would count in the same one")
