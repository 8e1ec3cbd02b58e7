"""Width slicing: a narrower student that begins with the units of its teacher that are most active.

Muralidharan et al. 2024 (Minitron, https://arxiv.org/abs/2407.14679), for plain chains of linear,
convolution and batch normalisation layers: a unit counts by the mean size of its activation on some
samples, as the next layer is given it, after normalisation and nonlinearity. They also slice
attention heads and the residual stream of a transformer; here such a model is refused.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._errors import ModelError
from limbeck._outputs import call
from limbeck.models._taken import Taken
from limbeck.signals import Inputs

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TOLERANCE = 1e-3
"""Between what a student says and a teacher without the other units, of the largest number."""

_OnTheWayIn = Callable[[nn.Module, Tensor], Tensor]
"""From a layer and what it is given to what it is given instead."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Which of the units that are handed from one layer to the next stay."""

    index: Tensor
    """`(left,)`, rising."""
    units: int
    """How many the teacher has."""

    def into(self, layer: nn.Module) -> "_Kept":
        """The same as the inputs of `layer`: of a flattened channel several numbers in a row."""
        each, rest = divmod(_inputs(layer), self.units)
        if rest:
            raise _misfit(
                f"the teacher hands {self.units} units to a layer of {_inputs(layer)} inputs"
            )
        spread = self.index[:, None] * each + torch.arange(each)
        return _Kept(index=spread.flatten(), units=_inputs(layer))


@torch.no_grad()
def width_slice(student: nn.Module, teacher: nn.Module, inputs: Inputs) -> Taken:
    """The teacher's weights for a student of the same layers, each with fewer units.

    The student says what the teacher would without the other units; that is tried out on `inputs`,
    so that a model whose layers are not called one after the other is refused.

    Args:
        student: Whose weights are wanted; it is not changed.
        teacher: Whose weights there are; it is left in eval mode.
        inputs: A batch of samples that the units' activations are measured on.

    Raises:
        ModelError: The two have other layers, or the teacher is no plain chain: the first is named.
    """
    teacher.eval()
    layers = _layer_pairs(student, teacher)
    sizes = _activations(teacher, inputs)
    state: dict[str, Tensor] = {}
    words: list[str] = []
    kept_by: dict[nn.Module, Tensor] = {}
    kept = _all(_inputs(layers[0][2]))
    for place, (name, own, layer) in enumerate(layers):
        kept = incoming = kept.into(layer)
        if _mixes(layer):
            after = [each for _, _, each in layers[place + 1 :] if isinstance(each, _WEIGHTED)]
            kept = _most_active(own, layer, sizes[after[0]]) if after else _all(_outputs(layer))
            words += _told(name, own, layer)
        kept_by[layer] = incoming.index
        for key, tensor in _sliced(layer, incoming.index, kept.index).items():
            wanted = tuple(own.state_dict()[key].shape)
            if tuple(tensor.shape) != wanted:
                raise _misfit(
                    f"its {name}.{key} is {wanted}, and of the teacher's {tuple(tensor.shape)} "
                    "would be left"
                )
            state[f"{name}.{key}"] = tensor
    _try_out(student, state, teacher, kept_by, inputs)
    return Taken(state=state, words=words)


def _layer_pairs(student: nn.Module, teacher: nn.Module) -> list[tuple[str, nn.Module, nn.Module]]:
    """The layers with weights, in order: the name in the student, its own, and the teacher's."""
    own, its = list(_layers(student)), list(_layers(teacher))
    for there, layer in its:
        grouped = isinstance(layer, _WEIGHTED) and not _is_plain(layer)
        if grouped or not isinstance(layer, (*_WEIGHTED, *_NORMS)):
            raise _misfit(
                f"the teacher's {there} is a {type(layer).__name__}"
                + f" of {getattr(layer, 'groups', 1)} groups" * grouped
                + ", and units are told apart only in linear layers, convolutions and batch "
                "normalisation"
            )
    if len(own) != len(its) or not its:
        raise _misfit(f"it has {len(own)} layers with weights, and the teacher has {len(its)}")
    for (name, layer), (there, other) in zip(own, its, strict=True):
        if type(layer) is not type(other):
            raise _misfit(
                f"its {name} is a {type(layer).__name__}, and the teacher's {there} a "
                f"{type(other).__name__}"
            )
    return [(name, layer, other) for (name, layer), (_, other) in zip(own, its, strict=True)]


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if any("." not in key for key in module.state_dict()):
            yield name, module


