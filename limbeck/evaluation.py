"""The one measurement: scores, fidelity, calibration, size, FLOPs and latency."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limbeck._errors import TrainingError
from limbeck._lookup import check_choice
from limbeck._outputs import OUTPUTS, as_logits, call, calling, check_outputs, read_outputs
from limbeck.data import Samples
from limbeck.metrics import (
    agreement,
    agreement_when_wrong,
    expected_calibration_error,
    mean_kl,
    metric_for,
)
from limbeck.models import parameter_count
from limbeck.results import Latency
from limbeck.signals import Batch, Head, Inputs
from limbeck.teachers import Teacher

BATCH_SIZE = 512
"""Samples that are asked at once where only the answers matter."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one model said of a whole split, for one head, beside the labels."""

    rows: Tensor
    """`(rows, size)` float32 on the CPU: logits, or numbers. Rows that do not count are gone."""
    labels: Tensor
    """`(rows,)` class ids, or `(rows, size)`."""


@torch.no_grad()
def answer_all(
    answer: Callable[[Inputs], dict[str, Tensor]], samples: Samples, head: Head
) -> Answers:
    """Ask for every sample of a split.

    Args:
        answer: From a batch of inputs to logits or numbers by head: `Teacher.answer`, or
            `as_answerer` of a student.
        samples: The split.
        head: The head to read.

    Raises:
        TrainingError: An answer is not finite.
    """
    rows, labels = [], []
    for index in torch.split(torch.arange(len(samples)), BATCH_SIZE):
        batch = samples.fetch(index)
        said = answer(batch.inputs)[head.name].float().cpu()
        rows.append(_counted(said, batch, head))
        labels.append(_counted(batch.labels[head.name], batch, head))
    joined = torch.cat(rows)
    if not bool(torch.isfinite(joined).all()):
        raise TrainingError(
            f"a trained model's answers for head {head.name} are not finite. Lower "
            "train.learning_rate, or set train.clip."
        )
    return Answers(rows=joined, labels=torch.cat(labels))


def as_answerer(
    model: nn.Module, heads: tuple[Head, ...], *, outputs: str = "logits"
) -> Callable[[Inputs], dict[str, Tensor]]:
    """A function from inputs to the model's logits, or numbers, by head.

    Args:
        model: In eval mode.
        heads: What it answers.
        outputs: "logits", or "probabilities", whose logarithms are the logits.
    """
    check_choice("outputs", outputs, OUTPUTS)
    unheard = list(heads)

    def answer(inputs: Inputs) -> dict[str, Tensor]:
        with calling("the model", inputs):
            output = call(model, _beside(model, inputs))
        said = read_outputs(output, heads, who="student")
        while unheard:
            head = unheard.pop()
            check_outputs(said[head.name], head, outputs, who="the model")
        return as_logits(said, heads, outputs)

    return answer


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _beside(model: nn.Module, inputs: Inputs) -> Inputs:
    """The inputs, where the model's weights are."""
    device = _device_of(model)
    if isinstance(inputs, dict):
        return {name: part.to(device) for name, part in inputs.items()}
    return inputs.to(device)


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """How near one model's answers are to the teacher's; None where the head has no classes."""

    agreement: float | None
    agreement_when_teacher_wrong: float | None
    kl: float | None


def nearness(student: Answers, teacher: Answers, head: Head) -> Nearness:
    """Agreement with the teacher, also where it is wrong, and KL(teacher || student)."""
    if head.space != "categorical":
        return Nearness(agreement=None, agreement_when_teacher_wrong=None, kl=None)
    return Nearness(
        agreement=agreement(student.rows, teacher.rows),
        agreement_when_teacher_wrong=agreement_when_wrong(
            student.rows, teacher.rows, teacher.labels
        ),
        kl=mean_kl(student.rows, teacher.rows),
    )


