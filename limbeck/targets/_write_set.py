"""Write a transfer set of rows that no teacher has to be asked for: they are read elsewhere."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from limbeck._errors import TargetsError
from limbeck._files import only_writer
from limbeck.targets.encoding._encoder import Stored
from limbeck.targets.format._blocks import RowsPerSample, shard_schema
from limbeck.targets.format._differences import differences
from limbeck.targets.format._from_shards import manifest_of
from limbeck.targets.format._manifest import MANIFEST, Settings, write_manifest
from limbeck.targets.format._remote import Place, place_of
from limbeck.targets.format._shard_writer import ShardWriter, remove_leftovers
from limbeck.targets.format._shards import whole_shards
from limbeck.targets.format._state_file import States, state_path, write_states
from limbeck.targets.reading._transfer_set import TransferSet


def write_set(
    out: Path | str,
    settings: Settings,
    rows_per_sample: RowsPerSample,
    states: States,
    stored: Iterable[Stored],
) -> TransferSet:
    """Write rows as a new transfer set; what a killed call of the same left is begun anew.

    Args:
        out: A folder that is new, or its URL.
        settings: What the rows came from.
        rows_per_sample: By head.
        states: What the codec learned of each head.
        stored: The columns of some samples at a time.

    Raises:
        TargetsError: There is something else already.
    """
    place = place_of(out)
    refuse_whole(place, out)
    place.begin()
    with only_writer(place.folder):
        place.pull()
        _clear(place, settings)
        if checksum := write_states(place.folder, states):
            place.put(state_path(place.folder, checksum).name)
        settings = settings.model_copy(update={"state": checksum})
        schema = shard_schema(settings, rows_per_sample)
        with ExitStack() as undo:
            undo.callback(_clear, place, settings)  # half of it is of no use to anybody
            with ShardWriter(place.folder, schema, number=0, closed=place.put) as writer:
                for columns, faithfulness in stored:
                    writer.add(columns, faithfulness)
            undo.pop_all()
        write_manifest(place.folder, manifest_of(whole_shards(place.folder)))
        place.put(MANIFEST)
    return TransferSet(out)


def refuse_whole(place: Place, out: Path | str) -> None:
    """Refuse a place where a whole transfer set lies."""
    if place.open():
        raise TargetsError(
            f"{out} holds a transfer set already. Choose another folder, or delete this one."
        )


def _clear(place: Place, settings: Settings) -> None:
    ours = {name: getattr(settings, name) for name in set(Settings.model_fields) - {"state"}}
    for shard in whole_shards(place.folder):
        if found := differences(ours, shard.settings):
            raise TargetsError(
                f"{place.folder} holds rows of something else: {'; '.join(found)}. Choose another "
                "folder."
            )
        place.remove(shard.path.name)
    remove_leftovers(place.folder)
