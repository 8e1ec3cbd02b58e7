"""The transfer set: what the teacher said, read back by the content of the samples."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import TargetsError
from limbeck._files import fingerprint
from limbeck._lookup import check_choice
from limbeck.data import Samples
from limbeck.signals import Head, Rows
from limbeck.targets.codecs import Arrays, make_codec
from limbeck.targets.format._columns import Columns
from limbeck.targets.format._differences import differences
from limbeck.targets.format._from_shards import manifest_of
from limbeck.targets.format._index import Keys
from limbeck.targets.format._manifest import (
    Card,
    HeadRecord,
    Manifest,
    TeacherRecord,
    read_manifest,
)
from limbeck.targets.format._remote import brought_here
from limbeck.targets.format._shards import Shard, index_of, open_shard
from limbeck.targets.format._state_file import read_states
from limbeck.targets.reading._aligned import AlignedTargets
from limbeck.targets.reading._positions import Positions, checked_keys, checked_positions
from limbeck.targets.reading._unpacked import (
    arrays_of,
    check_unpacked,
    checked_blocks,
    damaged_copy,
    first_of,
    in_memory,
    mapped,
)

Reading = Literal["memory", "mapped"]
READINGS: tuple[Reading, ...] = get_args(Reading)


class TransferSet:
    """A transfer set on disk: checked whole when it is opened, its rows read when first used.

    Args:
        folder: Where `capture` put it: a path, or an fsspec URL such as "s3://bucket/folder", of
            which what is not here yet is fetched.
        reading: "memory": stored rows are unpacked into memory, in their codes. "mapped": into a
            copy beside the shards, of which the system keeps in memory what is read.

    Raises:
        TargetsError: It is missing, incomplete or damaged. The message names the file.
    """

    def __init__(self, folder: Path | str, *, reading: Reading = "memory") -> None:
        check_choice("reading", reading, READINGS)
        self.folder = brought_here(folder)
        self._reading = reading
        self.manifest: Manifest = read_manifest(self.folder)
        self._shards = [self._open(record.file, record.bytes) for record in self.manifest.shards]
        settings = self.manifest.settings
        self._codec = make_codec(settings.codec, settings.codec_options)
        self.states = read_states(self.folder, settings)
        """By head: what the codec learned of it."""
        true = manifest_of(self._shards).model_copy(update={"settings": settings})
        if true != self.manifest:
            raise self._not_of_one_piece("its shards do not hold what the manifest says")
        self._index = index_of(self._shards)
        if fault := self._index.fault(views=self.views, data=self.manifest.settings.data):
            raise self._not_of_one_piece(fault)

    def __repr__(self) -> str:
        settings = self.manifest.settings
        heads = ", ".join(head.name for head in self.heads)
        return (
            f"<TransferSet {self.folder}: {self.card.rows} rows of {heads}, codec "
            f"{settings.codec}, T = {settings.temperature:g}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes where it lies, and not what is in it."""
        return _open_again, (self.folder.absolute(), self._reading, self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of everything in it: settings, samples and rows."""
        return fingerprint(self.manifest.model_dump(mode="json"))

    @property
    def heads(self) -> tuple[Head, ...]:
        """What was asked."""
        return tuple(record.head for record in self.manifest.settings.heads)

    @property
    def card(self) -> Card:
        """What storing the rows cost in bytes and in truth."""
        return self.manifest.card

    @property
    def temperature(self) -> float:
        """T of categorical and binary rows."""
        return self.manifest.settings.temperature

    @property
    def views(self) -> int:
        """How many views of each sample there are, from view 0."""
        return self.manifest.settings.views

    @property
    def keys(self) -> Keys:
        """`(samples,)`: the content key of every sample that it has rows of."""
        return np.concatenate([shard.keys[shard.views == 0] for shard in self._shards])

    @cached_property
    def like(self) -> Mapping[str, Rows]:
        """The first row of each head, for what all share: kind, temperature, shape of the tail.

        No more is unpacked for it than the first block.
        """
        first = first_of(self._shards, self.manifest)
        return {head.name: self._decode(head, first[head.name]) for head in self.heads}

    def expect(
        self,
        *,
        teacher: str | None = None,
        heads: Sequence[Head] | None = None,
        transform: str | None = None,
        data: str | None = None,
        views: int | None = None,
    ) -> None:
        """Refuse a transfer set of something else. What is None is not looked at.

        Args:
            teacher: The teacher's fingerprint.
            heads: What must have been asked, class names included.
            transform: How views are made: `str(samples.views)`.
            data: `data_fingerprint(samples.keys)`.
            views: How many views are needed; there may be more.

        Raises:
            TargetsError: It names everything that differs.
        """
        settings = self.manifest.settings
        expected: dict[str, Any] = {}
        if teacher is not None:
            expected["teacher"] = TeacherRecord(fingerprint=teacher, name="")
        if heads is not None:
            expected["heads"] = tuple(HeadRecord.of(head) for head in heads)
        if transform is not None:
            expected["transform"] = transform
        if data is not None:
            expected["data"] = data
        if views is not None and views > settings.views:
            expected["views"] = views
        if found := differences(expected, settings):
            raise TargetsError(
                f"{self.folder} holds a transfer set of something else: {'; '.join(found)}. "
                "Capture one into another folder, or delete this one to capture it anew."
            )

    def expect_asked(self) -> None:
        """Refuse rows that no teacher was asked for.

        Raises:
            TargetsError: They were converted from those of another transfer set.
        """
        if origin := self.manifest.settings.origin:
            raise TargetsError(
                f"the rows in {self.folder} were converted from others ({', '.join(origin.path)}), "
                "and were never asked of the teacher. Compare those that they were read from."
            )

    def positions(self, keys: Keys, view: int = 0) -> Tensor:
        """Where the rows of these samples are, `(samples,)` int64, in any order and number.

        Args:
            keys: `(samples,)`: content keys.
            view: Which view of them.

        Raises:
            OptionError: They are no keys.
            TargetsError: Some have no row.
        """
        keys = checked_keys(keys)
        if not 0 <= view < self.views:
            raise TargetsError(
                f"{self.folder} holds views 0..{self.views - 1} of each sample, not view {view}. "
                f"Capture it with views = {view + 1} or more."
            )
        positions, there = self._index.find(keys, view)
        if not there.all():
            raise TargetsError(
                f"the transfer set has no row for {int((~there).sum())} of {len(keys)} samples "
                f"(the first is number {int(there.argmin())}): {self.folder} was made of other "
                "data. Capture it again with these samples, into another folder."
            )
        return torch.from_numpy(positions)

    def read(self, positions: Positions) -> dict[str, Rows]:
        """The rows at these positions, `(samples,)`, by head, in the stored precision.

        Returns:
            Rows `(samples, ...)` of heads that have one row a sample, else `(samples, rows, ...)`.

        Raises:
            OptionError: There are no such positions.
            TargetsError: An unpacked copy names what there is not.
        """
        at = checked_positions(positions, len(next(iter(self._columns.values()))))
        taken = {head.name: self._columns[head.name].take(at) for head in self.heads}
        try:
            return {head.name: self._decode(head, taken[head.name]) for head in self.heads}
        except IndexError as error:  # no shard's, which are looked at when they are unpacked
            raise damaged_copy(self.folder, self.fingerprint) from error

    def aligned(self, samples: Samples) -> AlignedTargets:
        """The rows of these samples, by their place among them, for a training loop."""
        positions = [self.positions(samples.keys, view) for view in range(self.views)]
        return AlignedTargets(positions, self.read)

    def verify(self) -> int:
        """Decode every row, and return how many there are.

        An unpacked copy beside the shards, which `reading = "mapped"` makes, is compared with them.

        Raises:
            TargetsError: A row holds what cannot be, or the copy is not of these rows.
        """
        for _ in self.blocks():
            pass
        check_unpacked(self._shards, self.manifest, self.folder, self.fingerprint)
        return self.card.rows

    def blocks(self) -> Iterator[tuple[Keys, NDArray[np.int32], dict[str, Rows]]]:
        """All rows, a block of some thousand at a time, in the order in which they are stored.

        Returns:
            Content keys, `(samples,)`; which view of it each is; and the rows by head.

        Raises:
            TargetsError: A row holds what cannot be.
        """
        for block in checked_blocks(self._shards, self.manifest):
            rows = {
                record.name: self._decode(record.head, arrays_of(block, record, self._codec))
                for record in self.manifest.settings.heads
            }
            yield block["key"], block["view"], rows

    def _decode(self, head: Head, arrays: Arrays) -> Rows:
        state = self.states[head.name]
        temperature = self.manifest.settings.temperature_of(head)
        decoded = self._codec.decode(arrays, head, state, temperature)
        rows = self.manifest.rows_per_sample[head.name]
        return decoded if rows is None else decoded.of_samples(rows)

    @cached_property
    def _columns(self) -> dict[str, Columns]:
        """Where the stored parts lie: unpacked on first use."""
        if self._reading == "mapped":
            return mapped(self._shards, self.manifest, self.folder, self.fingerprint)
        return in_memory(self._shards, self.manifest)

    def _open(self, file: str, size: int) -> Shard:
        shard = open_shard(self.folder / file, expected_bytes=size)
        settings = shard.settings.merged_into(self.manifest.settings)
        of_one = (settings, shard.rows_per_sample)
        if of_one != (self.manifest.settings, self.manifest.rows_per_sample):
            raise self._not_of_one_piece(f"{file} is of another transfer set")
        return shard

    def _not_of_one_piece(self, why: str) -> TargetsError:
        return TargetsError(
            f"the transfer set in {self.folder} is not of one piece: {why}. Delete the folder and "
            "capture it again."
        )


def _open_again(folder: Path, reading: Reading, expected: str) -> TransferSet:
    targets = TransferSet(folder, reading=reading)
    if targets.fingerprint != expected:
        raise TargetsError(
            f"the transfer set in {folder} was replaced while it was read: expected {expected}, "
            f"got {targets.fingerprint}. Open it again."
        )
    return targets
