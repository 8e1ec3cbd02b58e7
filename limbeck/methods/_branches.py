"""Branches inside a student that learn from its own last answer: self-distillation.

Be Your Own Teacher (Zhang et al. 2019, https://arxiv.org/abs/1905.08094, section 3): each branch i,
a bottleneck and a classifier on what a module gives, learns by

(1 - alpha) CE(label, branch i) + alpha KL(last answer, branch i) + lambda |features i - deepest|^2,

and these are summed. Here `hard_weight` is 1 - alpha and `soft_weight` alpha / T^2; what the last
classifier learns, from labels alone in the paper, is said by the rest of `[distil]`. The authors'
later code (https://github.com/ArchipLab-LinfengZhang/pytorch-self-distillation-final) has
alpha = 0.3, T = 3, lambda = 0.03 and weight 1 for the last classifier. Where we differ:

- T^2 is part of the soft loss, as of every one here; that code leaves it out. So its alpha is 9
  times the `soft_weight` that pulls as hard, 0.033.
- The soft loss is a KL divergence, as in the paper; that code's cross-entropy has its gradient.
- Features are compared after a linear layer of their own, as in that code, by the mean of their
  squared distances. There it is the root of their sum over the whole batch, which depends on the
  batch's size: its lambda belongs to that, and is no `feature_weight`. And the branch at index 1
  is left out, which its comment calls the shallowest, and is the deepest.
- Each sample is normalised by itself, and not over the batch: so neither padding nor other samples
  count, and micro-batches and processes change nothing.
- Wherever it is, a bottleneck has one convolution over neighbours, of stride 2, and no attention:
  the sizes of the layers that follow are not known.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from limbeck._errors import ShapeError
from limbeck._outputs import read_outputs
from limbeck.losses import squared_error
from limbeck.methods._method import Options
from limbeck.methods._soft_targets import soft_targets
from limbeck.methods._terms import SUPERVISED, BranchTerm, Objective, exact, term_name
from limbeck.methods.features._method import KINDS
from limbeck.methods.features._shapes import vectors
from limbeck.methods.features._terms import heard_inside
from limbeck.recipe import Branches
from limbeck.signals import Batch, Dense, Head
from limbeck.taps import tap_name

NARROWEST = 16
"""Units of a bottleneck, at least: of a student of few, a quarter would say next to nothing."""


def branch_terms(
    settings: Branches,
    heads: Sequence[Head],
    student: nn.Module,
    batch: Batch,
    *,
    seed: int,
    who: str = "the student",
) -> Objective:
    """What the branches of one student learn, made from the shapes of a batch.

    The student is not changed, nor are torch's random numbers.

    Args:
        settings: Where they are, and what they learn.
        heads: What the student answers, and each branch does.
        student: Who learns.
        batch: Some samples, on any device.
        seed: Of the branches' first weights.
        who: The student, for the message.

    Raises:
        ModelError: There is no such module, or it gets no gradient.
        ShapeError: It gives what no branch can answer from.
    """
    deepest = settings.features
    paths = [*settings.taps, *([] if deepest is None else [deepest])]
    seen, output = heard_inside(student, paths, batch.inputs, who=who)
    answers = read_outputs(output, heads, who=who.removeprefix("the "))
    for path, features in seen.items():
        _check(path, features, answers if path in settings.taps else {}, who=who)
    channels = {path: _channels(features) for path, features in seen.items()}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU alone, as what is kept of it
        each = [
            _Branch(
                axes=seen[path].dim() - 1,
                inputs=channels[path],
                width=max(NARROWEST, *channels.values()),
                heads=heads,
                by_row=[answers[head.name].dim() > 2 for head in heads],
                deepest=None if deepest is None else channels[deepest],
            )
            for path in settings.taps
        ]
    module = _Branches(settings.taps, heads, each)
    module.to(torch.promote_types(seen[settings.taps[0]].dtype, torch.float32))

    def term(name: str, said: str, weight: float, loss: _Loss, *, labels: bool) -> BranchTerm:
        return BranchTerm(
            name=f"branches {name}",
            weight=weight,
            student_taps=tuple(paths),
            module=module,
            said=tuple(_called(path, said) for path in settings.taps),
            loss=loss,
            with_labels=labels,
        )

    asked = []
    for head in heads:
        by_labels = _towards_labels(head)
        by_itself = _towards_last_answer(head, settings.temperature)
        hard, soft = (term_name(kind, head, heads) for kind in ("hard", "soft"))
        asked.append(term(hard, head.name, settings.hard_weight, by_labels, labels=True))
        asked.append(term(soft, head.name, settings.soft_weight, by_itself, labels=False))
    if deepest is not None:
        towards = _towards_features(deepest)
        asked.append(term("feature", _FEATURES, settings.feature_weight, towards, labels=False))
    return tuple(one for one in asked if one.weight > 0)


_Loss = Callable[[Tensor, Mapping[str, Tensor], Batch], Tensor]
_FEATURES = ""
"""In the place of a head's name, where no head is."""


