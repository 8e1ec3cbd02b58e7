"""Several transfer sets of one teacher, over different samples, as one.

Shards are taken over whole: rows are found by content, so nothing in them changes.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck._errors import OptionError, TargetsError
from limbeck._files import only_writer, write_atomically
from limbeck.targets._write_set import refuse_whole
from limbeck.targets.format._differences import differences
from limbeck.targets.format._from_shards import manifest_of
from limbeck.targets.format._manifest import MANIFEST, Settings, write_manifest
from limbeck.targets.format._remote import Place, place_of
from limbeck.targets.format._shards import Shard, open_shard, whole_shards
from limbeck.targets.format._state_file import state_path
from limbeck.targets.reading._transfer_set import TransferSet


def merge(out: Path | str, folders: Sequence[Path | str]) -> TransferSet:
    """Make one transfer set of several that differ in their samples only.

    A shard that several hold is taken once. Called again after an interruption, it goes on, in
    whatever order they are named.

    Args:
        out: A folder that is new, or its URL.
        folders: At least two transfer sets, or their URLs.

    Raises:
        TargetsError: They are of different teachers, heads, codecs, ..., or two of them hold rows
            of one sample.
    """
    if len(folders) < 2:
        raise OptionError(f"merge takes two transfer sets or more, got {len(folders)}.")
    sets = [TransferSet(folder) for folder in folders]
    for other in sets[1:]:
        _refuse_others(sets[0], other)
    shards = _without_copies(sets)
    place = place_of(out)
    refuse_whole(place, out)
    place.begin()
    with only_writer(place.folder):
        place.pull()
        named = {f"shard-{i:05d}-{shard.checksum}.arrow": shard for i, shard in enumerate(shards)}
        _clear(place, named)
        if checksum := sets[0].manifest.settings.state:
            state = state_path(sets[0].folder, checksum)
            _take(place, state, state.name)
        for name, shard in named.items():
            _take(place, shard.path, name)
        write_manifest(place.folder, manifest_of(whole_shards(place.folder)))
        place.put(MANIFEST)
    return TransferSet(out)


def _refuse_others(first: TransferSet, other: TransferSet) -> None:
    expected = first.manifest.settings
    got = other.manifest.settings.merged_into(expected)
    fields = sorted(Settings.model_fields)
    found = differences({name: getattr(expected, name) for name in fields}, got)
    if found and expected == got.model_copy(update={"state": expected.state}):
        raise TargetsError(
            f"{other.folder} cannot be merged with {first.folder}: what their codec, "
            f"{expected.codec}, learned of their rows differs. Capture the second one anew with "
            f"like = {str(first.folder)!r}, or convert both to a codec that learns nothing."
        )
    if first.manifest.rows_per_sample != other.manifest.rows_per_sample:
        found.append(
            f"rows of a sample: expected {first.manifest.rows_per_sample}, got "
            f"{other.manifest.rows_per_sample}"
        )
    if found and (expected.origin is None) != (got.origin is None):
        converted, captured = (first, other) if got.origin is None else (other, first)
        raise TargetsError(
            f"{other.folder} cannot be merged with {first.folder}: {converted.folder} was "
            f"converted, and {captured.folder} was captured. Convert that one the same way."
        )
    if found:
        raise TargetsError(
            f"{other.folder} cannot be merged with {first.folder}: {'; '.join(found)}. They may "
            "differ in their samples only; `limbeck targets convert` changes the codec."
        )


def _without_copies(sets: Sequence[TransferSet]) -> list[Shard]:
    """Every shard once, of which no two hold rows of the same (sample, view)."""
    kept: dict[str, Shard] = {}
    for each in sets:
        for record in each.manifest.shards:
            kept.setdefault(record.checksum, open_shard(each.folder / record.file))
    shards = list(kept.values())
    content = np.concatenate([_content(shard) for shard in shards])
    doubled = len(content) - len(np.unique(content))
    if doubled:
        raise TargetsError(
            f"{doubled} samples have rows in several of the transfer sets that are to be merged, "
            "in shards that are not copies of each other. Capture only the samples that the "
            "others do not hold."
        )
    return shards


def _content(shard: Shard) -> NDArray[np.void]:
    content = np.empty(len(shard.keys), dtype=[("key", np.uint64), ("view", np.int32)])
    content["key"], content["view"] = shard.keys, shard.views
    return content


def _clear(place: Place, named: Mapping[str, Shard]) -> None:
    """Remove what an interrupted merge in another order left, and refuse what is of others."""
    ours = {shard.checksum for shard in named.values()}
    strays = [path for path in place.folder.glob("shard-*.arrow") if path.name not in named]
    for path in sorted(strays):
        if path.stem.rpartition("-")[2] not in ours:
            raise TargetsError(
                f"{place.folder} holds {path.name}, which is of something else. Choose another "
                "folder."
            )
    for path in strays:  # each would be there twice
        place.remove(path.name)


def _take(place: Place, path: Path, name: str) -> None:
    """Have a whole file at the place under this name: the same bytes where links are known."""

    def write(beside: Path) -> None:
        shutil.copyfile(path, beside)

    target = place.folder / name
    if target.exists():
        return
    try:
        os.link(path, target)
    except OSError:  # on another file system, or one that knows no links
        write_atomically(target, write)
    place.put(name)
