"""Channel-wise distillation (Shu et al., 2021, https://arxiv.org/abs/2011.13256)."""

from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses._soft_targets import log_probabilities, relative_entropy
from limbeck.losses.features._common import MAPS, check_axes


def channel_wise(student: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Tensor:
    r"""KL divergence between the two sides' distributions over positions, the mean over channels.

    Computes $\frac{T^2}{C} \sum_c KL(softmax_{hw}(t_c / T) \,\|\, softmax_{hw}(s_c / T))$: for each
    channel, where in the image it looks. We take the logarithm of the softmax as one function,
    where code that takes it of the student's probability gets minus infinity once that underflows.

    Args:
        student: $s$, shape `(batch, channels, height, width)`: features, or logits of each pixel.
        teacher: $t$, of the same shape. No gradient flows into it.
        temperature: $T > 0$. Near 0 only the strongest position of each channel counts; as it grows
            the loss nears half the mean squared difference of the maps with their mean taken off.

    Returns:
        One loss per row, in nats times $T^2$, shape `(batch,)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ, or are not of four axes.
    """
    check_axes(MAPS, student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    log_student, log_teacher = log_probabilities(
        student.flatten(2), teacher.flatten(2), temperature=temperature
    )
    return temperature**2 * relative_entropy(log_teacher, log_student).mean(dim=1)
