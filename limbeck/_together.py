"""Several teachers as one: a torch module that says what they say together."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from limbeck._mixture import WEIGHINGS, mixture, weights_of
from limbeck._outputs import as_logits, call, read_outputs
from limbeck.signals import Head
from limbeck.teachers import Teacher


def together(members: Mapping[str, Teacher], how: str, prior: Tensor, trust: Tensor) -> Teacher:
    """Several teachers as one; the arguments are those of `Together`."""
    first = next(iter(members.values()))
    return Teacher(Together(members, how, prior, trust), first.heads, device=first.device)


class Together(nn.Module):
    """The mixture of several torch modules' answers, at T = 1.

    Args:
        members: Teachers of the same heads, by name.
        how: A name in `WEIGHINGS`; all but "mean" weigh by the first head, which is categorical.
        prior: `(teachers,)`: what each weight is multiplied by, above 0.
        trust: `(teachers, classes)`: how far each is to be trusted with each class, 0..1.
    """

    prior: Tensor
    trust: Tensor

    def __init__(
        self, members: Mapping[str, Teacher], how: str, prior: Tensor, trust: Tensor
    ) -> None:
        super().__init__()
        self._members = dict(members)
        self.how = how
        models = {name: member.model for name, member in members.items()}
        assert all(isinstance(model, nn.Module) for model in models.values())
        self.members = nn.ModuleDict(models)  # type: ignore[arg-type]
        self.register_buffer("prior", prior)
        self.register_buffer("trust", trust)

    @property
    def heads(self) -> tuple[Head, ...]:
        """What they answer."""
        return next(iter(self._members.values())).heads

    def forward(self, *inputs: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """From a batch to logits, or numbers, by head: `(batch, ..., size)`."""
        given = named or inputs[0]
        said = [
            as_logits(
                read_outputs(call(self.members[name], given), self.heads, who=f"teacher {name}"),
                self.heads,
                member.outputs,
            )
            for name, member in self._members.items()
        ]
        values = {
            head.name: torch.stack([answer[head.name].float() for answer in said])
            for head in self.heads
        }
        weights = self._weights(values[self.heads[0].name])
        return {head.name: mixture(values[head.name], weights, head.space) for head in self.heads}

    def _weights(self, values: Tensor) -> Tensor:
        """`(batch, teachers)`, by `(teachers, batch, ..., classes)` logits of the first head."""
        shown = values.reshape(*values.shape[:2], -1, values.shape[-1])
        if WEIGHINGS[self.how].of_classes:
            shown = torch.softmax(shown, dim=-1)
        return weights_of(self.how, shown, self.prior, self.trust)
