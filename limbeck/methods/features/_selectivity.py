"""NST: where channels are active, as a distribution over channels."""

from torch import Tensor

from limbeck.losses.features import neuron_selectivity
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import of_one_size
from limbeck.signals import Batch


def _selectivity(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    return neuron_selectivity(*of_one_size(student, teacher))


selectivity = FeatureMethod(
    card=Card(
        called=("neuron_selectivity",),
        line="Neuron selectivity (NST): in which places channels are active, whichever they are.",
        paper=Paper(authors="Huang and Wang", year=2017, link="https://arxiv.org/abs/1707.01219"),
        formula="mean k(s, s) + mean k(t, t) - 2 mean k(s, t) over channels, k(a, b) = (a'b)^2",
        when="As at, where more than one place matters. It learns no projection.",
        cost=35.8,
        hurt=2.0,
        setting="feature_weight = 50 on CIFAR-100 in later code, with labels.",
        notes="It holds channels x channels numbers a sample. Maps are pooled to the smaller size.",
    ),
    make=plain(_selectivity),
    weight=50.0,
    kinds=("maps",),
)
