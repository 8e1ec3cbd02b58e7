"""CRD: the student tells its sample's teacher from those of other samples, which a memory keeps."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck._errors import DataError, OptionError
from limbeck.losses.features import contrastive_log_normaliser, contrastive_representation
from limbeck.methods._method import Card, Options, Paper, Positive
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import vectors
from limbeck.signals import Batch


class ContrastOptions(Options):
    """How many others it is told from, and how."""

    negatives: Annotated[int, Field(ge=1)] = 16384
    """Other samples in each step, 1 or more: few are easily told apart, many cost time; where there
    are fewer, all of them."""
    embedding: Annotated[int, Field(ge=1)] = 128
    """Numbers in an embedding, 1 or more: few tell few samples apart, many cost memory, as many
    for each sample of each side."""
    contrast_temperature: Positive = 0.07
    """Above 0. Near 0 only the most alike others count; as it grows all count alike."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How much of what is remembered of a sample stays when it is seen again: from 0, nothing, up
    to 1, which is left out."""


class _Contrast(nn.Module):
    """Embeddings of both sides, and a memory of both for every sample.

    What is remembered has a row for each sample, by its position in the training data.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        negatives: int,
        embedding: int,
        contrast_temperature: float,
        momentum: float,
    ) -> None:
        super().__init__()
        _check_one_process()
        ours, theirs = pair.channels
        self.embed_student = nn.Linear(ours, embedding)
        self.embed_teacher = nn.Linear(theirs, embedding)
        bound = math.sqrt(3 / embedding)  # so that a row has the length 1, about
        shape = pair.num_samples, embedding
        self.student_memory = nn.Buffer(torch.empty(shape).uniform_(-bound, bound))
        self.teacher_memory = nn.Buffer(torch.empty(shape).uniform_(-bound, bound))
        self.log_normalisers = nn.Buffer(torch.full((2,), -torch.inf))
        self._negatives = negatives
        self._temperature = contrast_temperature
        self._momentum = momentum

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        ours = self.embed_student(vectors(student, batch))
        theirs = self.embed_teacher(vectors(teacher.to(student.dtype), batch))
        others = self._others(batch.index)
        total = self._told(0, ours, theirs, self.teacher_memory, others)
        total = total + self._told(1, theirs, ours, self.student_memory, others)
        if self.training:
            self._remember(self.student_memory, batch.index, ours)
            self._remember(self.teacher_memory, batch.index, theirs)
        return total

    def _others(self, index: Tensor) -> Tensor:
        """`(negatives,)`: samples that are not in the batch, drawn anew for each."""
        outside = torch.ones(len(self.student_memory), dtype=torch.bool)
        outside[index] = False
        others = outside.nonzero()[:, 0]
        if not len(others):
            raise DataError(
                "method crd tells a sample from others outside of its batch, and there is none. "
                "Take a smaller train.batch_size."
            )
        return others[torch.randperm(len(others))[: self._negatives]]

    def _told(
        self, side: int, ours: Tensor, theirs: Tensor, memory: Tensor, others: Tensor
    ) -> Tensor:
        negatives = memory[others.to(memory.device)]
        if self.log_normalisers[side].isinf():  # from the first batch, then kept
            self.log_normalisers[side] = contrastive_log_normaliser(
                ours, theirs, negatives, num_memory=len(memory), temperature=self._temperature
            )
        return contrastive_representation(
            ours,
            theirs,
            negatives,
            log_normaliser=self.log_normalisers[side].clone(),
            num_memory=len(memory),
            temperature=self._temperature,
        )

    @torch.no_grad()
    def _remember(self, memory: Tensor, index: Tensor, seen: Tensor) -> None:
        rows = index.to(memory.device)
        mixed = self._momentum * memory[rows]
        mixed = mixed + (1 - self._momentum) * nn.functional.normalize(seen.detach(), dim=1)
        memory[rows] = nn.functional.normalize(mixed, dim=1)


def _check_one_process() -> None:
    group = torch.distributed
    if group.is_available() and group.is_initialized() and group.get_world_size() > 1:
        raise OptionError(
            "method crd remembers every sample, which several processes cannot share yet. Run it "
            "in one process."
        )


contrast = FeatureMethod(
    card=Card(
        line="Contrast (CRD): the student tells its sample's teacher from those of others.",
        paper=Paper(
            authors="Tian, Krishnan and Isola", year=2020, link="https://arxiv.org/abs/1910.10699"
        ),
        formula=(
            "-log h(t) / (h(t) + c) - sum over negatives of log c / (h(n) + c), and with the roles "
            "changed; h = exp(cos / contrast_temperature) / Z, c = negatives / samples"
        ),
        when=(
            "Taps of what the last layers read, and thousands of samples to be told from. It holds "
            "2 x samples x embedding numbers more."
        ),
        cost=432.9,
        hurt=2.2,
        setting="feature_weight = 0.8 on CIFAR-100, with labels; soft targets beside it help.",
        notes=(
            "The negatives of a step are the same for the whole batch, and samples outside of it, "
            "of whatever class: the code draws them for each sample, of other classes, which needs "
            "labels. The positive is this step's embedding, in the code that of the memory. Not "
            "with several processes."
        ),
    ),
    make=each(_Contrast),
    weight=0.8,
    kinds=("maps", "tokens", "vectors"),
    options=ContrastOptions,
    same_kind=False,
    whole_batch=True,
)
