"""Mixup for function matching: teacher and student see the same mixed samples, and no label.

Beyer et al. 2022 (https://arxiv.org/abs/2106.05237), with the mixup of Zhang et al. 2018
(https://arxiv.org/abs/1710.09412): each sample is mixed with one of its batch, which by chance may
be itself, in a part that is drawn evenly from 0 to 1. What the teacher says of such a mix is
learned, whatever it is.
"""

from dataclasses import replace

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.methods import Objective
from limbeck.signals import Batch, Inputs


def mixed_up(batch: Batch, generator: torch.Generator) -> Batch:
    r"""The batch with the inputs $w x_i + (1 - w) x_j$: j drawn without replacement, w in 0..1.

    Labels and positions stay those of the first of the two, and are of no use then.

    Args:
        batch: As it was read: inputs `(batch, ...)` of floats.
        generator: On the CPU; it draws the pairs, and then the parts.
    """
    inputs = batch.inputs
    assert isinstance(inputs, Tensor), "check_mixup refuses others"
    others = torch.randperm(len(inputs), generator=generator)
    part = torch.rand(len(inputs), *[1] * (inputs.dim() - 1), generator=generator)
    part = part.to(inputs)
    return replace(batch, inputs=part * inputs + (1 - part) * inputs[others.to(inputs.device)])


def check_mixup(terms: Objective, inputs: Inputs) -> None:
    """Refuse what cannot be learned from mixed samples.

    Raises:
        OptionError: A term needs labels, or the inputs are no plain numbers.
    """
    labelled = [term.name for term in terms if term.with_labels]
    if labelled:
        raise OptionError(
            f"distil.mixup shows mixed samples, which have no label, and the {labelled[0]} loss "
            "needs labels. Set distil.hard_weight = 0, and take a method that needs none."
        )
    if isinstance(inputs, dict) or not inputs.is_floating_point():
        what = f"keyword inputs ({', '.join(inputs)})" if isinstance(inputs, dict) else inputs.dtype
        raise OptionError(
            f"distil.mixup mixes samples of floats, as images are, got {what}. Leave it out."
        )
