"""`limbeck layers`: the modules of teacher and students, and which of them could be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._errors import LimbeckError, ModelError
from limbeck._progress import Progress, Silence
from limbeck.models import build, load_weights
from limbeck.pipeline._begin import typical
from limbeck.pipeline._context import Context
from limbeck.pipeline._modules import Layer, layers_of
from limbeck.pipeline._pairs import Proposal, propose
from limbeck.pipeline._preflight import check_parts
from limbeck.pipeline._stages import teacher_stage
from limbeck.recipe import Recipe
from limbeck.tasks import load_task


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What `find_layers` finds."""

    teacher: Sequence[Layer]
    students: Mapping[str, Sequence[Layer]]
    trained: Mapping[str, bool]
    """Whether a student's weights are those of a control in the folder, or its first ones."""
    proposals: Mapping[str, Sequence[Proposal]]
    """By student, from the first module to the last."""


def find_layers(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> Layers:
    """List the modules of a recipe's teacher and students, and propose pairs of them.

    The teacher is trained, or loaded, as by `run`. A student has the weights of its trained control
    where the run has got so far, or else its first ones, which tell less.

    Args:
        recipe: Whose models. Its taps are not looked at: this is how they are found.
        out: The run's folder; a run that is there already lends its models.
        progress: Who watches.

    Raises:
        LimbeckError: A part of the recipe does not fit.
    """
    task = load_task(recipe.data)
    context = Context(recipe, Path(out), task, progress)
    check_parts(_without_taps(recipe), task, context.interface)
    with context.folder():
        if recipe.teacher is None:
            raise ModelError(
                f"there are several teachers, {', '.join(recipe.teachers)}, and taps are for one. "
                "Name it as [teacher]."
            )
        teacher, _ = teacher_stage(context, recipe.teacher, "teacher")
        if not isinstance(teacher.model, nn.Module):
            raise ModelError("the teacher is no torch module: nothing inside it can be listed.")
        train = task.data.train
        batch = typical(train).to(context.device)
        theirs = layers_of(teacher.model, batch, who="the teacher")
        students, trained = {}, {}
        for name in recipe.students:
            model, trained[name] = _student(context, name)
            students[name] = layers_of(model, batch, who=f"student {name}")
    return Layers(
        teacher=theirs,
        students=students,
        trained=trained,
        proposals={name: propose(ours, theirs) for name, ours in students.items()},
    )


def _without_taps(recipe: Recipe) -> Recipe:
    """The recipe with the method of rows that is the default, for the taps are only being found."""
    plain: dict[str, Any] = {"method": "soft_targets", "options": {}}
    distil = recipe.distil.model_copy(
        update=plain | {"taps": [], "feature_weight": None, "progressive": 0.0}
    )
    targets = recipe.targets.model_copy(update={"features": False})
    return recipe.model_copy(update={"distil": distil, "targets": targets})


def _student(context: Context, name: str) -> tuple[nn.Module, bool]:
    """A student, and whether its weights are those of a control that is there, of any recipe."""
    settings = context.recipe.students[name]
    model = build(settings.model, settings.options, context.interface, seed=0)
    made = context.out / "control" / "seed-0" / f"{name}.safetensors"
    trained = made.is_file()
    if trained:
        try:
            load_weights(model, made)
        except LimbeckError:  # of another architecture, before the recipe was changed
            trained = False
    return model.to(context.device), trained
