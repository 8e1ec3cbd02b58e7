"""What the sections of a recipe may not say together, whatever models and data it names."""

from typing import Any

from limbeck._errors import RecipeError, did_you_mean
from limbeck.recipe import Branches, Recipe, Train


def check_combinations(recipe: Recipe) -> None:
    """Refuse sections that contradict each other, before anything is made.

    Raises:
        RecipeError: It names them, and the way out.
    """
    _check_resident(recipe)
    trained = {f"assistants.{name}": each.train for name, each in recipe.assistants.items()}
    for section, train in {"": recipe.train, **trained}.items():
        if train is not None and train.views and not recipe.distil.live:
            raise RecipeError(
                f"{f'{section}.train.views'.removeprefix('.')} makes new views without end, which "
                "a transfer set cannot hold. Leave it out, for epochs take the targets.views "
                "stored views in turn; or set distil.live = true."
            )
    if recipe.distil.mixup and not recipe.distil.live:
        raise RecipeError(
            "distil.mixup shows samples that are mixed anew at every step, which a transfer set "
            "cannot hold. Set distil.live = true."
        )
    if recipe.targets.features and not recipe.distil.taps:
        raise RecipeError(
            "targets.features = true stores what distil.taps names, and there is none. Leave it "
            "out, or name some."
        )
    if recipe.targets.features and recipe.distil.live:
        raise RecipeError(
            "targets.features = true stores what distil.live = true asks at every step. Leave one "
            "of them out."
        )
    if recipe.distil.taps:
        _check_taps(recipe)
    if recipe.distil.branches is not None:
        _check_branches(recipe, recipe.distil.branches)
    if recipe.distil.generations > 1 and len(recipe.students) > 1:
        raise RecipeError(
            f"distil.generations = {recipe.distil.generations} distils one student again and "
            f"again, and there are {', '.join(recipe.students)}. Leave one."
        )
    if recipe.distil.mutual_weight > 0:
        _check_peers(recipe)
    for name, student in recipe.students.items():
        if student.start is not None and recipe.distil.generations > 1:
            raise RecipeError(
                f"distil.generations = {recipe.distil.generations} begins each generation anew, "
                f"and students.{name}.start would begin it as a copy of the one before. Leave one "
                "of the two out."
            )
    if len(recipe.chain) < len(recipe.assistants) + recipe.distil.generations - 1:
        raise RecipeError(
            "an assistant is called as a generation of the student is, generation-1, ... Give it "
            "another name."
        )
    for who, teacher in recipe.all_teachers.items():
        section = who.replace("teacher ", "teachers.")
        if teacher.outputs == "probabilities" and recipe.targets.compress == "softmax":
            raise RecipeError(
                f'the {who} gives probabilities: set targets.compress = "normalised", or '
                f'{section}.outputs = "logits".'
            )
        if teacher.outputs == "logits" and recipe.targets.compress == "normalised":
            raise RecipeError(
                f'logits cannot be normalised: set targets.compress = "softmax", or '
                f'{section}.outputs = "probabilities".'
            )
    if recipe.teachers:
        _check_several(recipe)


def without_effect(recipe: Recipe) -> list[str]:
    """What a recipe says that changes nothing, as a note each: how a loaded teacher is trained.

    It is no fault: `--set teacher.weights=FILE` leaves the rest of a recipe as it is.
    """
    said = []
    for who, teacher in recipe.all_teachers.items():
        section = who.replace("teacher ", "teachers.")
        if teacher.weights is not None and teacher.train != Train():
            said.append(
                f"{section}.train has no effect: {section}.weights is given, and who is loaded is "
                "not trained. Leave one of the two out."
            )
    return said


