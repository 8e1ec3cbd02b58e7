"""FitNets: the student's features, projected, against the teacher's, number by number."""

from torch import Tensor, nn

from limbeck.losses.features import hints
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import by_position, to_teacher
from limbeck.signals import Batch


class _Fitnets(nn.Module):
    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.regressor = to_teacher(pair)

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return by_position(hints, self.regressor(student), teacher, batch)


fitnets = FeatureMethod(
    card=Card(
        called=("hints",),
        line="Hints: what a module of the teacher gives, predicted from one of the student.",
        paper=Paper(authors="Romero et al.", year=2015, link="https://arxiv.org/abs/1412.6550"),
        formula="mean of (regressor(student) - teacher)^2",
        when=(
            "First among feature methods: it is for every kind of features, and easy to read. One "
            "tap, in the middle of both models."
        ),
        cost=21.4,
        hurt=1.1,
        setting=(
            "A first stage of hints alone, then soft targets alone; here both at once, as later "
            "code does, which has feature_weight = 100 on CIFAR-100."
        ),
        notes=(
            "The regressor is a 1 x 1 convolution, or a linear layer of tokens and vectors; later "
            "code adds a normalisation and a ReLU. It is trained with the student and not kept. "
            "Maps of two sizes are pooled to the smaller."
        ),
    ),
    make=each(_Fitnets),
    weight=100.0,
    kinds=("maps", "tokens", "vectors"),
)