def _activations(teacher: nn.Module, inputs: Inputs) -> dict[nn.Module, Tensor]:
    """How large each number that a layer is given, `(inputs,)`, is on average."""
    sizes: dict[nn.Module, Tensor] = {}

    def measure(layer: nn.Module, given: Tensor) -> Tensor:
        others = [axis for axis in range(given.dim()) if axis != _axis(layer, given)]
        sizes[layer] = given.float().abs().mean(dim=others).cpu()
        return given

    layers = {name: layer for name, layer in _layers(teacher) if isinstance(layer, _WEIGHTED)}
    with _on_the_way_in(layers.values(), measure):
        call(teacher, inputs)
    for name, layer in layers.items():
        if layer not in sizes:
            raise _misfit(f"the teacher has a layer {name} that it never calls")
    return sizes


def _most_active(own: nn.Module, layer: nn.Module, sizes: Tensor) -> _Kept:
    """As many units of a layer as the student has, in the order in which they were."""
    units = _outputs(layer)
    if len(sizes) % units:
        raise _misfit(f"the teacher hands {units} units to a layer of {len(sizes)} inputs")
    size = sizes.reshape(units, -1).mean(dim=1)
    order = size.argsort(descending=True, stable=True)
    return _Kept(index=order[: _outputs(own)].sort().values, units=units)


def _sliced(layer: nn.Module, incoming: Tensor, outgoing: Tensor) -> dict[str, Tensor]:
    """A layer's state, of some of its inputs and outputs."""
    found = {}
    for key, tensor in layer.state_dict().items():
        part = tensor if tensor.dim() == 0 else tensor[outgoing.to(tensor.device)]
        if key == "weight" and _mixes(layer):
            part = part[:, incoming.to(tensor.device)]
        found[key] = part
    return found


def _try_out(
    student: nn.Module,
    state: Mapping[str, Tensor],
    teacher: nn.Module,
    kept_by: Mapping[nn.Module, Tensor],
    inputs: Inputs,
) -> None:
    """Refuse a student that does not say what the teacher says without the other units."""

    def silence(layer: nn.Module, given: Tensor) -> Tensor:
        mask = torch.zeros(_inputs(layer), dtype=given.dtype)
        mask[kept_by[layer]] = 1
        shape = [1] * given.dim()
        shape[_axis(layer, given)] = -1
        return given * mask.to(given.device).reshape(shape)

    with _on_the_way_in((one for one in kept_by if isinstance(one, _WEIGHTED)), silence):
        expected = _tensors(call(teacher, inputs))
    tried = copy.deepcopy(student).to(expected[0].device).eval()
    tried.load_state_dict(dict(state))
    for said, wanted in zip(_tensors(call(tried, inputs)), expected, strict=True):
        largest = float((said - wanted).abs().max())
        if not largest <= _TOLERANCE * float(wanted.abs().max()):
            raise _misfit(
                "its layers are not called one after the other, or the two differ in more than "
                f"their width: without the other units the teacher says something else, by "
                f"{largest:.3g}"
            )


@contextmanager
def _on_the_way_in(layers: Any, change: _OnTheWayIn) -> Iterator[None]:
    """While it is open, these layers are given what `change` makes of what they would be given."""

    def hook(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(layer, given[0]), *given[1:])

    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any) -> Sequence[Tensor]:
    """Every tensor that a model returned."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in parts if part is not None for tensor in _tensors(part)]


def _all(units: int) -> _Kept:
    return _Kept(index=torch.arange(units), units=units)


def _told(name: str, own: nn.Module, layer: nn.Module) -> list[str]:
    left, units = _outputs(own), _outputs(layer)
    return [f"{name}: {left} of {units} units"] if left < units else []


def _is_plain(layer: nn.Module) -> bool:
    return getattr(layer, "groups", 1) == 1 or not _mixes(layer)


def _mixes(layer: nn.Module) -> bool:
    """Whether each unit hears every input; one of a normalisation hears its own alone."""
    if isinstance(layer, _NORMS):
        return False
    groups = getattr(layer, "groups", 1)
    return bool(not 1 < groups == _inputs(layer) == _outputs(layer))


def _axis(layer: nn.Module, given: Tensor) -> int:
    """Of what a layer is given, the axis of its inputs."""
    return given.dim() - 1 if isinstance(layer, nn.Linear) else 1


def _inputs(layer: nn.Module) -> int:
    return _width(layer, "in_features", "in_channels", "num_features")


def _outputs(layer: nn.Module) -> int:
    return _width(layer, "out_features", "out_channels", "num_features")


def _width(layer: nn.Module, *names: str) -> int:
    width: int = next(getattr(layer, name) for name in names if hasattr(layer, name))
    return width


def _misfit(why: str) -> ModelError:
    return ModelError(
        f"the student cannot begin with units of its teacher: {why}. Give it the teacher's "
        'options, but for the width of its layers; or start.how = "layers".'
    )
