"""CAT-KD: where in the image each class is seen."""

from functools import partial
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.features import class_attention as loss
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._classifiers import answer_from, frozen
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.signals import Batch


class ClassAttentionOptions(Options):
    """How finely places are told apart."""

    resolution: Annotated[int, Field(ge=1)] = 2
    """Positions along each side after pooling, 1 or more: at 1 it compares logits; no map may have
    fewer."""


class _ClassAttention(nn.Module):
    def __init__(self, pair: Pair, *, resolution: int) -> None:
        super().__init__()
        assert pair.student_classifier is not None, "the method asks for both"
        assert pair.teacher_classifier is not None, "the method asks for both"
        # No module of this one's: it is the student's, which learns and is saved by itself.
        self._maps_of_student = partial(answer_from, classifier=pair.student_classifier)
        self.of_teacher = frozen(pair.teacher_classifier)
        self._resolution = resolution

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        maps = self._maps_of_student(student), answer_from(teacher, self.of_teacher)
        return loss(*maps, resolution=self._resolution)


class_attention = FeatureMethod(
    card=Card(
        called=("cat_kd",),
        line="Class attention (CAT-KD): where in the image each class is seen.",
        paper=Paper(authors="Guo et al.", year=2023, link="https://arxiv.org/abs/2304.12777"),
        formula=(
            "mean over classes and pooled positions of (W_s F_s - W_t F_t)^2, W the last layers"
        ),
        when=(
            "Convolutional networks that average their last map and classify that, or classify "
            "each position and average those: one tap, the map that is averaged. Nothing is "
            "learned beside the student, whose last layer learns by it."
        ),
        cost=25.5,
        hurt=2.7,
        setting=(
            "feature_weight from 0.7 to 600 by pair on CIFAR-100 (15 for ResNet32x4 and 8x4), with "
            "labels, resolution = 2: it is to be tuned."
        ),
        notes=(
            "The last layer is found as the one that answers from the averaged map, and applied to "
            "each position: their mean is the logits. That of the teacher is not in stored "
            "features: limbeck.distil then needs the teacher itself."
        ),
    ),
    make=each(_ClassAttention),
    weight=15.0,
    kinds=("maps",),
    options=ClassAttentionOptions,
    classifiers=("student", "teacher"),
)