def calibration_error(answers: Answers, head: Head) -> float | None:
    """Expected calibration error; None where the head has no classes."""
    if head.space != "categorical":
        return None
    return expected_calibration_error(answers.rows, answers.labels)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model weighs, and what one of its answers costs."""

    parameters: int | None
    bytes: int | None
    flops_per_example: int | None
    latency_ms: Latency | None


def cost(model: Any, samples: Samples) -> Cost:
    """Size, FLOPs by torch's counter, and latency at batch 1 and 256; None for what is no module.

    FLOPs are those of matrix products, convolutions and attention in one forward pass of one
    sample. Latency is the median of repeated passes after a warm-up, on the model's device.
    """
    if not isinstance(model, nn.Module):
        return Cost(parameters=None, bytes=None, flops_per_example=None, latency_ms=None)
    one = samples.fetch(torch.zeros(1, dtype=torch.long)).inputs
    many = samples.fetch(torch.arange(256) % len(samples)).inputs
    return Cost(
        parameters=parameter_count(model),
        bytes=sum(
            part.numel() * part.element_size() for part in (*model.parameters(), *model.buffers())
        ),
        flops_per_example=flops(model, one) or None,  # 0 would be made up
        latency_ms=Latency(
            batch_1=median_latency_ms(model, one), batch_256=median_latency_ms(model, many)
        ),
    )


@torch.no_grad()
def flops(model: nn.Module, inputs: Inputs) -> int:
    """Floating-point operations of one forward pass of this batch, by torch's counter.

    A multiplication and the addition that follows are two: a linear layer is 2 x inputs x outputs
    for each row. What is no matrix product, convolution or attention counts nothing.
    """
    counter = FlopCounterMode(display=False)
    with _spelled_out(), counter:
        call(model, _beside(model, inputs))
    return int(counter.get_total_flops())


@contextmanager
def _spelled_out() -> Iterator[None]:
    """Have attention and recurrent layers make the products that the counter knows.

    Their fused forms on a CPU, and those of cuDNN, count nothing.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    fused, *_ = torch.backends.mkldnn.set_flags(  # type: ignore[no-untyped-call]
        _enabled=False, _fp32_precision=None
    )
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.set_flags(  # type: ignore[no-untyped-call]
            _enabled=fused, _fp32_precision=None
        )


@torch.no_grad()
def median_latency_ms(model: nn.Module, inputs: Inputs, *, seconds: float = 0.2) -> float:
    """Median milliseconds of one forward pass: 3 to warm up, then 10 or more, for `seconds`."""
    device, inputs = _device_of(model), _beside(model, inputs)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 13 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        call(model, inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:]) * 1e3


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` measures of one model."""

    metric: str
    score: float
    calibration_error: float | None
    nearness: Nearness | None
    """None without a teacher."""
    cost: Cost


def evaluate(
    model: nn.Module,
    samples: Samples,
    heads: tuple[Head, ...],
    *,
    teacher: Teacher | None = None,
    outputs: str = "logits",
    metric: str | None = None,
) -> Evaluation:
    """Measure one model on one split.

    Args:
        model: A torch module; it is left in eval mode.
        samples: The split.
        heads: What the model answers; the first one is scored.
        teacher: To say how near the model is to it.
        outputs: "logits" or "probabilities".
        metric: A metric's name; the first that fits the labels if left out.
    """
    head = heads[0]
    chosen = metric_for(head, metric)
    model.eval()
    answers = answer_all(as_answerer(model, heads, outputs=outputs), samples, head)
    near = None
    if teacher is not None:
        near = nearness(answers, answer_all(teacher.logits, samples, head), head)
    return Evaluation(
        metric=chosen.name,
        score=chosen.score(answers.rows, answers.labels),
        calibration_error=calibration_error(answers, head),
        nearness=near,
        cost=cost(model, samples),
    )


def _counted(tensor: Tensor, batch: Batch, head: Head) -> Tensor:
    """The rows that count of answers or labels, with their leading axes made one."""
    if head.space == "categorical":
        batch_axes = batch.labels[head.name].dim()
    else:
        batch_axes = batch.labels[head.name].dim() - 1
    flat = tensor.flatten(0, batch_axes - 1)
    return flat if batch.mask is None else flat[batch.mask.flatten()]
