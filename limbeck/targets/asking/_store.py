"""Encode and write what the teacher said, while it answers the next batch."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from torch import Tensor

from limbeck.targets.encoding._encoder import Encoder
from limbeck.targets.format._index import Keys
from limbeck.targets.format._shard_writer import ShardWriter


class Store:
    """Answers into shards, one batch behind the teacher; a context manager.

    At its end everything is written, after an error or Ctrl-C too.

    Args:
        encoder: Makes columns of answers.
        writer: Makes shards of columns.
    """

    def __init__(self, encoder: Encoder, writer: ShardWriter) -> None:
        self._encoder = encoder
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="limbeck-targets")
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)
        failed = None if self._pending is None else self._pending.exception()
        first = error or failed
        self._writer.__exit__(None if first is None else type(first), first, traceback)
        if error is None and failed is not None:
            raise failed

    @property
    def so_far(self) -> int:
        """Bytes on disk, those of the open shard too."""
        return self._writer.written + self._writer.open_bytes

    @property
    def written(self) -> int:
        """Bytes of the shards that are whole."""
        return self._writer.written

    def put(self, keys: Keys, view: int, answers: Mapping[str, Tensor]) -> None:
        """Take a batch of answers; returns when the batch before it is stored.

        Raises:
            ModelError: An answer before this one was not what it must be.
            StorageError: It could not be written.
        """
        if self._pending is not None:
            self._pending.result()
        self._pending = self._thread.submit(self._store, keys, view, answers)

    def _store(self, keys: Keys, view: int, answers: Mapping[str, Tensor]) -> None:
        for columns, faithfulness in self._encoder.encode(keys, view, answers):
            self._writer.add(columns, faithfulness)
