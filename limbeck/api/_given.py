"""What the caller gave, as data and as a teacher, checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._errors import OptionError
from limbeck._outputs import Outputs
from limbeck._progress import Progress
from limbeck.data import DataSet, Samples, check_split, samples, samples_and_heads
from limbeck.evaluation import answer_all, as_answerer
from limbeck.metrics import metric_for
from limbeck.recipe import Train
from limbeck.signals import Head
from limbeck.teachers import Teacher
from limbeck.train import History, Learner, Order, Teach, fit

TeacherLike = Teacher | nn.Module | Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the caller gave as `data`: samples are all three splits but validation."""

    train: Samples
    validation: Samples | None
    test: Samples
    heads: tuple[Head, ...]

    @classmethod
    def of(
        cls,
        data: Any,
        heads: Sequence[Head] = (),
        *,
        labels: bool = True,
        reads: Sequence[str] = ("train", "validation"),
    ) -> "Given":
        """What was given, checked.

        Args:
            data: As the caller gave it.
            heads: The caller's; those of the data if left out.
            labels: Whether those of the training samples are needed.
            reads: The splits that will be.
        """
        if isinstance(data, DataSet):
            told = data.heads
            given = {"train": data.train, "validation": data.validation, "test": data.test}
        else:
            # What labels look like is not asked where the caller says what they are.
            split, told = (samples(data), ()) if heads else samples_and_heads(data)
            given = {"train": split, "test": split}
        chosen = tuple(heads) or told
        if not chosen:
            raise OptionError(
                "these samples have no labels, which would tell what is to be answered. Give "
                "(inputs, labels); to capture without, give heads=(limbeck.Head(...),)."
            )
        for name in reads:
            if name in given:
                check_split(name, given[name], chosen, labels=labels or name != "train")
        return cls(
            train=given["train"],
            validation=given.get("validation"),
            test=given["test"],
            heads=chosen,
        )

    def fit(
        self,
        learners: Sequence[Learner],
        train: Train,
        order: Order,
        *,
        teach: Teach | None = None,
        views: int = 1,
        checkpoint: str | Path | None,
        taught_by: str = "",
        log_folder: str | Path | None,
        progress: Progress,
    ) -> History:
        """Train them, validated where there are samples for it; how it went for the first one."""
        metric = metric_for(self.heads[0])

        def validate(learner: Learner) -> float:
            assert self.validation is not None, "there is nothing to validate on"
            answer = as_answerer(learner.model, self.heads, outputs=learner.outputs)
            answers = answer_all(answer, self.validation, self.heads[0])
            return metric.score(answers.rows, answers.labels)

        fitted = fit(
            learners,
            self.train,
            train,
            heads=self.heads,
            seed=order.seed,
            order=order,
            teach=teach,
            views=views,
            validate=None if self.validation is None else validate,
            higher_is_better=metric.higher_is_better,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            taught_by=taught_by,
            log_folder=None if log_folder is None else Path(log_folder),
            progress=progress,
        )
        return fitted.histories[learners[0].name]


def check_trained(train: Train, models: Mapping[str, nn.Module]) -> None:
    """Refuse what is no recipe of training, and what is no module, by what it is for."""
    if not isinstance(train, Train):
        raise OptionError(
            f"train must be a limbeck.Train, got {type(train).__name__}. Give limbeck.Train(...)."
        )
    for name, model in models.items():
        if not isinstance(model, nn.Module):
            made = " Call it, to give what it makes." if callable(model) else ""
            raise OptionError(f"{name} must be a torch module, got {type(model).__name__}.{made}")


def as_teacher(teacher: TeacherLike, heads: Sequence[Head], outputs: Outputs) -> Teacher:
    """A `Teacher`, where its weights are."""
    if isinstance(teacher, Teacher):
        return teacher
    device = torch.device("cpu")
    if isinstance(teacher, nn.Module):
        device = next((part.device for part in teacher.parameters()), device)
    return Teacher(teacher, heads, outputs=outputs, device=device)
