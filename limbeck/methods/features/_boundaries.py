"""AB: whether each neuron is on, as the teacher's is."""

from torch import Tensor, nn

from limbeck.losses.features import activation_boundaries
from limbeck.methods._method import Card, NotNegative, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import of_one_size, to_teacher
from limbeck.signals import Batch


class BoundariesOptions(Options):
    """How clearly on or off."""

    margin: NotNegative = 1.0
    """0 or more. At 0 the right sign is enough; the larger, the further each side is driven."""


class _Boundaries(nn.Module):
    def __init__(self, pair: Pair, *, margin: float) -> None:
        super().__init__()
        self.connector = to_teacher(pair)
        self._margin = margin

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        ours = self.connector(student)
        if ours.dim() == 4:
            ours, teacher = of_one_size(ours, teacher)
        return activation_boundaries(ours, teacher, margin=self._margin)


boundaries = FeatureMethod(
    card=Card(
        line="Activation boundaries (AB): whether each neuron is on, as the teacher's is.",
        paper=Paper(authors="Heo et al.", year=2019, link="https://arxiv.org/abs/1811.03233"),
        formula="sum of max(0, margin - s)^2 where teacher > 0, of max(0, margin + s)^2 elsewhere",
        when="Taps before a ReLU, whose sign says whether it is on: after one nothing is off.",
        cost=59.5,
        hurt=4.4,
        setting=(
            "A first stage of training by itself, with a weight of 0.003 halved for each stage "
            "before the last; here beside the others, all stages alike."
        ),
        notes=(
            "Of the teacher only the sign counts. The connector is a 1 x 1 convolution, or a "
            "linear layer of vectors. It sums over all neurons."
        ),
    ),
    make=each(_Boundaries),
    weight=3e-3,
    kinds=("maps", "vectors"),
    options=BoundariesOptions,
)
