"""Several teachers, weighed at every step by where they agree to move the student."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from scipy.optimize import nnls
from torch import Tensor

from limbeck._errors import OptionError
from limbeck._mixture import mixture
from limbeck.signals import Dense, Rows, Space, Sparse

_EVEN = 1e-6
"""So much of the mean square of the gaps, as each teacher's alone, makes equals weigh alike."""


def agreed(rows: Dense, student: Tensor, space: Space, counts: Tensor | None = None) -> Dense:
    r"""The mixture of the teachers whose pull on the student is the least.

    Each teacher pulls on the student's logits by $q - p_k$, and a mixture by $q - \sum_k w_k p_k$.
    The weights for which that is least, $\arg\min_w \| q - \sum_k w_k p_k \|^2$, give the direction
    in which no teacher's loss rises, if there is one (AE-KD, Du et al., NeurIPS 2020, equation 9,
    with $C = 1$; Désidéri, 2012). They are those of the whole batch. It is also the mixture that is
    nearest to the student: who says what the student cannot follow weighs less.

    Args:
        rows: With `members`, `(teachers, batch, ..., size)`.
        student: Logits, or numbers, `(batch, ..., size)`. No gradient flows into it.
        space: What they are of.
        counts: Bool, `(batch,)` or `(batch, rows)`: the rows that count; None for all.

    Returns:
        Rows without `members`.
    """
    assert rows.members is not None, "who is asked to agree has members"
    with torch.no_grad():
        ours = _expected(student.detach().float() / rows.temperature, space)
        gaps = ours - _expected(rows.members, space)  # (teachers, batch, ..., size)
        if counts is not None:
            gaps = gaps[:, counts]
        flat = gaps.flatten(1).double()  # (teachers, numbers)
        weights = least_pull((flat @ flat.T).cpu()).to(rows.members)
        spread = weights.expand(rows.members.shape[1], -1)  # (batch, teachers)
        values = mixture(rows.members, spread, space)
    return replace(rows, values=values, members=None)


def least_pull(products: Tensor) -> Tensor:
    r"""$\arg\min_w w^\top G w$ over weights of 0 or more that sum to 1.

    By non-negative least squares: over $v \ge 0$, $v^\top G v + (\sum v - 1)^2$ is least along the
    same direction.

    Args:
        products: $G$, the scalar products of the teachers' pulls, `(teachers, teachers)`.

    Returns:
        `(teachers,)`, float64. Equal teachers weigh alike, and so do all where none pulls.
    """
    teachers = len(products)
    mean = float(products.diagonal().mean())
    scaled = products.double() / mean if mean > 0 else torch.zeros_like(products).double()
    values, vectors = torch.linalg.eigh(scaled + _EVEN * torch.eye(teachers).double())
    root = values.clamp_min(0).sqrt()[:, None] * vectors.T  # its square is G
    sums = torch.ones(1, teachers).double()
    wanted = torch.cat([torch.zeros(teachers), torch.ones(1)]).double()
    found, _ = nnls(torch.cat([root, sums]).numpy(), wanted.numpy())
    weights = torch.from_numpy(found)
    return weights / weights.sum()


def check_agreement(rows: Mapping[str, Rows], *, stored: str) -> None:
    """Refuse rows that do not say what every teacher gives every class.

    Args:
        rows: Some of each head.
        stored: What holds them, "codec topk", for the message.

    Raises:
        OptionError: Some are sparse.
    """
    for head, said in rows.items():
        if isinstance(said, Sparse):
            raise OptionError(
                f"teachers that are weighed by agreement are compared in every class, and {stored} "
                f'names only some of head {head}. Store them with codec "dense16" or another that '
                "keeps every class, or weigh the teachers otherwise."
            )


def _expected(values: Tensor, space: Space) -> Tensor:
    """What the gradient of a loss towards such rows is linear in: probabilities, or numbers."""
    if space == "real":
        return values.float()
    return values.float().sigmoid() if space == "binary" else values.float().softmax(dim=-1)
