"""CWD: where in the image each channel looks."""

from torch import Tensor, nn

from limbeck.losses.features import channel_wise
from limbeck.methods._method import Card, Options, Paper, Positive
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import of_one_size, to_teacher_if_needed
from limbeck.signals import Batch


class ChannelsOptions(Options):
    """How sharp the distributions are."""

    map_temperature: Positive = 4.0
    """Of each channel's softmax over positions, above 0: near 0 only the strongest position counts;
    as it grows the maps themselves are compared, less their mean."""


class _Channels(nn.Module):
    def __init__(self, pair: Pair, *, map_temperature: float) -> None:
        super().__init__()
        # A softmax over positions takes no notice of what is added to all of them: no bias.
        self.align = to_teacher_if_needed(pair, bias=False)
        self._temperature = map_temperature

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        maps = of_one_size(self.align(student), teacher)
        return channel_wise(*maps, temperature=self._temperature)


channels = FeatureMethod(
    card=Card(
        line="Channel-wise (CWD): where in the image each channel looks, as a distribution.",
        paper=Paper(authors="Shu et al.", year=2021, link="https://arxiv.org/abs/2011.13256"),
        formula=(
            "map_temperature^2 mean over channels of KL(softmax over positions of teacher / "
            "map_temperature || of the student)"
        ),
        when="Dense prediction, segmentation above all; maps of many positions.",
        cost=33.9,
        hurt=3.5,
        setting="map_temperature = 4; feature_weight = 50 for features, 3 for maps of logits.",
        notes=(
            "Where the numbers of channels differ a 1 x 1 convolution is learned between them. "
            "Maps of two sizes are pooled to the smaller."
        ),
    ),
    make=each(_Channels),
    weight=50.0,
    kinds=("maps",),
    options=ChannelsOptions,
)
