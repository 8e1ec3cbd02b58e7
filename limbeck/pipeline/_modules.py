"""The modules of a model that give features, and how alike samples are in each.

How alike two modules are is their linear centred kernel alignment (Kornblith et al., 2019,
https://arxiv.org/abs/1905.00414) over some samples: 1 where one is the other up to rotation and
scale, and near 0 where they have nothing in common.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._outputs import call, calling
from limbeck.methods.features import KINDS, vectors
from limbeck.models import parameter_count
from limbeck.signals import Batch
from limbeck.taps import first_tensor, heard, modules_of

_SIDE = 4
"""Positions along each side that larger maps are pooled to, to be compared."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module that gives features."""

    path: str
    kind: str
    """The name of its class: "Conv2d"."""
    shape: tuple[int, ...]
    """Of what it gives for one sample."""
    parameters: int
    depth: float
    """When it is done, from 0, first, to 1, last."""
    is_block: bool
    """Whether it is one of a list of modules that have modules in them, as `encoder.layer.3`."""
    learns: bool
    """Whether a gradient of what it gives reaches a weight."""
    likeness: Tensor
    """`(samples * samples,)`: how alike samples are in it, centred, of length 1."""


def layers_of(model: nn.Module, batch: Batch, *, who: str) -> list[Layer]:
    """The modules of a model that give maps, tokens or vectors, in the order they are done in.

    Of modules that give the very same, as a block and its last part, the outermost.
    """
    modules = modules_of(model, who=who)
    found: dict[int, tuple[str, tuple[int, ...], bool, Tensor]] = {}
    held = []  # no two tensors may have the same place in turn
    whole = []

    def hear(path: str, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None or not tensor.is_floating_point() or tensor.dim() - 1 not in KINDS:
            return
        if len(tensor) == len(batch):
            if id(tensor) in found and tensor is not output:
                return  # a model around its last block, with more beside that
            held.append(tensor)
            found.pop(id(tensor), None)
            likeness = _likeness(tensor.detach(), batch)
            found[id(tensor)] = path, tuple(tensor.shape[1:]), tensor.requires_grad, likeness

    with calling(who, batch.inputs), heard(modules, hear):
        whole.append(call(model.eval(), batch.inputs))
    found.pop(id(first_tensor(whole[0])), None)  # the answer itself is no feature
    last = max(len(found) - 1, 1)
    return [
        Layer(
            path=path,
            kind=type(modules[path]).__name__,
            shape=shape,
            parameters=parameter_count(modules[path]),
            depth=place / last,
            is_block=path.rpartition(".")[2].isdecimal() and any(modules[path].children()),
            learns=learns,
            likeness=likeness,
        )
        for place, (path, shape, learns, likeness) in enumerate(found.values())
    ]


def _likeness(features: Tensor, batch: Batch) -> Tensor:
    """Its dot product with another one is the linear CKA of the two."""
    if features.dim() == 3:
        features = vectors(features, batch)
    elif features.dim() == 4 and max(features.shape[2:]) > _SIDE:
        features = F.adaptive_avg_pool2d(features, _SIDE)
    flat = features.flatten(1).double()
    flat = flat - flat.mean(dim=0)
    return F.normalize((flat @ flat.mT).flatten(), dim=0).float().cpu()
