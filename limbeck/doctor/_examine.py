"""`limbeck doctor`: one batch of a recipe through everything, in seconds, and nothing written."""

from collections.abc import Mapping

import torch
from accelerate import PartialState

from limbeck._agreement import check_agreement
from limbeck._devices import only_cpu
from limbeck._mixture import WEIGHINGS
from limbeck.data import DataSet
from limbeck.doctor._findings import Findings
from limbeck.doctor._forecast import Asking, look_ahead, median_seconds
from limbeck.doctor._parts import Parts, look_at_parts
from limbeck.doctor._proofs import look_at_proofs
from limbeck.doctor._stored import look_at_stored_rows, transfer_set_size
from limbeck.doctor._taps import look_at_branches, look_at_taps, stored_size
from limbeck.doctor._teacher import look_at_score
from limbeck.doctor._terms import COLUMNS, look_at_terms
from limbeck.methods import check_rows, teacher_taps_of
from limbeck.methods.features import features_of
from limbeck.recipe import Recipe
from limbeck.signals import Dense, Rows
from limbeck.tasks import Task, load_task


def examine(recipe: Recipe) -> Findings:
    """Put one batch through everything that a recipe says, and look at what happens.

    First the parts: data, models, objective, codec. Where one of them has a fault, the rest, which
    would be measured on it, is left out.

    Args:
        recipe: What is to be run.

    Returns:
        Tables, notes and faults. Nothing is written, and torch's random state is as it was.

    Raises:
        DataError: The data are missing, damaged or not what they should be.
        OptionError: The metric or an option of the data does not exist.
    """
    found = Findings()
    task = load_task(recipe.data)
    device = PartialState(cpu=only_cpu()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = look_at_parts(recipe, task.data, device, found)
        if parts is not None:
            # What raises here is a fault too, and ends the examination.
            found.attempt(lambda: _look_at_learning(recipe, task, parts, device, found))
    return found


def _look_at_learning(
    recipe: Recipe, task: Task, parts: Parts, device: torch.device, found: Findings
) -> None:
    data = task.data
    taught = _taught(recipe, data, parts, device, found)
    check_rows(recipe.distil.method, taught, stored=f"codec {parts.codec.name}")
    if recipe.teachers and WEIGHINGS[recipe.ensemble.how].by_student:
        check_agreement(taught, stored=f"codec {parts.codec.name}")
    inside = features_of(parts.teacher, parts.batch.inputs, teacher_taps_of(recipe))
    if inside:
        taught = {**taught, **inside}
        look_at_taps(parts.lessons, taught, found)
        if recipe.targets.features:
            found.notes.append(stored_size(inside, len(data.train) * recipe.targets.views))
    if recipe.distil.branches is not None:
        look_at_branches(parts.lessons, recipe.distil.branches, found)
    knows = all(each.weights is not None for each in recipe.all_teachers.values())
    if knows:
        look_at_score(parts.teacher, task, found)
    rows = []
    for lesson in parts.lessons:
        rows += look_at_terms(lesson, taught, found, teacher_knows=knows)
    found.tables.append(("Loss terms", COLUMNS, rows))
    look_at_proofs(parts.terms, data.heads, taught, found)
    if found.faults:
        return  # a model that does not learn cannot be timed at it
    seconds = median_seconds(lambda: parts.teacher.logits(parts.batch.inputs), device)
    asking = Asking(seconds=seconds, samples=len(parts.batch))
    look_ahead(recipe, parts.lessons, taught, asking, len(data.train), found)


def _taught(
    recipe: Recipe, data: DataSet, parts: Parts, device: torch.device, found: Findings
) -> Mapping[str, Rows]:
    """The teacher's rows as the students would get them: from the transfer set, or live."""
    if recipe.distil.live:
        found.notes.append("The teacher is asked live at every step: no transfer set is stored.")
        live = parts.teacher.logits(parts.batch.inputs)
        return {name: Dense(values=rows) for name, rows in live.items()}
    stored = look_at_stored_rows(parts.answers, recipe.targets, parts.codec, data.heads, found)
    found.notes.append(transfer_set_size(stored, data, recipe.targets))
    if asked := [*recipe.teachers, *recipe.chain]:
        found.notes.append(f"One like it is kept for each of {', '.join(asked)}.")
    return {name: rows.to(device) for name, rows in stored.rows.items()}
