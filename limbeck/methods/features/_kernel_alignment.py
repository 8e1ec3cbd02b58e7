"""CKA: alike up to rotation and scale, over a batch."""

from torch import Tensor

from limbeck.losses.features import linear_cka_distance
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import whole
from limbeck.signals import Batch


def _kernel_alignment(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    return linear_cka_distance(whole(student, batch), whole(teacher, batch))


kernel_alignment = FeatureMethod(
    card=Card(
        line="Linear CKA: features alike up to rotation and scale, over a batch.",
        paper=Paper(authors="Kornblith et al.", year=2019, link="https://arxiv.org/abs/1905.00414"),
        formula="1 - |X'Y|^2 / (|X'X| |Y'Y|), features less their mean over the batch",
        when=(
            "As sp. Batches as large as there are features, or larger: of few samples everything "
            "is aligned."
        ),
        cost=6.8,
        setting="The paper measures with it, and trains nothing: feature_weight is ours.",
        notes="Its value is the whole batch's. Of tokens it takes the mean over those that count.",
    ),
    make=plain(_kernel_alignment),
    weight=1.0,
    kinds=("maps", "tokens", "vectors"),
    same_kind=False,
    whole_batch=True,
)
