"""The moving average of a learner's weights, which teaches it: a mean teacher.

Tarvainen and Valpola 2017 (https://arxiv.org/abs/1703.01780), section 2.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from limbeck._errors import ModelError
from limbeck._lookup import first_line
from limbeck._state import set_state, state_of


class Average:
    r"""A copy of a model whose weights follow it: $\theta' = d \theta' + (1 - d) \theta$.

    At step t, from 0 on, d is at most 1 - 1 / (t + 2), as in the authors' code: so the average
    begins as the plain mean of all weights that there were. What no gradient moves (statistics of
    batch normalisation, counters, frozen weights) is the model's own, as it is now. The copy
    answers in eval mode: without dropout, and by those statistics.

    Args:
        model: Who is followed, where it is trained.
        decay: d, 0 to below 1.
        who: The model, for the message.

    Raises:
        ModelError: It cannot be copied.
    """

    def __init__(self, model: nn.Module, decay: float, *, who: str) -> None:
        try:
            self.model = deepcopy(model).eval().requires_grad_(False)
        except (RuntimeError, TypeError) as error:
            raise ModelError(
                f"distil.ema needs a copy of {who}, which cannot be copied: {first_line(error)}. "
                "Leave it out."
            ) from error
        self._decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Take in the weights that the model has after a step."""
        decay = min(self._decay, 1 - 1 / (step + 2))
        for mean, own in zip(self.model.parameters(), model.parameters(), strict=True):
            if own.requires_grad:
                mean.lerp_(own, 1 - decay)
            else:
                mean.copy_(own)
        for kept, now in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(now)

    def state(self) -> dict[str, Tensor]:
        """Everything that its answers depend on."""
        return state_of(self.model)

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Go back to a `state`."""
        set_state(self.model, saved)
