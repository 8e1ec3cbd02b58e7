"""Features as the teacher's own classifier reads them.

SRRL (Yang et al., 2021, https://openreview.net/forum?id=ZzwDy_wiWv) and CAT-KD (Guo et al., 2023,
https://arxiv.org/abs/2304.12777). A third, SimKD, is `hints` of the map before that classifier.
"""

import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import OptionError, ShapeError
from limbeck._shapes import check_same_shape
from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import VECTORS, both, check_agree, check_axes


def softmax_regression(
    student: Tensor,
    teacher: Tensor,
    teacher_weight: Tensor,
    *,
    features_weight: float = 1.0,
    logits_weight: float = 1.0,
) -> Tensor:
    r"""Squared error of features, and of the teacher's logits of them (SRRL).

    With $W$ the weight of the teacher's last layer, computes $\alpha \, \overline{(s - t)^2} +
    \beta \, \overline{(W s - W t)^2}$, means over features and over classes. The layer's bias is
    the same on both sides and goes out.

    Args:
        student: $s$, after the connector, with the mean over positions taken, shape `(batch,
            features)`.
        teacher: $t$, what its last layer reads, of the same shape. No gradient flows into it.
        teacher_weight: $W$, shape `(classes, features)`. No gradient flows into it.
        features_weight: $\alpha$, 0 or more; 0 leaves only what the classifier sees.
        logits_weight: $\beta$, 0 or more; 0 leaves the features' error, `hints`.

    Returns:
        One loss per row, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_axes(VECTORS, student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    check_axes("classes, features", teacher_weight=teacher_weight)
    if student.shape[1] != teacher_weight.shape[1]:
        raise ShapeError(
            f"teacher_weight must have one column for each feature, expected {student.shape[1]}, "
            f"got shape {tuple(teacher_weight.shape)}."
        )
    student, teacher = both(student, teacher)
    gap = student - teacher
    logits_gap = scalar_products(gap, teacher_weight.detach().to(gap.dtype))  # (batch, classes)
    of_features, of_logits = gap.square().mean(dim=1), logits_gap.square().mean(dim=1)
    return features_weight * of_features + logits_weight * of_logits


def class_attention(student: Tensor, teacher: Tensor, *, resolution: int = 2) -> Tensor:
    r"""Mean squared error of class activation maps, pooled to a few positions (CAT-KD).

    A class activation map is what the classifier, moved before the global pooling, gives at each
    position: the mean over its positions is the class's logit. The official code can also take
    each pooled map at length 1 first; its settings for CAT-KD, where labels are at hand, do not.

    Args:
        student: Class activation maps, shape `(batch, classes, height, width)`.
        teacher: Of the same batch and classes; height and width may be others. No gradient flows
            into it.
        resolution: Positions along each side after pooling, 1 or more. At 1 it compares logits,
            `limbeck.losses.squared_error`; at the maps' own size nothing is pooled.

    Returns:
        One loss per row, in the squared unit of logits, shape `(batch,)`.

    Raises:
        OptionError: `resolution` is below 1.
        ShapeError: The shapes do not fit, or a map is smaller than `resolution`.
    """
    if resolution < 1:
        raise OptionError(f"resolution must be 1 or more, got {resolution}.")
    check_axes("batch, classes, height, width", student=student, teacher=teacher)
    check_agree("batch and number of classes", (0, 1), student=student, teacher=teacher)
    for name, maps in (("student", student), ("teacher", teacher)):
        if min(maps.shape[2:]) < resolution:
            raise ShapeError(
                f"{name} must be {resolution} × {resolution} positions or more, got shape "
                f"{tuple(maps.shape)}. Take a smaller resolution."
            )
    student, teacher = both(student, teacher)
    size = (resolution, resolution)
    gap = F.adaptive_avg_pool2d(student, size) - F.adaptive_avg_pool2d(teacher, size)
    return gap.square().mean(dim=(1, 2, 3))
