"""Teachers: anything that answers, frozen, with a fingerprint.

A torch module (a Keras model on the torch backend is one), or any callable from numpy arrays to
numpy arrays: a Keras model on another backend, a scikit-learn `predict_proba`, a table of answers.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._errors import ModelError, OptionError, ShapeError
from limbeck._lookup import check_choice
from limbeck._outputs import (
    OUTPUTS,
    Outputs,
    as_logits,
    call,
    calling,
    check_outputs,
    first_not_finite,
    read_outputs,
)
from limbeck._state import state_of
from limbeck.signals import Head, Inputs


class Teacher:
    """A model that answers and does not learn: eval mode, no gradient, weights frozen.

    Args:
        model: A torch module, or a callable that takes numpy arrays (one array, or keyword
            arrays) and returns one array, or a dict of arrays by head.
        heads: What it answers.
        outputs: "logits", or "probabilities" for non-negative scores of any sum.
        device: Where a torch module answers.

    Raises:
        OptionError: Two heads have one name.
        ModelError: The model is none.
    """

    def __init__(
        self,
        model: nn.Module | Callable[..., Any],
        heads: Sequence[Head],
        *,
        outputs: Outputs = "logits",
        device: torch.device | str = "cpu",
    ) -> None:
        check_choice("outputs", outputs, OUTPUTS)
        self.heads = tuple(heads)
        names = [head.name for head in self.heads]
        if len(set(names)) < len(names):
            raise OptionError(
                f"heads must be called by different names, got {', '.join(names)}: what a model "
                "answers is found by them. Rename one, in the model's output too."
            )
        self.outputs: Outputs = outputs
        self.device = torch.device(device)
        if isinstance(model, nn.Module):
            model = model.to(self.device).eval().requires_grad_(False)
        elif not callable(model):
            raise ModelError(
                f"a teacher is a torch module or a callable, got {type(model).__name__}."
            )
        self.model = model
        self._heard = False

    @torch.no_grad()
    def answer(self, inputs: Inputs) -> dict[str, Tensor]:
        """What it says of a batch, by head: float32, `(batch, size)` or `(batch, rows, size)`.

        Raises:
            ModelError: The model raises; or it gives something that is not its heads' answers, a
                number that is not finite, or probabilities for logits.
            ShapeError: It answers other classes, or more or fewer samples than it was asked.
        """
        with calling("the teacher", inputs):
            said = self._call(inputs)
        answers = read_outputs(said, self.heads, who="teacher", look=not self._heard)
        asked = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
        for head in self.heads:
            rows = answers[head.name]
            if len(rows) != asked:
                raise ShapeError(
                    f"the teacher was asked about {asked} samples, and gave {len(rows)} answers "
                    f"for head {head.name}. Its first axis must be the batch."
                )
            if (bad := first_not_finite(rows, head, self.outputs)) is not None:
                raise ModelError(
                    f"the teacher's answer for head {head.name} is not finite at sample {bad} of a "
                    "batch. Look at its weights and at that input."
                )
        if not self._heard and asked:
            for head in self.heads:
                check_outputs(answers[head.name], head, self.outputs, who="the teacher")
            self._heard = True
        return {name: rows.float() for name, rows in answers.items()}

    def logits(self, inputs: Inputs) -> dict[str, Tensor]:
        """`answer` as logits: the logarithms of what it gives, where that is probabilities."""
        return as_logits(self.answer(inputs), self.heads, self.outputs)

    def _call(self, inputs: Inputs) -> Any:
        if isinstance(self.model, nn.Module):
            return call(self.model, _moved(inputs, self.device))
        if isinstance(inputs, dict):
            said = self.model(**{name: part.cpu().numpy() for name, part in inputs.items()})
        else:
            said = self.model(inputs.cpu().numpy())
        if isinstance(said, dict):
            return {name: _as_tensor(part) for name, part in said.items()}
        return _as_tensor(said)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of its class and weights; for a callable, of its qualified name alone."""
        digest = hashlib.sha256()
        kind = self.model if hasattr(self.model, "__qualname__") else type(self.model)
        digest.update(f"{kind.__module__}.{kind.__qualname__} {self.outputs}".encode())
        if isinstance(self.model, nn.Module):
            for name, tensor in sorted(state_of(self.model).items()):
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                raw = tensor.detach().cpu().contiguous().reshape(-1)
                digest.update(raw.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def _as_tensor(said: Any) -> Tensor:
    array = np.array(said)
    if array.dtype.kind not in "biuf":
        raise ModelError(
            f"the teacher must give numbers, got an array of {array.dtype}. Return one array of "
            "numbers, or a dict of them by head."
        )
    return torch.from_numpy(array)


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    if isinstance(inputs, dict):
        return {name: part.to(device) for name, part in inputs.items()}
    return inputs.to(device)
