"""What codecs learned of the heads, kept once beside the shards: `state-CHECKSUM.safetensors`."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from limbeck._errors import TargetsError
from limbeck._files import bytes_hash, reading_errors, write_atomically
from limbeck.targets.codecs import State, make_codec
from limbeck.targets.format._manifest import Settings

States = Mapping[str, State]
"""By head."""
_NAMES = "state-*.safetensors"
STATE_NAME = r"^state-[0-9a-f]{16}\.safetensors$"
NOTHING = ""
"""In `Settings.state`: no codec of this transfer set learned anything."""


def write_states(folder: Path, states: States) -> str:
    """Write them, and give the checksum that they are found by; `NOTHING` if there is nothing."""
    tensors = {
        f"{head}.{name}": tensor.contiguous().cpu()
        for head, state in states.items()
        for name, tensor in state.items()
    }
    if not tensors:
        return NOTHING
    raw = save(tensors)
    checksum = bytes_hash(raw)

    def write(beside: Path) -> None:
        beside.write_bytes(raw)

    write_atomically(state_path(folder, checksum), write)
    return checksum


def read_states(folder: Path, settings: Settings) -> States:
    """What `write_states` wrote for rows of these settings.

    Raises:
        TargetsError: It is missing, not what was written, or not what their codec learns.
    """
    checksum = settings.state
    path = state_path(folder, checksum)
    tensors = {} if checksum == NOTHING else _read(path, checksum)
    codec = make_codec(settings.codec, settings.codec_options)
    states: dict[str, dict[str, Tensor]] = {record.name: {} for record in settings.heads}
    for name, tensor in tensors.items():
        head, _, part = name.rpartition(".")  # a head's name may have dots, what is learned none
        if head in states:
            states[head][part] = tensor
    for record in settings.heads:
        if fault := codec.state_fault(states[record.name], record.head):
            raise _lost(path, fault)
    return states


def _read(path: Path, checksum: str) -> dict[str, Tensor]:
    try:
        with reading_errors(path):
            raw = path.read_bytes()
        if bytes_hash(raw) != checksum:
            raise _lost(path, f"expected checksum {checksum}, got {bytes_hash(raw)}")
        return load(raw)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _lost(path, "it is missing") from error
    except SafetensorError as error:
        raise _lost(path, str(error)) from error


def state_in(folder: Path) -> str:
    """The checksum of what was learned for the transfer set that is begun in `folder`."""
    return next((Path(name).stem.partition("-")[2] for name in states_in(folder)), NOTHING)


def states_in(folder: Path) -> list[str]:
    """The names of all files of what was learned."""
    return sorted(path.name for path in folder.glob(_NAMES))


def state_path(folder: Path, checksum: str) -> Path:
    """Where the state with this checksum lies."""
    return folder / f"state-{checksum}.safetensors"


def _lost(path: Path, why: str) -> TargetsError:
    return TargetsError(
        f"{path.name} in {path.parent}, which the rows cannot be read without, is damaged: {why}. "
        "Bring it back from a copy, or delete the folder and capture again."
    )
