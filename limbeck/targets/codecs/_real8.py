"""Numbers and embeddings in one byte each, on a scale of its own for each channel."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from limbeck._errors import OptionError
from limbeck.signals import Dense, Head
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._learned import misfit, not_finite
from limbeck.targets.codecs._pieces import tensor_of

_MARGIN = 1 / 8
"""Of the range that was seen, added at either end."""


@dataclass(frozen=True)
class Real8:
    """Each number as the nearest of 256 even steps through its channel's range.

    Error: at most half a step, 1 / 510 of a range. That is the range seen in the rows it learned
    from and an eighth of it more at either end; numbers beyond are clipped to the end.
    """

    name: str = field(default="real8", init=False)
    biased: bool = field(default=False, init=False)
    takes_logits: bool = field(default=False, init=False)

    @property
    def options(self) -> dict[str, Any]:
        """None."""
        return {}

    def columns(self, head: Head) -> dict[str, Column]:
        """`levels`, one for each channel."""
        if head.space != "real":
            raise OptionError(
                f"codec real8 is for numbers, got head {head.name}, which is {head.space}. Use "
                "codec sqrt8."
            )
        return {"levels": Column(np.dtype(np.uint8), head.size)}

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """`low`, where each channel's range begins, and `step`, through it; float32."""
        low = torch.full((head.size,), torch.inf)
        high = -low
        for piece in map(tensor_of, pieces):
            low = torch.minimum(low, piece.amin(dim=0).cpu())
            high = torch.maximum(high, piece.amax(dim=0).cpu())
        margin = (high - low) * _MARGIN
        step = (high - low + 2 * margin) / 255
        # A channel that never varied keeps its number.
        return {"low": low - margin, "step": step.clamp_min(torch.finfo(torch.float32).tiny)}

    def state_fault(self, state: State, head: Head) -> str | None:
        """Ranges that are none."""
        wanted = dict.fromkeys(("low", "step"), (torch.float32, (head.size,)))
        if fault := misfit(state, wanted) or not_finite(state):
            return fault
        return None if bool((state["step"] > 0).all()) else "step holds one that is not above 0"

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Round each number to the nearest step, within the range."""
        values = tensor_of(values)
        low, step = (state[name].to(values.device).double() for name in ("low", "step"))
        levels = ((values.double() - low) / step).round().clamp(0, 255)
        return {"levels": levels.to(torch.uint8).cpu().numpy()}

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """None: every byte is a level."""
        return None

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Dense:
        """`Dense` rows in float32."""
        levels = torch.from_numpy(arrays["levels"]).float()
        return Dense(values=levels.mul_(state["step"]).add_(state["low"]), temperature=temperature)
