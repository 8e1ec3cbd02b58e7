"""How several transfer sets are weighed against each other, sample by sample, by what they hold."""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck._mixture import WEIGHINGS, check_weighing, weights_of
from limbeck.data import Samples
from limbeck.signals import Dense, Head, Rows, Sparse
from limbeck.targets.reading._mix import log_density
from limbeck.targets.reading._transfer_set import TransferSet

_BLOCK = 1024


def weigh(
    members: Sequence[TransferSet], samples: Samples, how: str, prior: Tensor, trust: Tensor
) -> Tensor:
    """`(samples, teachers)`: the weights of an `Ensemble` of transfer sets of these samples.

    Dense rows are looked at as they are at T = 1, sparse ones at the temperature of their set; by
    the first head, in view 0.

    Args:
        members: Of the same samples.
        samples: Whom the weights are for.
        how: One of `WEIGHINGS`; all but "mean" are for categorical heads.
        prior: `(teachers,)`: what each weight is multiplied by.
        trust: `(teachers, classes)`: how far each is to be trusted with each class.

    Raises:
        OptionError: They cannot be weighed so.
    """
    if not WEIGHINGS[how].of_classes:
        unseen = torch.zeros(len(members), len(samples), 1, 1)
        return weights_of(how, unseen, prior, trust)
    head = members[0].heads[0]
    check_weighing(how, head, samples.fetch(torch.arange(1)))
    positions = [member.positions(samples.keys) for member in members]
    found = []
    for start in range(0, len(samples), _BLOCK):
        said = [
            _probabilities(member.read(at[start : start + _BLOCK])[head.name], head)
            for member, at in zip(members, positions, strict=True)
        ]
        found.append(weights_of(how, torch.stack(said), prior, trust))
    return torch.cat(found)


def _probabilities(rows: Rows, head: Head) -> Tensor:
    """`(samples, rows, classes)`."""
    here = rows.to(torch.device("cpu"))
    if isinstance(here, Sparse):
        shown = log_density(here.density, head.size).exp()
    else:
        assert isinstance(here, Dense)
        shown = torch.softmax(here.logits, dim=-1)
    return shown.reshape(len(shown), -1, head.size)
