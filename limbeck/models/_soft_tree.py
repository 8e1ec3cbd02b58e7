r"""A soft decision tree: a student that shows what it decides by.

Frosst & Hinton 2017, https://arxiv.org/abs/1711.09784. Inner node $i$ sends a sample to the right
with probability $p_i(x) = \sigma(\beta (x w_i + b_i))$; a path's probability $P^\ell(x)$ is the
product along it; leaf $\ell$ holds one distribution $Q^\ell$ over classes, whatever the sample.

It learns from the loss of the paper (equation 3): the cross-entropy of each leaf towards the
target, weighted by the path's probability. (There the formula is also the logarithm of that, which
is of a negative number; the text, and every implementation, has it without.) In training the tree
answers $s = \sum_\ell P^\ell \log Q^\ell$, and adds $-\log \sum_k e^{s_k}$ to its loss: for a
target $T$ of sum 1, as one of labels and teacher is whose weights sum to 1, cross-entropy and this
make $-\sum_k T_k s_k = \sum_\ell P^\ell \, CE(T, Q^\ell)$.

It also adds the paper's penalty (equations 4 and 5), which keeps both sides of a node in use. Where
that is not told to the last detail: a running average at depth $d$ reaches back over $2^d$ batches,
and the penalty has its value, with the gradient of the batch at hand.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_DEPTH = 12
"""4096 leaves."""
NEVER_USED = 1e-4
"""As near to 0 and 1 the penalty sees the use of a side, for beyond its gradient has no bound."""
ANSWERS = ("leaf", "mixture")


class SoftTree(nn.Module):
    r"""A tree of linear decisions, each taken with a probability; inputs are flattened.

    Nodes are counted row by row from the root: those below node i are 2i + 1 and 2i + 2.

    Args:
        inputs: Numbers in one sample.
        classes: How many classes each leaf speaks of.
        depth: Decisions on the way to a leaf, 1..12: there are 2^depth leaves.
        beta: $\beta$, above 0: with a large one decisions are hard from the beginning.
        penalty: $\lambda$, 0 or more, the weight of the balance of the root; of one at depth d it
            is $\lambda 2^{-d}$. 0 leaves sides to themselves.
        answer: "leaf": the distribution of the leaf that is most probably reached, which is what
            can be read off the tree. "mixture": the mean of all leaves by their paths'
            probabilities, which is as a rule more often right.
    """

    usage: Tensor

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        depth: int = 8,
        beta: float = 1.0,
        penalty: float = 0.1,
        answer: str = "leaf",
    ) -> None:
        super().__init__()
        if not 1 <= depth <= MOST_DEPTH:
            raise ValueError(f"depth must be 1..{MOST_DEPTH}, got {depth}")
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        if not penalty >= 0:
            raise ValueError(f"penalty must be 0 or more, got {penalty}")
        if answer not in ANSWERS:
            raise ValueError(f"answer must be {' or '.join(ANSWERS)}, got {answer!r}")
        self.depth, self.beta, self.penalty, self.answer = depth, beta, penalty, answer
        self.nodes = nn.Linear(inputs, 2**depth - 1)
        self.leaves = nn.Parameter(torch.randn(2**depth, classes))
        # How much of what comes to a node goes right: a running average over batches.
        self.register_buffer("usage", torch.full((2**depth - 1,), 0.5))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """`(batch, ...)` to log-probabilities `(batch, classes)`; in training, to what is learned.

        That is a dict of `logits`, whose cross-entropy and `auxiliary_loss` together are the loss
        of the paper and its penalty.
        """
        right = self.log_odds(x)
        paths = log_paths(right)
        log_leaves = self.log_leaves()
        if self.training:
            logits = paths[-1].exp() @ log_leaves
            gap = -torch.logsumexp(logits, dim=-1)  # (batch,)
            return {"logits": logits, "auxiliary_loss": gap + self._balance(right, paths)}
        if self.answer == "leaf":
            return log_leaves[paths[-1].argmax(dim=-1)]
        mean = paths[-1].exp() @ log_leaves.exp()
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()

    def log_odds(self, x: Tensor) -> Tensor:
        """Of going right at each inner node: `(batch, ...)` to `(batch, nodes)`."""
        return self.beta * _exact(self.nodes(x.flatten(1)))

    def log_paths(self, x: Tensor) -> list[Tensor]:
        """Logarithms of the probability to reach each node, row by row: `(batch, 2^d)`, d = 0.."""
        return log_paths(self.log_odds(x))

    def log_leaves(self) -> Tensor:
        """The logarithm of each leaf's distribution: `(leaves, classes)`."""
        return torch.log_softmax(_exact(self.leaves), dim=-1)

    def _balance(self, right: Tensor, paths: list[Tensor]) -> Tensor:
        """The penalty of nodes that send nearly all to one side; the running averages move on."""
        if not len(right):
            return right.sum()  # a process may get no sample of a small last batch
        reached = torch.cat(paths[:-1], dim=1)  # (batch, nodes)
        gone = (reached + F.logsigmoid(right)).logsumexp(dim=0)
        share = (gone - reached.logsumexp(dim=0)).exp()  # (nodes,), equation 4
        steps = torch.cat([share.new_full((2**d,), 2.0**-d) for d in range(self.depth)])
        with torch.no_grad():
            self.usage.lerp_(share.to(self.usage), steps.to(self.usage))
            seen = self.usage.to(share).clamp(NEVER_USED, 1 - NEVER_USED)
        used = seen + share - share.detach()  # the average, with the gradient of this batch
        each = -0.5 * (torch.log(used) + torch.log1p(-used))  # equation 5
        return self.penalty * (steps * each).sum()


def _exact(values: Tensor) -> Tensor:
    """In float32 or better: paths are products of many."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def log_paths(right: Tensor) -> list[Tensor]:
    """Logarithms of the probability to reach each node, level by level; the last one is the leaves.

    Args:
        right: Log-odds of going right at each inner node, row by row: `(batch, 2^depth - 1)`.

    Returns:
        `(batch, 2^d)` for d in 0..depth.
    """
    paths = [right.new_zeros(len(right), 1)]
    for depth in range((right.shape[1] + 1).bit_length() - 1):
        level = right[:, 2**depth - 1 : 2 ** (depth + 1) - 1]  # (batch, 2^depth)
        both = torch.stack([F.logsigmoid(-level), F.logsigmoid(level)], dim=-1)
        paths.append((paths[-1][:, :, None] + both).flatten(1))
    return paths
