"""A model's passes, recorded once as CUDA graphs and replayed from then on.

Asking a GPU for the layers of a small network one by one takes the host longer than they take the
GPU; a graph is asked for at once. Values are those of the recorded layers, to the bit.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from limbeck.signals import Inputs

Said = Callable[[Tensor], dict[str, Tensor]]
"""From a batch of inputs to what a model says of it, by name."""


def can_be_recorded(inputs: Inputs) -> bool:
    """Whether a pass over such inputs can be: one tensor, on a CUDA device."""
    return isinstance(inputs, Tensor) and inputs.device.type == "cuda"


class Recorded:
    """The forward and backward pass over batches of one shape.

    What it gives is overwritten by the next call, and gradients by the next backward pass: add none
    up over several.

    Args:
        model: In training mode; its buffers and the random numbers are left as they were.
        said: What is recorded: a function of the inputs that calls the model, and never looks at a
            number on the device.
        inputs: A batch, `(batch, ...)`, on the device.
    """

    def __init__(self, model: nn.Module, said: Said, inputs: Tensor) -> None:
        self._shape = inputs.shape
        passes = _Passes(model, said)
        # Gradients wait for the stream that recorded, which is idle then: torch warns of the wait.
        if hasattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch"):
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        before = [buffer.clone() for buffer in model.buffers()]
        devices = [inputs.device] if inputs.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), _nothing_collected():
            # It calls the model a few times first, of which batch statistics would remember.
            self._replay: Callable[[Tensor], tuple[Tensor, ...]] = (
                torch.cuda.make_graphed_callables(  # type: ignore[assignment]
                    passes, (inputs.clone(),), allow_unused_input=True
                )
            )
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
        self._names = passes.names

    def fits(self, inputs: Inputs) -> bool:
        """Whether these inputs have the recorded shape."""
        return isinstance(inputs, Tensor) and inputs.shape == self._shape

    def __call__(self, inputs: Tensor) -> dict[str, Tensor]:
        """What the model says of them, by name."""
        return dict(zip(self._names, self._replay(inputs), strict=True))


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Python frees what refers to itself now, and not within: to free a graph ends a recording."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Passes(nn.Module):
    """A function that calls a model, as a module of tensors, whose parameters are the model's."""

    def __init__(self, model: nn.Module, said: Said) -> None:
        super().__init__()
        self.model = model
        self._said = said
        self.names: list[str] = []

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """`(batch, ...)` to what is said of it, in the order of `names`."""
        said = self._said(inputs)
        self.names = list(said)
        return tuple(said.values())
