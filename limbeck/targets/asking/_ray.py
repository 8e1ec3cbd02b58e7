"""Ask on many machines, with Ray: https://docs.ray.io.

The samples are cut in parts, each a task that asks a copy of the teacher and writes shards of its
own. Where a worker is killed, Ray begins its task anew, which keeps what lies in whole shards of
that part: no row is stored twice. Ray itself sends teacher and samples among its processes.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._errors import ExtraError, LimbeckError, OptionError, TargetsError
from limbeck._files import write_along
from limbeck._lookup import first_line
from limbeck._progress import Progress
from limbeck.targets.asking._answers import Batches
from limbeck.targets.asking._ask import Processes, Work, ask_about
from limbeck.targets.format._remote import Place, place_of
from limbeck.targets.format._shards import Shard, index_of, open_shard

_PARTS_OF_A_WORKER = 4
_RETRIES = 3
"""Times that a part is begun anew; a sample that kills every worker must end."""
_SECONDS_TO_STOP = 30.0


def ask_with_ray(
    work: Work, place: Place, batches: Batches, processes: Processes, progress: Progress
) -> None:
    """Ask in the workers of a Ray cluster: the one that is connected, or one of this machine.

    The folder must be the same one for all of them: shared, or remote.
    """
    ray = _library()
    if processes.count > 1:
        raise OptionError('engine = "ray" starts its own processes: run it without torchrun.')
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        _ask(ray, work, place, list(batches), progress)
    finally:
        if started:
            ray.shutdown()


def _ask(
    ray: Any, work: Work, place: Place, batches: Sequence[tuple[Tensor, int]], progress: Progress
) -> None:
    on_gpu = work.teacher.device.type == "cuda"
    workers = int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1))
    count = max(1, min(len(batches), _PARTS_OF_A_WORKER * workers))
    task = ray.remote(num_cpus=1, num_gpus=int(on_gpu), max_retries=_RETRIES)(_ask_part)
    shared = ray.put(work)
    parts = [batches[len(batches) * i // count : len(batches) * (i + 1) // count]
             for i in range(count)]  # fmt: skip
    waiting = {
        task.remote(shared, place.address, part, i, count): sum(len(index) for index, _ in part)
        for i, part in enumerate(parts)
        if part
    }
    begun_at, told, written = time.monotonic(), 0, 0
    try:
        while waiting:
            for done in ray.wait(list(waiting), timeout=1.0)[0]:
                rows, size = ray.get(done)
                told, written = told + rows, written + size
                rate = told / (time.monotonic() - begun_at)
                progress.advance(waiting.pop(done), **{"rows/s": rate, "MB": written / 1e6})
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, LimbeckError):
            raise cause from None
        raise TargetsError(
            f"a part of the samples could not be asked: {first_line(error)}. What is whole stays: "
            "look at the workers' memory, and run the same command again."
        ) from error
    finally:
        for task in waiting:
            ray.cancel(task)
        if waiting:
            ray.wait(list(waiting), num_returns=len(waiting), timeout=_SECONDS_TO_STOP)


def _ask_part(
    work: Work, address: str, batches: Sequence[tuple[Tensor, int]], part: int, count: int
) -> tuple[int, int]:
    """One task: returns the rows that it asked for, of all heads, and the bytes that it wrote."""
    torch.set_num_threads(1)  # a worker has one core
    place = place_of(address)
    place.folder.mkdir(parents=True, exist_ok=True)
    with write_along(place.folder):
        shards = _whole(place, work.number + part, count)
        there = index_of(shards)
        keys = work.samples.keys
        left = []
        for index, view in batches:
            views = np.full(len(index), view, dtype=np.int32)
            absent = index[torch.from_numpy(~there.contain(keys[index.numpy()], views))]
            if len(absent):
                left.append((absent, view))
        number = count + max((s.number for s in shards), default=work.number + part - count)
        asked = 0

        def count_rows(_samples: int, rows: int, _bytes_so_far: int) -> None:
            nonlocal asked
            asked += rows

        size = ask_about(work, place, left, number=number, step=count, told=count_rows)
        return asked, size


def _whole(place: Place, first: int, step: int) -> list[Shard]:
    """The shards of one part that are whole, of an attempt that was killed."""
    names = place.names()
    place.fetch(names & {name for name in names if name.startswith("state-")})
    numbered = {name: int(name.split("-")[1]) for name in names if name.startswith("shard-")}
    own = {name for name, number in numbered.items() if number in range(first, 10**9, step)}
    place.fetch(own)
    return [open_shard(place.folder / name) for name in sorted(own)]


def _library() -> Any:
    try:
        import ray
    except ImportError:
        raise ExtraError("engine = \"ray\" needs ray. pip install 'limbeck[ray]'.") from None
    return ray
