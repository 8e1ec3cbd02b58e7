"""Optimisers of torch.optim, by name."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from limbeck._errors import OptionError, did_you_mean
from limbeck._lookup import first_line
from limbeck.recipe import Train

_UNFIT = {
    "LBFGS": "asks for the loss several times a step, which this loop does not do",
    "SparseAdam": "needs sparse gradients, which this loop does not make",
}
_OTHER_FORMS = ("fused", "foreach", "differentiable", "capturable")
_SET = ("params", "lr")
"""What `make_optimizer` sets itself."""


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Train) -> torch.optim.Optimizer:
    """The named optimiser of torch.optim, over the parameters that can learn.

    Where it has a fused form, which is the same up to rounding, it takes that: Adam's step of an
    MLP of 1.3 million weights takes a quarter of the time on a CPU.

    Raises:
        OptionError: There is no such optimiser, it does not fit, or it has no such option.
    """
    name = settings.optimizer
    kind: Any = getattr(torch.optim, name, None)
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    unfit = dict(_UNFIT)
    if any(parameter.dim() != 2 for parameter in learning):
        unfit["Muon"] = "takes matrices alone, and this model has other weights (biases, ...)"
    known = [one for one in dir(torch.optim) if _is_optimizer(getattr(torch.optim, one))]
    if not _is_optimizer(kind):
        raise OptionError(
            f"torch.optim has no optimiser {name!r}.{did_you_mean(name, known)} It has "
            f"{', '.join(one for one in known if one not in unfit)}."
        )
    if name in unfit:
        raise OptionError(f"optimizer {name} {unfit[name]}. Take AdamW, or SGD.")
    takes = [each for each in inspect.signature(kind).parameters if each not in _SET]
    for option in settings.optimizer_options:
        if option not in takes:
            raise OptionError(
                f"optimizer {name} has no option {option!r}.{did_you_mean(option, takes)} "
                f"optimizer_options may have {', '.join(takes)}."
            )
    options: dict[str, Any] = {"lr": settings.learning_rate, **settings.optimizer_options}
    if _can_fuse(kind, learning) and options.keys().isdisjoint(_OTHER_FORMS):
        options["fused"] = True
    try:
        made: torch.optim.Optimizer = kind(learning, **options)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise OptionError(
            f"optimizer {name} does not take these options: {first_line(error)}. Change "
            "optimizer_options."
        ) from None
    return made


def _can_fuse(kind: Any, parameters: list[nn.Parameter]) -> bool:
    return "fused" in inspect.signature(kind).parameters and all(
        parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda")
        for parameter in parameters
    )


def _is_optimizer(kind: Any) -> bool:
    base = torch.optim.Optimizer
    return isinstance(kind, type) and issubclass(kind, base) and kind is not base
