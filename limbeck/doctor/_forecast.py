"""What a run will take: seconds by stage, and memory by model, from a few real steps."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import torch
from torch import Tensor

from limbeck import _format as form
from limbeck.doctor._findings import Findings
from limbeck.doctor._lessons import Lesson
from limbeck.methods import mean_terms
from limbeck.recipe import Recipe
from limbeck.signals import Rows
from limbeck.train import make_optimizer

_ORDER = ("teacher", "targets", "assistant", "control", "distil")
_FEWEST, _MOST = 3, 15
_ENOUGH_SECONDS, _TOO_MANY_SECONDS = 0.2, 6.0


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How long the teacher takes to answer one batch."""

    seconds: float
    samples: int


def look_ahead(
    recipe: Recipe,
    lessons: Sequence[Lesson],
    taught: Mapping[str, Rows],
    asking: Asking,
    num_samples: int,
    found: Findings,
) -> None:
    """Train each model for a few steps, and multiply.

    Args:
        recipe: How long it goes on.
        lessons: Who learns, those of one stage together; their models are changed.
        taught: The teacher's rows for the students' batch.
        asking: What a teacher's answer takes.
        num_samples: Training samples.
        found: Takes the tables.
    """
    stages, memory, total = [], [], 0.0
    per_sample = asking.seconds / asking.samples
    asked = num_samples * recipe.targets.views
    if not recipe.distil.live:
        twice = asked * (2 if recipe.targets.features else 1)  # once more for what is inside
        seconds = twice * per_sample
        stages.append(["targets", "teacher", f"{twice} samples", "-", form.seconds(seconds)])
        total += seconds
    for stage, group in groupby(lessons, key=lambda lesson: lesson.stage):
        members = list(group)
        of_seeds = stage in ("control", "distil")
        steps = _steps(members[0], num_samples) * (recipe.seeds if of_seeds else 1)
        seconds = 0.0
        for lesson in members:
            step_seconds, row = _rehearse(lesson, taught, found)
            of_batch = min(lesson.settings.batch_size, num_samples)
            seconds += step_seconds * of_batch / len(lesson.batch)
            if stage != "control":  # a control's memory is its student's
                memory.append(row)
        inside = recipe.distil.taps and not recipe.targets.features
        if stage not in ("teacher", "control") and (recipe.distil.live or inside):
            seconds += asking.seconds
        names = ", ".join(lesson.name for lesson in members)
        whole = steps * seconds
        kind = stage.partition(" ")[0]  # of "assistant NAME"
        stages.append([kind, names, f"{steps} steps", form.seconds(seconds), form.seconds(whole)])
        total += whole
        if kind == "assistant" and not recipe.distil.live:
            seconds = asked * _seconds_of_an_answer(members[0])
            stages.append(["targets", names, f"{asked} samples", "-", form.seconds(seconds)])
            total += seconds
    stages.sort(key=lambda row: _ORDER.index(row[0]))
    stages.append(["in all", "", "", "", form.seconds(total)])
    columns = ["stage", "models", "work", "a step", "forecast"]
    found.tables.append(("Time (an estimate)", columns, stages))
    columns = ["model", "parameters", "gradients", "optimiser", "activations", "in all"]
    found.tables.append(("Memory in training (an estimate)", columns, memory))
    found.notes.append(
        "Times are medians of a few steps here, in float32; validation, evaluation and "
        "reading data from disk come on top. Activations are what one batch keeps for its "
        "backward pass."
    )


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median time of `work` after one to warm up: of three, or more where it is short."""
    times: list[float] = []
    while len(times) < 2 or _goes_on(len(times) - 1, sum(times)):
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def _goes_on(measured: int, seconds: float) -> bool:
    if measured < _FEWEST:
        return seconds < _TOO_MANY_SECONDS
    return measured < _MOST and seconds < _ENOUGH_SECONDS


def _steps(lesson: Lesson, num_samples: int) -> int:
    return lesson.settings.epochs * math.ceil(num_samples / lesson.settings.batch_size)


@torch.no_grad()
def _seconds_of_an_answer(lesson: Lesson) -> float:
    model = lesson.learner.model.eval()
    seconds = median_seconds(lesson.said, next(model.parameters()).device)
    return seconds / len(lesson.batch)


def _rehearse(
    lesson: Lesson, taught: Mapping[str, Rows], found: Findings
) -> tuple[float, list[str]]:
    """Seconds of a step, and a row of the table of memory; warns of steps that lead nowhere."""
    model = lesson.learner.model.train()
    taught = lesson.taught(taught)  # by other students, too, which take their own time
    learning = [*model.parameters(), *lesson.learner.beside.parameters()]
    optimizer = make_optimizer(learning, lesson.settings)

    averages = lesson.learner.decay is not None

    def step() -> None:
        if averages:
            with torch.no_grad():
                lesson.said()  # as the average does at every step
        _loss(lesson, taught).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = median_seconds(step, next(model.parameters()).device)
    if not bool(torch.isfinite(_loss(lesson, taught))):
        found.warnings.append(
            f"after a few steps the loss of {lesson.name} is not finite. Lower "
            f"{lesson.train}.learning_rate ({lesson.settings.learning_rate:g}), or set "
            f"{lesson.train}.warmup or {lesson.train}.clip."
        )
    parts = [
        sum(map(_bytes, chain(learning, lesson.learner.beside.buffers())))
        + (sum(map(_bytes, model.parameters())) if averages else 0),
        sum(_bytes(part) for part in learning if part.requires_grad),
        sum(
            _bytes(part)
            for state in optimizer.state.values()
            for part in state.values()
            if isinstance(part, Tensor)
        ),
        _activation_bytes(lesson, taught),
    ]
    return seconds, [lesson.name, *(form.size(part) for part in (*parts, sum(parts)))]


def _loss(lesson: Lesson, taught: Mapping[str, Rows]) -> Tensor:
    terms = lesson.learner.objective
    means = mean_terms(terms, lesson.answers(), taught, lesson.batch)
    return torch.stack([term.weight * means[term.name] for term in terms]).sum()


def _activation_bytes(lesson: Lesson, taught: Mapping[str, Rows]) -> int:
    """Bytes of the tensors that a forward pass keeps for its backward pass."""
    learner = lesson.learner
    weights = chain(learner.model.parameters(), learner.beside.parameters())
    known = {part.untyped_storage().data_ptr() for part in weights}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # Held until all is counted, so that no two tensors can have the same place in turn.
        loss = _loss(lesson, taught)
    size = sum(kept.values())
    del loss
    return size


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
