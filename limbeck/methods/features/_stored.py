"""A teacher's features as a transfer set holds them: numbers, a head for each tap.

A map has a row for each position, whose numbers are its channels; tokens have a row each; a vector
is one row. What one sample's features are shaped like is part of the head's name: "tap:layer3
64x8x8".
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from limbeck._errors import ModelError, ShapeError, TargetsError
from limbeck._outputs import calling
from limbeck.methods.features._method import KINDS
from limbeck.signals import Dense, Head, Inputs, Rows
from limbeck.taps import tap_name, tapped
from limbeck.teachers import Teacher


def inside(teacher: Teacher, inputs: Inputs, paths: Sequence[str]) -> Teacher:
    """A teacher whose answers are what its modules give, to be captured like any other.

    Args:
        teacher: A torch module.
        inputs: Of some samples: they are put through once, for the shapes.
        paths: The modules.

    Raises:
        ModelError: The teacher is no torch module, or has no such module.
        ShapeError: A module gives neither maps, nor tokens, nor vectors.
    """
    if not isinstance(teacher.model, nn.Module):
        raise ModelError("the teacher is no torch module: nothing inside it can be stored.")
    with (
        torch.no_grad(),
        calling("the teacher", inputs),
        tapped(teacher.model, paths, who="the teacher") as seen,
    ):
        teacher.answer(inputs)
    heads = [_head(path, tuple(seen[path].shape[1:])) for path in paths]
    return Teacher(Features(teacher.model, paths, heads), heads, device=teacher.device)


def _head(path: str, shape: tuple[int, ...]) -> Head:
    if len(shape) not in KINDS:
        raise ShapeError(
            f"the teacher's module {path!r} gives {shape} for one sample, which is neither maps, "
            "tokens nor vectors. Tap another one."
        )
    size = shape[0] if len(shape) == 3 else shape[-1]
    said = "x".join(map(str, shape))
    return Head(name=f"{tap_name(path)} {said}", space="real", size=size)


class Features(nn.Module):
    """Gives the rows of features by head, in place of the answer of the model around them."""

    def __init__(self, model: nn.Module, paths: Sequence[str], heads: Sequence[Head]) -> None:
        super().__init__()
        self.model = model
        self._heads = dict(zip(paths, heads, strict=True))

    def forward(self, *inputs: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """`(batch, size)` or `(batch, rows, size)` by head."""
        with tapped(self.model, list(self._heads), who="the teacher") as seen:
            self.model(*inputs, **named)
        return {head.name: _as_rows(seen[path]) for path, head in self._heads.items()}


def _as_rows(features: Tensor) -> Tensor:
    return features.flatten(2).mT if features.dim() == 4 else features


def stored_taps(heads: Sequence[Head]) -> list[str]:
    """The modules whose features a transfer set with these heads holds; none, if it holds others.

    By path.
    """
    return [
        head.name.removeprefix(tap_name("")).rpartition(" ")[0]
        for head in heads
        if head.name.startswith(tap_name(""))
    ]


def stored_features(rows: Mapping[str, Rows], paths: Sequence[str]) -> dict[str, Dense]:
    """Features by `tap_name`, from the rows of a transfer set of them.

    Args:
        rows: By the name of the head, as they were read.
        paths: The modules that are wanted.

    Raises:
        TargetsError: Those of a module are not there.
    """
    by_tap = {name.rpartition(" ")[0]: name for name in rows}
    found = {}
    for path in paths:
        if tap_name(path) not in by_tap:
            held = ", ".join(name.removeprefix(tap_name("")) for name in by_tap if name)
            raise TargetsError(
                f"the stored features have none of the teacher's module {path!r}, but of {held}. "
                "Capture them again, with that module."
            )
        name = by_tap[tap_name(path)]
        found[tap_name(path)] = Dense(values=_as_features(rows[name], name))
    return found


def _as_features(rows: Rows, name: str) -> Tensor:
    assert isinstance(rows, Dense), "features are stored as numbers"
    shape = [int(size) for size in name.rpartition(" ")[2].split("x")]
    values = rows.values.float()
    if len(shape) == 3:
        values = values.mT
    return values.reshape(len(values), *shape)