def _check_resident(recipe: Recipe) -> None:
    """Refuse processes that would read ahead what lies on the device."""
    passes: dict[str, Any] = {
        "train": recipe.train,
        **{
            f"{who.replace('teacher ', 'teachers.')}.train": each.train
            for who, each in recipe.all_teachers.items()
        },
        **{f"assistants.{name}.train": each.train for name, each in recipe.assistants.items()},
    }
    for section, train in passes.items():
        if recipe.data.resident and train is not None and train.workers:
            raise RecipeError(
                f"data.resident = true keeps samples where no other process reads them, and "
                f"{section}.workers = {train.workers} asks for some. Leave one of them out."
            )


def _check_taps(recipe: Recipe) -> None:
    """Refuse taps where it is not one teacher that both sides of them are compared with."""
    others = {
        "teachers": bool(recipe.teachers),
        "assistants": bool(recipe.assistants),
        "distil.generations": recipe.distil.generations > 1,
        "distil.mixup": recipe.distil.mixup,
    }
    for what, there in others.items():
        if there:
            raise RecipeError(
                f"distil.taps compares the students with modules of the one teacher, on samples as "
                f"they are, and {what} has it otherwise. Leave one of the two out."
            )


def _check_branches(recipe: Recipe, branches: Branches) -> None:
    """Refuse branches where others learn as the students do, and their labels of mixed samples."""
    others = {
        "assistants": bool(recipe.assistants),
        "distil.generations": recipe.distil.generations > 1,
    }
    for what, there in others.items():
        if there:
            raise RecipeError(
                "distil.branches are on modules of the students, who alone learn by them, and "
                f"{what} has others learn as they do. Leave one of the two out."
            )
    if recipe.distil.mixup and branches.hard_weight > 0:
        raise RecipeError(
            "distil.mixup shows mixed samples, which have no label, and distil.branches learn from "
            f"labels, hard_weight = {branches.hard_weight:g}. Set distil.branches.hard_weight = 0."
        )


def _check_peers(recipe: Recipe) -> None:
    """Refuse students that have nothing to learn from each other."""
    if len(recipe.students) == 1:
        raise RecipeError(
            f"distil.mutual_weight = {recipe.distil.mutual_weight:g} lets students learn from each "
            f"other, and there is one, {next(iter(recipe.students))}. Add a section "
            "[students.NAME]; the same model again is a twin that begins with other weights."
        )
    begun: list[Any] = []
    for name, student in recipe.students.items():
        if student.start is None:
            continue
        begins = (student.model, student.options, student.start.how)
        if begins in begun:
            raise RecipeError(
                f"students.{name}.start lets it begin as another student does, and so they have "
                "nothing to learn from each other. Leave it out of one, or set "
                "distil.mutual_weight = 0."
            )
        begun.append(begins)


def _check_several(recipe: Recipe) -> None:
    """Refuse several teachers that cannot teach as one."""
    named = ", ".join(recipe.teachers)
    if recipe.distil.live:
        raise RecipeError(
            f"distil.live asks one teacher at every step, and there are {named}, whose stored rows "
            "are read as one. Leave it out."
        )
    if recipe.targets.folder is not None:
        raise RecipeError(
            f"targets.folder holds the rows of one teacher, and there are {named}. Leave it out."
        )
    for name in recipe.ensemble.weights:
        if name not in recipe.teachers:
            raise RecipeError(
                f"ensemble.weights: there is no teacher {name}."
                f"{did_you_mean(name, recipe.teachers)} There are {named}."
            )
    if recipe.ensemble.weights and recipe.ensemble.how == "agreement":
        raise RecipeError(
            'ensemble.weights have no part in ensemble.how = "agreement", which finds its own at '
            "every step. Leave them out."
        )
    for name in recipe.chain:
        if name in recipe.teachers:
            raise RecipeError(
                f"a teacher and an assistant are both called {name}. Give one another name."
            )
    for name, student in recipe.students.items():
        if student.start is not None and not recipe.chain:
            raise RecipeError(
                f"students.{name}.start takes the weights of one teacher, and there are {named}. "
                "Leave it out, or let an assistant stand between."
            )
