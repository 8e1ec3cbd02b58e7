"""TinyBERT: where tokens attend, before the softmax, and their states, layer by layer."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck._errors import OptionError
from limbeck.losses.features import attention_scores, hints
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import (
    by_position,
    check_heads,
    in_heads,
    to_teacher,
    token_mask,
)
from limbeck.signals import Batch


class LayersOptions(Options):
    """How queries and keys are cut, and what attention weighs beside the states."""

    heads: Annotated[int, Field(ge=1)] = 12
    """Attention heads of both models, 1 or more: it must divide the width of queries and keys."""
    attention_weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the scores' error, beside 1 for that of the states, 0 or more; 0 leaves the states."""


class _Layers(nn.Module):
    def __init__(self, pairs: Sequence[Pair], *, heads: int, attention_weight: float) -> None:
        super().__init__()
        if len(pairs) % 3:
            raise OptionError(
                "method tinybert takes three taps for each layer, in this order: what gives its "
                f"queries, its keys and its states. Got {len(pairs)}."
            )
        check_heads([pair for place, pair in enumerate(pairs) if place % 3 < 2], heads=heads)
        self.projections = nn.ModuleList(to_teacher(pair) for pair in pairs[2::3])
        self._heads = heads
        self._weight = attention_weight

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        total = student[0].new_zeros(len(student[0]))
        for layer, project in enumerate(self.projections):
            (*ours, states), (*theirs, their_states) = (
                side[3 * layer : 3 * layer + 3] for side in (student, teacher)
            )
            attention = self._attention(ours, theirs, token_mask(states, batch))
            total = total + by_position(hints, project(states), their_states, batch)
            total = total + self._weight * attention
        return total

    def _attention(
        self, ours: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor | None
    ) -> Tensor:
        """The mean squared error of scores between tokens that count, `(batch,)`."""
        student, teacher = (self._scores(*side) for side in (ours, theirs))
        if mask is None:
            return attention_scores(student, teacher, lowest=-math.inf)
        # A score of -inf is a mask's for the loss: 0, in a mean over all pairs of tokens.
        out = ~(mask[:, :, None] & mask[:, None])[:, None]  # (batch, 1, tokens, tokens)
        scores = (side.masked_fill(out, -torch.inf) for side in (student, teacher))
        share = mask.shape[1] ** 2 / mask.sum(dim=1).clamp_min(1).square()
        return attention_scores(*scores, lowest=-math.inf) * share

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """`(batch, heads, tokens, tokens)`."""
        queries, keys = (in_heads(part, self._heads) for part in (queries, keys))
        return queries @ keys.mT / math.sqrt(queries.shape[3])


layers = FeatureMethod(
    card=Card(
        called=("tiny_bert",),
        line="TinyBERT: attention scores before the softmax, and states, layer by layer.",
        paper=Paper(authors="Jiao et al.", year=2020, link="https://arxiv.org/abs/1909.10351"),
        formula=(
            "sum over layers of mean of (projection(h_s) - h_t)^2 + attention_weight mean over "
            "heads and pairs of tokens of (QK' / sqrt d of the student - of the teacher)^2"
        ),
        when=(
            "Transformers with as many heads on both sides, of any widths. Three taps for each of "
            "the student's layers, in this order: what gives its queries, its keys and its states; "
            "layer i of m of the student with layer i n / m of the teacher's n."
        ),
        cost=25.4,
        setting=(
            "A first stage of it alone, embeddings too, then soft targets at T = 1; here both at "
            "once, and the embeddings only as the states of three more taps."
        ),
        notes=(
            "The projection of the states is a linear layer for each pair, in the paper one for "
            "all; it is trained with the student and not kept. Means are over the tokens that "
            "count; in the code, over padding too, whose scores are 0."
        ),
    ),
    make=_Layers,
    weight=1.0,
    kinds=("tokens",),
    options=LayersOptions,
    fewest_taps=3,
)
