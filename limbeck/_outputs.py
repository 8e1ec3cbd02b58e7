"""Call any torch module, and find each head's rows in whatever it returns."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._errors import LimbeckError, ModelError, ShapeError
from limbeck.signals import Head, Inputs


def call(model: nn.Module, inputs: Inputs) -> Any:
    """What `model` returns for a batch; a Keras model is told whether it is in training."""
    if "keras" in sys.modules and isinstance(model, sys.modules["keras"].layers.Layer):
        return model(inputs, training=model.training)
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


@contextmanager
def calling(who: str, inputs: Inputs) -> Iterator[None]:
    """Turn what torch says of a model that cannot be called with these inputs into a ModelError."""
    try:
        yield
    except LimbeckError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        said = str(error).partition("\n")[0]
        raise ModelError(
            f"{who} cannot be called with the inputs {shape_of(inputs)}: {said}. Give it a model "
            "that takes them."
        ) from error


def shape_of(inputs: Inputs) -> str:
    """Shapes and types in words: "(64, 8, 8) float32"; by name, where there are several."""
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {shape_of(part)}" for name, part in inputs.items())
    return f"{tuple(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"


def read_outputs(output: Any, heads: Sequence[Head], *, who: str) -> dict[str, Tensor]:
    """Each head's rows, `(batch, size)` or `(batch, rows, size)`, in what a model returned.

    Args:
        output: A tuple or list that begins with a tensor for each head, or a dict by head name;
            where there is one head, also a tensor, or an output with `logits`.
        heads: What was to be answered.
        who: "teacher" or "student", for the message.

    Raises:
        ModelError: There is no answer for a head.
        ShapeError: An answer's last axis is not the head's size.
    """
    answers = {head.name: _find(output, place, heads, who) for place, head in enumerate(heads)}
    for head in heads:
        rows = answers[head.name]
        if rows.dim() == 1 and head.size == 1:
            answers[head.name] = rows = rows[:, None]
        if rows.dim() < 2 or rows.shape[-1] != head.size:
            what = "classes" if head.space in ("categorical", "binary") else "numbers"
            raise ShapeError(
                f"the {who} must answer {head.size} {what} for head {head.name}, got an answer of "
                f"shape {tuple(rows.shape)}. Give it an output layer of that size, or the data's "
                "own class list."
            )
    return answers


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
