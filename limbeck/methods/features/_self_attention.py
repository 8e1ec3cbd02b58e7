"""MiniLM: where tokens attend, and how alike their values are."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.features import attention_relations, value_relations
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import check_heads, in_heads, mean_of_tokens, token_mask
from limbeck.signals import Batch


class SelfAttentionOptions(Options):
    """How queries, keys and values are cut."""

    relation_heads: Annotated[int, Field(ge=1)] = 12
    """Heads that both sides' features are cut into, 1 or more: it must divide both widths, and need
    not be how many the models have."""


class _SelfAttention(nn.Module):
    def __init__(self, pairs: Sequence[Pair], *, relation_heads: int) -> None:
        super().__init__()
        check_heads(pairs, relation_heads=relation_heads)
        self._heads = relation_heads

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        mask = token_mask(student[0], batch)
        (queries, keys, values), theirs = (
            [in_heads(part, self._heads) for part in side] for side in (student, teacher)
        )
        per_token = attention_relations(queries, keys, theirs[0], theirs[1], mask=mask)
        per_token = per_token + value_relations(values, theirs[2], mask=mask)  # (batch, tokens)
        return mean_of_tokens(per_token, batch)


self_attention = FeatureMethod(
    card=Card(
        line="Self-attention relations (MiniLM): where tokens attend, and how alike values are.",
        paper=Paper(authors="Wang et al.", year=2020, link="https://arxiv.org/abs/2002.10957"),
        formula=(
            "mean over heads and tokens of KL(softmax(QK' / sqrt d) of the teacher || of the "
            "student) + the same of VV'"
        ),
        when=(
            "Transformers of any two widths. Three taps: the modules that give queries, keys and "
            "values, of the student's last layer and of one of the teacher's upper ones."
        ),
        cost=31.6,
        setting="As many heads as both models have, 12; version 2 (2021) cuts into more, 48.",
        notes=(
            "The paper trains with it alone, without labels, before fine-tuning. It learns no "
            "projection."
        ),
    ),
    make=_SelfAttention,
    weight=1.0,
    kinds=("tokens",),
    options=SelfAttentionOptions,
    fewest_taps=3,
    most_taps=3,
)
