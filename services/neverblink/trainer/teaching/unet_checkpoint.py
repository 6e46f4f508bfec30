"""A training run in one file, to go on from where it was cut off: safetensors, the rest as JSON in its header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn, optim

from neverblink.errors import reason_of
from neverblink.storage.whole_file import write_whole
from neverblink.vision.errors import VisionError

_HEADER = "run"
_NOW, _BEST, _MOMENT = "now.", "best.", "moment."


class CheckpointError(VisionError):
    """A checkpoint that cannot be written, read or gone on from; the message says which and why."""


class Epoch(BaseModel):
    """What one epoch came to. `dice`: the best Dice a class on held-out images, None where none shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    number: int
    loss: float
    dice: dict[str, float | None]
    learning_rate: float
    seconds: float

    @property
    def mean_dice(self) -> float:
        """Return the mean over the classes that held-out images show."""
        found = [dice for dice in self.dice.values() if dice is not None]
        return sum(found) / max(1, len(found))


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int = 1
    identity: str
    best_epoch: int
    history: tuple[Epoch, ...]


@dataclass(slots=True)
class Run:
    """A training run after some epochs: `history`, and the network's tensors at its best so far."""

    history: list[Epoch]
    best_epoch: int
    best: dict[str, Tensor]


def save_run(path: Path, run: Run, network: nn.Module, optimiser: optim.Optimizer, identity: str) -> None:
    """Write a run, its network and its optimiser; a file that is there is replaced at once or not at all.

    `identity` says by which settings and images the run is. Raises CheckpointError.
    """
    tensors = {_NOW + name: value for name, value in network.state_dict().items()}
    tensors |= {_BEST + name: value for name, value in run.best.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{_MOMENT}{number}.{name}": value for name, value in state.items()}
    header = _Header(identity=identity, best_epoch=run.best_epoch, history=tuple(run.history))
    content = save(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
        metadata={_HEADER: header.model_dump_json()},
    )
    try:
        write_whole(path, content)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be written: {error.strerror}") from error


def load_run(path: Path, network: nn.Module, optimiser: optim.Optimizer, identity: str) -> Run:
    """Bring network and optimiser to where a run was, and return the run. Raises CheckpointError."""
    header, tensors = _read(path)
    if header.identity != identity:
        raise CheckpointError(
            f"the checkpoint {path} is of other images or settings: go on with those, or train without resuming"
        )
    now = _named(tensors, _NOW)
    try:
        network.load_state_dict(now)
        optimiser.load_state_dict({"state": _moments(tensors), "param_groups": optimiser.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"the checkpoint {path} does not fit its network: {str(error).splitlines()[0]}"
        ) from error
    return Run(list(header.history), header.best_epoch, _named(tensors, _BEST))


def _read(path: Path) -> tuple[_Header, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = _Header.model_validate_json((file.metadata() or {}).get(_HEADER, ""))
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except ValidationError as error:
        raise CheckpointError(f"{path} is no checkpoint of a U-Net: {reason_of(error.errors()[0])}") from error
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {error}") from error


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for place, value in _named(tensors, _MOMENT).items():
        number, name = place.split(".")
        found.setdefault(int(number), {})[name] = value
    return found
