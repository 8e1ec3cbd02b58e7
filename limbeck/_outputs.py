"""Call any torch module, and find each head's rows in whatever it returns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from limbeck._errors import LimbeckError, ModelError, ShapeError
from limbeck._lookup import first_line, place_of
from limbeck._state import is_keras
from limbeck.signals import Batch, Head, Inputs

Outputs = Literal["logits", "probabilities"]
"""What a model gives for classes: logits, or non-negative scores of any sum."""
OUTPUTS: tuple[str, ...] = get_args(Outputs)

_VOCABULARY = 1024
"""A head of fewer classes is no vocabulary."""
_PADDING = 512
"""So many logits, or more, that stand for no token are no rounding up."""
_LITTLE = 1e-3
"""Nor are logits that hold more of the probability than this, and than they would by chance."""


def call(model: nn.Module, inputs: Inputs) -> Any:
    """What `model` returns for a batch; a Keras model is told whether it is in training."""
    plain = model.module if isinstance(model, DistributedDataParallel) else model
    if is_keras(plain):
        return model(inputs, training=model.training)
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


def put_through(model: nn.Module, inputs: Inputs, *, who: str) -> Any:
    """What `model` returns in eval mode for a batch on any device; its mode is left as it was.

    Raises:
        ModelError: It cannot be called with these inputs.
    """
    device = next((part.device for part in model.parameters()), torch.device("cpu"))
    given = (
        {name: part.to(device) for name, part in inputs.items()}
        if isinstance(inputs, dict)
        else inputs.to(device)
    )
    training = model.training
    model.eval()
    try:
        with calling(who, given):
            return call(model, given)
    finally:
        model.train(training)


@contextmanager
def calling(who: str, inputs: Inputs) -> Iterator[None]:
    """Turn what torch says of a model that cannot be called with these inputs into a ModelError."""
    try:
        yield
    except LimbeckError:
        raise
    except Exception as error:
        said = first_line(error)
        if not isinstance(error, (RuntimeError, TypeError, ValueError, IndexError)):
            said = f"{type(error).__name__}: {said}"
        raise ModelError(
            f"{who} cannot be called with the inputs {shape_of(inputs)}: {said}{place_of(error)}. "
            "Give it a model that takes them."
        ) from error


def answers_of(
    model: nn.Module, batch: Batch, heads: Sequence[Head], *, who: str
) -> dict[str, Tensor]:
    """What `model` says of a batch, by head; refused unless it fits the labels, row by row.

    Raises:
        ModelError: The model cannot be called with the batch, or does not answer a head.
        ShapeError: Its answers do not fit the head, or the labels.
    """
    with calling(who, batch.inputs):
        output = call(model, batch.inputs)
    answers = read_outputs(output, heads, who=who.removeprefix("the "))
    check_fit(answers, heads, batch, who=who)
    return answers


def shape_of(inputs: Inputs) -> str:
    """Shapes and types in words: "(64, 8, 8) float32"; by name, where there are several."""
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {shape_of(part)}" for name, part in inputs.items())
    return f"{tuple(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"


def read_outputs(
    output: Any, heads: Sequence[Head], *, who: str, look: bool = False
) -> dict[str, Tensor]:
    """Each head's rows, `(batch, size)` or `(batch, rows, size)`, in what a model returned.

    Args:
        output: A tuple or list that begins with a tensor for each head, or a dict by head name;
            where there is one head, also a tensor, or an output with `logits`.
        heads: What was to be answered. Logits by which a vocabulary is rounded up are left out:
            they stand for no token, and get no mass.
        who: "teacher" or "student", for the message.
        look: Whether to see to it that these stand for no token: someone who was trained gives
            them no mass.

    Raises:
        ModelError: There is no answer for a head, or one in whole numbers.
        ShapeError: An answer's last axis is not the head's size.
    """
    answers = {head.name: _find(output, place, heads, who) for place, head in enumerate(heads)}
    for head in heads:
        rows = answers[head.name]
        if not rows.is_floating_point():
            raise ModelError(
                f"the {who} must answer with floating point numbers for head {head.name}, got "
                f"{str(rows.dtype).removeprefix('torch.')}. Return its scores, not the classes "
                "that it chose, or convert them."
            )
        if rows.dim() == 1 and head.size == 1:
            answers[head.name] = rows = rows[:, None]
        if _is_padded_vocabulary(rows, head):
            if look:
                _check_padding(rows, head, who=who)
            answers[head.name] = rows = rows[..., : head.size]
        if rows.dim() < 2 or rows.shape[-1] != head.size:
            what = "classes" if head.space in ("categorical", "binary") else "numbers"
            raise ShapeError(
                f"the {who} must answer {head.size} {what} for head {head.name}, got an answer of "
                f"shape {tuple(rows.shape)}. Give it an output layer of that size, or the data's "
                "own class list."
                + _MEANT_CLASSES
                * (head.space == "real" and rows.shape[-1:] != (1,))
            )
    return answers


def auxiliary_loss(output: Any, *, who: str) -> Tensor | None:
    """What a model adds to its own loss in training: `auxiliary_loss` in the dict that it returned.

    A number, or one for each sample, whose mean counts: a penalty of how it decides, of which
    expert it asked, ... None where there is none.

    Raises:
        ModelError: It is neither.
    """
    found = output.get("auxiliary_loss") if isinstance(output, Mapping) else None
    if found is None:
        return None
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.dim() > 1:
        got = f"a tensor {shape_of(found)}" if isinstance(found, Tensor) else type(found).__name__
        raise ModelError(
            f"the auxiliary_loss of {who} must be a floating point tensor of shape () or (batch,), "
            f"got {got}."
        )
    return found.mean() if found.numel() else found.sum()


_MEANT_CLASSES = (
    " Labels that are not whole numbers make it a regression: if they are classes, give integers."
)


def _is_padded_vocabulary(rows: Tensor, head: Head) -> bool:
    """Whether a model answers for more tokens than there are, to round its output layer up.

    So do many language models (Qwen2.5: 151,936 or 152,064 logits for 151,665 tokens). Elsewhere a
    class too many is a mistake: which one is it?
    """
    width = rows.shape[-1]
    per_token = head.space == "categorical" and rows.dim() == 3 and head.size >= _VOCABULARY
    return per_token and head.size < width < head.size + _PADDING and width % 8 == 0


def _check_padding(rows: Tensor, head: Head, *, who: str) -> None:
    share = 1 - head.size / rows.shape[-1]  # what someone untrained gives them
    mass = float(rows.float().softmax(dim=-1)[..., head.size :].sum(dim=-1).mean())
    if mass > 2 * share + _LITTLE:
        raise ShapeError(
            f"the {who} answers {rows.shape[-1]} classes for head {head.name}, which has "
            f"{head.size}, and gives those beyond it {mass:.1%} of the probability: they are no "
            "rounding up. Give it an output layer of that size, or the data's own class list."
        )


def check_fit(
    answers: Mapping[str, Tensor], heads: Sequence[Head], batch: Batch, *, who: str
) -> None:
    """Refuse answers that do not stand row by row beside the labels of the batch.

    Args:
        answers: By head, as `read_outputs` gives them.
        heads: What they answer; one without labels is not looked at.
        batch: What was asked.
        who: "the teacher", "student small", for the message.

    Raises:
        ShapeError: It gives both shapes.
    """
    for head in heads:
        if head.name not in batch.labels:
            continue
        labels, got = tuple(batch.labels[head.name].shape), tuple(answers[head.name].shape)
        expected = (*labels, head.size) if head.space == "categorical" else labels
        if got != expected:
            raise ShapeError(
                f"{who} must answer {expected} for head {head.name}, since its labels are "
                f"{labels}, got {got}. The first axis must be the batch, and each label has one "
                "row of answers: reshape what the model returns."
            )


def check_outputs(rows: Tensor, head: Head, outputs: str, *, who: str) -> None:
    """Refuse probabilities where logits were announced, and the other way round.

    A softmax of probabilities is nearly flat: who learns from it learns next to nothing, silently.

    Args:
        rows: What a model gave, `(..., size)`.
        head: For which head.
        outputs: "logits" or "probabilities": what it was said to give.
        who: "the teacher", "student small", for the message.

    Raises:
        ModelError: It says which word to change.
    """
    if head.space == "real":
        return
    positive = bool((rows >= 0).all())
    if head.space == "categorical":
        probable = positive and bool(((rows.float().sum(-1) - 1).abs() < 1e-3).all())
        seen = "every number is 0 or more, and every row sums to 1"
    else:
        # A few log-odds may lie within 0..1 by chance; many do not.
        probable = positive and bool((rows <= 1).all()) and rows.numel() >= 64
        seen = "every number is within 0..1"
    if outputs == "logits" and probable:
        raise ModelError(
            f"{who} must give logits for head {head.name}, got what look like probabilities: "
            f'{seen}. Say so, with outputs = "probabilities" (and compress = "normalised" for a '
            "teacher), or take the last softmax or sigmoid out of the model."
        )
    if outputs == "probabilities" and not positive:
        raise ModelError(
            f"{who} must give probabilities, or other scores of 0 or more, for head {head.name}, "
            f'got {float(rows.min()):.3g}. If they are logits, set outputs = "logits" (and '
            'compress = "softmax" for a teacher).'
        )


def first_not_finite(rows: Tensor, head: Head, outputs: str) -> int | None:
    """The first of `(batch, ..., size)` that holds what is not finite; None if there is none.

    A class may have the logit -inf, if not all of a row do.
    """
    # A sum says it of all at a tenth of the time, where nothing is infinite.
    if bool(torch.isfinite(rows.sum(dim=-1)).all()):
        return None
    fits = torch.isfinite(rows)
    if outputs == "logits" and head.space == "categorical":
        fits = fits | ((rows == -torch.inf) & fits.any(dim=-1, keepdim=True))
    return None if bool(fits.all()) else int((~fits).flatten(1).any(1).nonzero()[0])


def as_logits(rows: dict[str, Tensor], heads: Sequence[Head], outputs: str) -> dict[str, Tensor]:
    """Logits by head of answers that may be probabilities; numbers stay as they are.

    Args:
        rows: By head, as `read_outputs` gives them.
        heads: What they answer.
        outputs: "logits", or "probabilities", whose logarithms, or log-odds, are the logits. A
            probability of 0 becomes the smallest one that float32 holds, or 1e-6 for log-odds.
    """
    if outputs == "logits":
        return rows
    tiny = torch.finfo(torch.float32).tiny
    logits = dict(rows)
    for head in heads:
        said = rows[head.name].float()
        if head.space == "categorical":
            logits[head.name] = said.clamp_min(tiny).log()
        elif head.space == "binary":
            logits[head.name] = torch.logit(said, eps=1e-6)
    return logits


def _find(output: Any, position: int, heads: Sequence[Head], who: str) -> Tensor:
    head, only = heads[position], len(heads) == 1
    found: Any = None
    if isinstance(output, Mapping):
        found = output.get(head.name)
        if found is None and only:
            found = output.get("logits")
    elif isinstance(output, (tuple, list)):
        found = output[position] if position < len(output) else None
    elif only:
        found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(found, Tensor):
        named = f" with the keys {sorted(output)}" if isinstance(output, Mapping) else ""
        raise ModelError(
            f"the {who} gave no tensor for head {head.name}: it returned "
            f"{type(output).__name__}{named}. Return a dict with the key "
            f'"{head.name}"'
            + (', a tensor, or an output with "logits".' if only else ", or a tuple of tensors.")
        )
    return found
