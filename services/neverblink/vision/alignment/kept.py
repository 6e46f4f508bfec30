"""How parts are found, as a file of its own: what was learnt and shown once is used as it was."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from neverblink.storage.whole_file import write_whole
from neverblink.vision.alignment.aligner import Aligner, AlignmentError
from neverblink.vision.alignment.spec import AlignmentSpec

_SPEC: Final = "alignment"
_MOST_BYTES: Final = 64 * 1024**2


def keep_aligner(path: Path, aligner: Aligner) -> None:
    """Write a safetensors file with the templates, and their description in its header. Raises OSError."""
    write_whole(path, save(aligner.tensors, {_SPEC: aligner.spec.model_dump_json()}), forced=False)


def kept_aligner(path: Path) -> Aligner:
    """Return what finds parts as a file says it. Raises AlignmentError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise AlignmentError(f"{path} has more than {_MOST_BYTES} bytes: it is no alignment")
        with safe_open(path, framework="numpy") as file:
            spec = AlignmentSpec.model_validate_json((file.metadata() or {}).get(_SPEC, ""))
            found = Aligner.of_parts(spec, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValidationError) as error:
        raise AlignmentError(f"{path} is no alignment that was kept: {error}") from error
    assert found is not None
    return found
