"""Who is in a recipe: the teacher, and everyone who learns, with one batch for each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck import recipe as recipes
from limbeck._mixture import check_weighing
from limbeck._outputs import as_logits, call, calling, check_fit, check_outputs, read_outputs
from limbeck._together import together
from limbeck.data import Samples
from limbeck.methods import Objective, said_by_average, said_by_peers
from limbeck.models import Interface, build_section, load_weights
from limbeck.recipe import Recipe, Train
from limbeck.signals import Batch, Head, Rows
from limbeck.taps import tap_name, tapped
from limbeck.teachers import Teacher
from limbeck.train import Learner, check_batch_norm, check_weights, generator, make_optimizer

Answers = Mapping[str, Tensor]
"""By head, `(batch, size)` or `(batch, rows, size)`."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Someone who learns in a stage of the run, and one batch of it."""

    stage: str
    learner: Learner
    settings: Train
    batch: Batch
    heads: tuple[Head, ...]
    train: str
    """The section of the recipe that `settings` are of."""
    peers: tuple[Learner, ...] = ()
    """The other students, where they learn from each other."""

    @property
    def name(self) -> str:
        """Who it is."""
        return self.learner.name

    def said(self) -> Answers:
        """What the model gives for the batch."""
        with calling(self.name, self.batch.inputs):
            output = call(self.learner.model, self.batch.inputs)
        return read_outputs(output, self.heads, who=self.name)

    def answers(self) -> Answers:
        """The same as logits, or numbers; and features that its objective looks at."""
        with tapped(self.learner.model, self.learner.taps, who=self.name) as seen:
            said = self.said()
        features = {tap_name(path): tensor for path, tensor in seen.items()}
        return as_logits(dict(said), self.heads, self.learner.outputs) | features

    @torch.no_grad()
    def taught(self, by_teacher: Mapping[str, Rows] | None) -> Mapping[str, Rows]:
        """All that it is taught of the batch: by the teacher, other students, and its average.

        The average is the student itself, before it has learned.
        """
        others = [replace(self, learner=learner, peers=()).answers() for learner in self.peers]
        peers = said_by_peers(others, self.heads) if others else {}
        own = {} if self.learner.decay is None else said_by_average(self.answers(), self.heads)
        return {**(by_teacher or {}), **peers, **own}


def one_batch(samples: Samples, size: int) -> Batch:
    """A batch as training draws it; with labelled samples and others, where there are both."""
    size = min(size, len(samples))
    shuffled = torch.randperm(len(samples), generator=generator(0, "doctor"))
    if samples.labelled is None or bool(samples.labelled.all()):
        return samples.fetch(shuffled[:size])
    shown = samples.labelled[shuffled]
    labelled, others = shuffled[shown], shuffled[~shown]
    share = round(size * len(labelled) / len(samples))
    count = min(max(share, 1), max(size - 1, 1))
    return samples.fetch(torch.cat([labelled[:count], others[: size - count]]))


def make_teacher(
    recipe: Recipe, interface: Interface, batch: Batch, device: torch.device
) -> Teacher:
    """The teacher with its weights; where the recipe trains it, with random ones.

    Several are one: how right each is on validation data is not known yet.
    """
    members = {}
    for number, (name, settings) in enumerate(recipe.all_teachers.items()):
        # Never a student's seed: a student of the same architecture would already be its teacher.
        seed = recipe.seeds + number if settings.weights is None else settings.seed
        model = build_section(name.replace(" ", "s."), settings, interface, seed=seed)
        if settings.weights is not None:
            load_weights(model, Path(settings.weights))
        members[name.removeprefix("teacher ")] = Teacher(
            model, interface.heads, outputs=settings.outputs, device=device
        )
    if recipe.teacher is not None:
        return members["teacher"]
    check_weighing(recipe.ensemble.how, interface.heads[0], batch)
    prior = torch.tensor([recipe.ensemble.weights.get(name, 1.0) for name in members])
    trust = torch.ones(len(members), interface.heads[0].size)
    return together(members, recipe.ensemble.how, prior, trust)


def ask(teacher: Teacher, batch: Batch) -> Answers:
    """What the teacher gives for a batch."""
    with calling("teacher", batch.inputs):
        said = teacher.answer(batch.inputs)
    check_fit(said, teacher.heads, batch, who="the teacher")
    return said


def make_lesson(
    stage: str,
    section: str,
    part: recipes.Teacher | recipes.Assistant | recipes.Student,
    *,
    objective: Objective,
    settings: Train,
    samples: Samples,
    interface: Interface,
    device: torch.device,
    seed: int = 0,
    batch_size: int | None = None,
    of_features: Callable[[nn.Module, str], Objective] = lambda model, who: (),
) -> Lesson:
    """Someone who learns, after a look at whether they can.

    Args:
        stage: When they learn.
        section: Where the recipe speaks of them: "teacher", "teachers.NAME", "students.NAME",
            "assistants.NAME".
        part: What it says there.
        objective: What they learn from.
        settings: How they are trained.
        samples: What they are trained on.
        interface: What they are given, and must answer.
        device: Where.
        seed: Of its first weights.
        batch_size: Of the batch that is looked at; that of the settings if left out.
        of_features: What a model of this name learns from features beside that.

    Raises:
        ModelError: The model cannot be built or called, or cannot learn from these batches.
        ShapeError: It answers something else than was asked.
        OptionError: The optimiser does not exist, or does not fit.
    """
    model = build_section(section, part, interface, seed=seed).to(device)
    name = section.replace("s.", " ", 1)  # "students.NAME": "student NAME"
    lesson = Lesson(
        stage=stage,
        learner=Learner(
            name=name,
            model=model,
            objective=objective + of_features(model, name),
            outputs=part.outputs,
        ),
        settings=settings,
        batch=one_batch(samples, batch_size or settings.batch_size).to(device),
        heads=interface.heads,
        train="train" if getattr(part, "train", None) is None else f"{section}.train",
    )
    model.eval()
    with torch.no_grad():
        said = lesson.said()
    check_fit(said, interface.heads, lesson.batch, who=name)
    for head in interface.heads:
        check_outputs(said[head.name], head, part.outputs, who=name)
    check_weights(model, who=name)
    beside = lesson.learner.beside
    check_batch_norm(model, settings, len(samples), who=name, beside=beside)
    beside.to(device)
    make_optimizer([*model.parameters(), *beside.parameters()], settings)
    return lesson


def as_control(lesson: Lesson, terms: Objective) -> Lesson:
    """The same student, who learns from labels alone."""
    name = lesson.name.replace("student ", "control ", 1)
    learner = replace(lesson.learner, name=name, objective=terms)
    return replace(lesson, stage="control", learner=learner)


def as_peers(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The same students, who learn from each other."""
    learners = [lesson.learner for lesson in lessons]
    return [
        replace(lesson, peers=tuple(learners[:place] + learners[place + 1 :]))
        for place, lesson in enumerate(lessons)
    ]
