"""What can be known to be wrong before anything is trained or written: a few samples through all.

The rows that stand for the teacher's are uniform: a codec, a method and the shapes are seen, not
what is taught. `limbeck doctor` looks closer.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck import recipe as recipes
from limbeck._agreement import check_agreement
from limbeck._errors import DataError, ModelError
from limbeck._mixture import WEIGHINGS, check_weighing
from limbeck._outputs import answers_of, as_logits, calling, check_fit, check_outputs
from limbeck.data import Samples
from limbeck.methods import (
    check_rows,
    feature_terms,
    mean_terms,
    objective_of,
    said_by_average,
    said_by_peers,
    supervised,
    teacher_taps_of,
)
from limbeck.methods.features import features_of
from limbeck.models import Interface, build_section, load_weights, warm_start
from limbeck.recipe import Recipe
from limbeck.recipe_combinations import check_combinations
from limbeck.signals import Batch, Dense, Head, Rows
from limbeck.taps import tap_name, tapped
from limbeck.targets import Codec, as_stored, compressed, planned_codec
from limbeck.tasks import Task
from limbeck.teachers import Teacher
from limbeck.train import Learner, check_batch_norm, check_mixup, check_weights, make_optimizer

NUM_SAMPLES = 8
"""Samples that are put through."""


def a_few(samples: Samples) -> Batch:
    """The first samples, for the shapes of what is said of them."""
    return samples.fetch(torch.arange(min(NUM_SAMPLES, len(samples))))


def check_parts(recipe: Recipe, task: Task, interface: Interface) -> None:
    """Make every part of a recipe, and put a few samples through it.

    Raises:
        LimbeckError: A part does not exist, or does not fit the others.
    """
    check_combinations(recipe)
    train, heads = task.data.train, interface.heads
    batch = a_few(train)
    for head in heads:
        if head.name not in batch.labels:
            raise DataError(
                f"the train split has no labels for head {head.name}, which the control learns "
                "from. Give it labels."
            )
    soft = objective_of(recipe, heads)
    for teaches, settings in recipe.all_teachers.items():
        teacher, answers = _ask_teacher(recipe, settings, teaches, task, batch, interface)
    if recipe.teachers:
        check_weighing(recipe.ensemble.how, heads[0], batch)
    codec = planned_codec(heads, **recipe.targets.codec_words)
    uniform = _uniform(answers, heads)
    rows: Mapping[str, Rows] = uniform
    if not recipe.distil.live:
        rows = _stored(uniform, heads, codec, recipe.targets.temperature)
    if recipe.teachers and WEIGHINGS[recipe.ensemble.how].by_student:
        check_agreement(rows, stored=f"codec {codec.name}")
    if recipe.distil.mixup:
        check_mixup(soft, batch.inputs)
    rows = {
        **rows,
        **features_of(teacher, batch.inputs, teacher_taps_of(recipe)),
        **said_by_peers([{name: said.values for name, said in uniform.items()}], heads),
        **said_by_average({name: said.values for name, said in uniform.items()}, heads),
    }
    check_rows(recipe.distil.method, rows, stored=f"codec {codec.name}")
    assistants = {f"assistant {name}": each for name, each in recipe.assistants.items()}
    students = {f"student {name}": each for name, each in recipe.students.items()}
    trained = {f"assistant {name}": each.train for name, each in recipe.assistants.items()}
    for who, part in (assistants | students).items():
        schedule = trained.get(who) or recipe.train
        model = build_section(who.replace(" ", "s."), part, interface).eval()
        check_weights(model, who=who)
        of_features = feature_terms(
            recipe,
            heads,
            model,
            batch,
            rows,
            teacher=teacher,
            num_samples=len(train),
            seed=0,
            who=who,
        )
        learner = Learner(name=who, model=model, objective=soft + of_features)
        check_batch_norm(model, schedule, len(train), who=who, beside=learner.beside)
        make_optimizer([*model.parameters(), *learner.beside.parameters()], schedule)
        with tapped(model, learner.taps, who=who) as seen:
            logits = _learner_says(model, part.outputs, heads, batch, who=who)
        said = logits | {tap_name(path): tensor for path, tensor in seen.items()}
        for terms in (supervised(heads), learner.objective):
            _check_gradient(mean_terms(terms, said, rows, batch), who=who)
        _check_splits(model, task, heads, who=who)
    _check_starts(recipe, interface, teacher, batch)


def _check_starts(recipe: Recipe, interface: Interface, teacher: Teacher, batch: Batch) -> None:
    """Refuse students that cannot begin with the weights of who teaches them."""
    model = teacher.model
    for name, assistant in recipe.chain.items():
        model = build_section(f"assistants.{name}", assistant, interface)
    assert isinstance(model, nn.Module), "a recipe builds torch modules"
    for name, student in recipe.students.items():
        if student.start is not None:
            begun = build_section(f"students.{name}", student, interface)
            warm_start(begun, model, student.start.how, batch.inputs)


@torch.no_grad()
def _check_splits(model: nn.Module, task: Task, heads: tuple[Head, ...], *, who: str) -> None:
    """Refuse samples of another split that the model cannot be called with, or labelled otherwise.

    They are read after training, when it is late to say so.
    """
    for split, samples in (("validation", task.data.validation), ("test", task.data.test)):
        batch = a_few(samples)
        answers_of(model, batch, heads, who=f"{who}, on {split} samples,")


def _learner_says(
    model: nn.Module, outputs: str, heads: tuple[Head, ...], batch: Batch, *, who: str
) -> dict[str, Tensor]:
    """The logits, or numbers, of a model that is to be trained; they keep their gradient."""
    said = answers_of(model, batch, heads, who=who)
    for head in heads:
        rows = said[head.name]
        check_outputs(rows, head, outputs, who=who)
        if not bool(torch.isfinite(rows).all()):
            raise ModelError(
                f"the answer of {who} for head {head.name} is not finite before it is trained. "
                "Look at its initial weights, and for a division by or a logarithm of 0."
            )
    return as_logits(said, heads, outputs)


def _check_gradient(means: Mapping[str, Tensor], *, who: str) -> None:
    for name, mean in means.items():
        if not mean.requires_grad:
            raise ModelError(
                f"the {name} loss of {who} is detached: no parameter gets a gradient. Look for "
                "detach, item or no_grad in the model, or in a loss of your own."
            )


def _ask_teacher(
    recipe: Recipe,
    settings: recipes.Teacher,
    name: str,
    task: Task,
    batch: Batch,
    interface: Interface,
) -> tuple[Teacher, dict[str, Tensor]]:
    num_samples, who = len(task.data.train), f"the {name}"
    model = build_section(name.replace(" ", "s."), settings, interface, seed=settings.seed)
    if settings.weights is None:
        check_weights(model, who=name)
        check_batch_norm(model, settings.train, num_samples, who=name)
        make_optimizer(model.parameters(), settings.train)
        heads = interface.heads
        logits = _learner_says(model.eval(), settings.outputs, heads, batch, who=who)
        _check_gradient(mean_terms(supervised(heads), logits, None, batch), who=who)
    else:
        load_weights(model, Path(settings.weights))
    teacher = Teacher(model, interface.heads, outputs=settings.outputs)
    with calling(who, batch.inputs):
        answers = teacher.answer(batch.inputs)
    check_fit(answers, interface.heads, batch, who=who)
    for head in interface.heads:
        check_outputs(answers[head.name], head, settings.outputs, who=who)
    mean_terms(supervised(interface.heads), teacher.logits(batch.inputs), None, batch)
    if settings.weights is not None:
        for head in interface.heads:
            compressed(
                answers[head.name],
                head,
                compress=recipe.targets.compress,
                temperature=recipe.targets.temperature,
            )
    _check_splits(model, task, interface.heads, who=who)
    return teacher, answers


def _uniform(answers: Mapping[str, Tensor], heads: tuple[Head, ...]) -> dict[str, Dense]:
    rows = {}
    for head in heads:
        flat = torch.zeros_like(answers[head.name])
        values = torch.log_softmax(flat, dim=-1) if head.space == "categorical" else flat
        rows[head.name] = Dense(values=values)
    return rows


def _stored(
    uniform: Mapping[str, Dense], heads: tuple[Head, ...], codec: Codec, temperature: float
) -> dict[str, Rows]:
    """Uniform rows as a transfer set would give them back."""
    rows: dict[str, Rows] = {}
    for head in heads:
        soft_at = 1.0 if head.space == "real" else temperature
        stored, _ = as_stored(uniform[head.name].values, head, codec, soft_at)
        rows[head.name] = stored.to(torch.device("cpu"))
    return rows