def _called(path: str, what: str) -> str:
    """What a branch's rows of a head, or its features, are called among what the student says."""
    return f"branch:{path}:{what}"


def _check(path: str, features: Tensor, answers: Mapping[str, Tensor], *, who: str) -> None:
    """Refuse features that answers of these shapes cannot be made from."""
    shape = tuple(features.shape)
    if len(shape) - 1 not in KINDS:
        raise ShapeError(
            "a branch learns from maps (batch, channels, height, width), tokens (batch, tokens, "
            f"features) or vectors (batch, features), and the module {path!r} of {who} gives "
            f"{shape}. `limbeck layers RECIPE` lists modules with their shapes."
        )
    for head, rows in answers.items():
        if rows.dim() > 2 and (len(shape) != 3 or shape[1] != rows.shape[1]):
            raise ShapeError(
                f"{who} answers head {head} for each of {rows.shape[1]} tokens, and its module "
                f"{path!r} gives {shape}, from which a branch cannot. Take a module that gives as "
                "many tokens; `limbeck layers RECIPE` lists them with their shapes."
            )


def _channels(features: Tensor) -> int:
    return features.shape[1] if features.dim() == 4 else features.shape[-1]


def _towards_labels(head: Head) -> _Loss:
    loss = SUPERVISED[head.space]
    return lambda said, student, batch: loss(said, batch.labels[head.name])


def _towards_last_answer(head: Head, temperature: float) -> _Loss:
    loss = soft_targets.loss(head, temperature=temperature, options=Options())
    return lambda said, student, batch: loss(said, Dense(values=student[head.name].detach()), batch)


def _towards_features(path: str) -> _Loss:
    name = tap_name(path)
    return lambda said, student, batch: squared_error(said, vectors(exact(student[name]), batch))


class _Branches(nn.Module):
    """All branches of one student.

    Args:
        taps: The modules that they are on, by path.
        heads: What each answers.
        each: One branch for each tap.
    """

    def __init__(self, taps: Sequence[str], heads: Sequence[Head], each: Sequence[nn.Module]):
        super().__init__()
        self.each = nn.ModuleList(each)
        self._taps = list(taps)
        self._heads = [head.name for head in heads]

    def forward(self, student: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Each branch's rows of each head, and its features, `(batch, deepest)`, by `_called`."""
        said = {}
        for path, branch in zip(self._taps, self.each, strict=True):
            rows, features = branch(exact(student[tap_name(path)]), batch)
            for head, answer in zip(self._heads, rows, strict=True):
                said[_called(path, head)] = answer
            if features is not None:
                said[_called(path, _FEATURES)] = features
        return said


class _Branch(nn.Module):
    """A bottleneck, and a classifier for each head.

    Args:
        axes: Of what the module gives for one sample: 3 for maps, 2 for tokens, 1 for vectors.
        inputs: Its channels, or features.
        width: Those that the classifiers see.
        heads: What is answered.
        by_row: Of each, whether for every token.
        deepest: How many features are compared with the student's deepest; None for none.
    """

    def __init__(
        self,
        *,
        axes: int,
        inputs: int,
        width: int,
        heads: Sequence[Head],
        by_row: Sequence[bool],
        deepest: int | None,
    ) -> None:
        super().__init__()
        narrow = max(NARROWEST, width // 4)
        self.bottleneck = (_of_maps if axes == 3 else _of_vectors)(inputs, narrow, width)
        self.classifiers = nn.ModuleList(nn.Linear(width, head.size) for head in heads)
        self.adaptation = None if deepest is None else nn.Linear(width, deepest)
        self._by_row = list(by_row)

    def forward(self, features: Tensor, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        """Rows of each head, `(batch, size)` or `(batch, tokens, size)`; and `(batch, deepest)`."""
        found = self.bottleneck(features)
        whole = vectors(found, batch)
        rows = [
            classifier(found if by_row else whole)
            for classifier, by_row in zip(self.classifiers, self._by_row, strict=True)
        ]
        return rows, None if self.adaptation is None else self.adaptation(whole)


def _of_maps(inputs: int, narrow: int, width: int) -> nn.Sequential:
    """`(batch, inputs, height, width)` to half the height and width, of `width` channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, narrow, 1),
        nn.GroupNorm(1, narrow),
        nn.ReLU(),
        nn.Conv2d(narrow, narrow, 3, stride=2, padding=1),
        nn.GroupNorm(1, narrow),
        nn.ReLU(),
        nn.Conv2d(narrow, width, 1),
        nn.GroupNorm(1, width),
        nn.ReLU(),
    )


def _of_vectors(inputs: int, narrow: int, width: int) -> nn.Sequential:
    """`(..., inputs)` to `(..., width)`, each by itself."""
    return nn.Sequential(
        nn.Linear(inputs, narrow),
        nn.LayerNorm(narrow),
        nn.ReLU(),
        nn.Linear(narrow, width),
        nn.LayerNorm(width),
        nn.ReLU(),
    )
