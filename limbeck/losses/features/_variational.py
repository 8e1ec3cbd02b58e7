"""Variational information distillation (Ahn et al., 2019, https://arxiv.org/abs/1904.05835)."""

from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses._soft_targets import at_least_float32
from limbeck.losses.features._common import both, check_batch, check_per_channel


def variational_information(student: Tensor, teacher: Tensor, log_variance: Tensor) -> Tensor:
    r"""Negative log-likelihood of the teacher's features under a Gaussian that the student gives.

    Mean over a row's numbers of $\frac{1}{2} ((t - \mu)^2 / \sigma_c^2 + \log \sigma_c^2)$,
    without its constant. Where the variance is learned as well, each channel's nears its
    mean squared error, and a channel that cannot be learned weighs little. It may be below 0: with
    the variance given, the least is half the mean of its logarithm, at equality.

    Args:
        student: $\mu$, what the student's features predict, shape `(batch, channels, height,
            width)`, or `(batch, channels)`.
        teacher: $t$, of the same shape. No gradient flows into it.
        log_variance: $\log \sigma_c^2$, shape `(channels,)`; it takes a gradient. The official code
            has $\sigma_c^2 = softplus(\alpha_c) + \epsilon$, from 5 on.

    Returns:
        One loss per row, in nats for each number, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_batch(student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    check_per_channel(student, log_variance=log_variance)
    student, teacher = both(student, teacher)
    log_variance = at_least_float32(log_variance)
    log_variance = log_variance.reshape(-1, *[1] * (student.dim() - 2))  # (channels, 1, 1)
    error = (student - teacher).square()
    return (error * (-log_variance).exp() + log_variance).flatten(1).mean(dim=1) / 2
