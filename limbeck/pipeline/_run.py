"""`limbeck run`: teach, targets, control, distil, evaluate, report; and its first half alone.

Each stage leaves a record with its fingerprint, what it depends on. Run again, and only stages
whose fingerprint changed are done again; killed anywhere, a run goes on where it stopped.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from limbeck import results
from limbeck._files import fingerprint
from limbeck._progress import Progress, Silence
from limbeck.methods import objective_of, unlabelled_warnings
from limbeck.methods.features import inside, stored_taps
from limbeck.models import save
from limbeck.pipeline._chain import Chain, chain_stages, made_assistants
from limbeck.pipeline._context import Context
from limbeck.pipeline._preflight import a_few, check_parts
from limbeck.pipeline._records import Record
from limbeck.pipeline._stages import (
    Pass,
    control_stage,
    distil_stage,
    features_stage,
    targets_stage,
)
from limbeck.pipeline._summary import Trained, summarise
from limbeck.pipeline._teachers import Teachers, made_teachers, teachers_stage
from limbeck.pipeline._warnings import teacher_warnings
from limbeck.recipe import Recipe
from limbeck.recipe_combinations import without_effect
from limbeck.recipe_file import load_recipe
from limbeck.report import write_page
from limbeck.targets import Faithfulness, TransferSet, compare
from limbeck.tasks import load_task


def run(recipe: Recipe, out: str | Path, *, progress: Progress = Silence()) -> results.Report:  # noqa: B008
    """Do all of a recipe, and write its result files.

    Args:
        recipe: What to run.
        out: The run's folder: new, empty, or of an earlier run, which is then continued.
        progress: Who watches.

    Returns:
        What `out/report.json` says.

    Raises:
        LimbeckError: Something is not as it must be; the message names it, and the way out.
    """
    with _opened(recipe, Path(out), progress) as context:
        for warning in _method_warnings(context):
            progress.warn(warning)
        teachers = teachers_stage(context)
        chain = chain_stages(context, teachers)
        last = chain.last
        controls = [control_stage(context, seed, last.teacher) for seed in range(recipe.seeds)]
        students = [
            distil_stage(context, seed, last.teacher, last.teach, last.depends)
            for seed in range(recipe.seeds)
        ]
        stages = {
            **teachers.stages,
            **chain.stages,
            "control": [done.record for done in controls],
            "distil": [done.record for done in students],
        }
        if context.writes:
            _evaluate(context, teachers, chain, controls, students, stages)
            write_page(context.out)
        context.wait()
        return results.read_results(context.out)[0]


def make_targets(
    recipe: Recipe,
    out: str | Path,
    *,
    engine: str = "here",
    progress: Progress = Silence(),  # noqa: B008  (holds nothing)
) -> list[TransferSet]:
    """Do the first two stages of a recipe, teacher and targets; `run` goes on from there.

    Args:
        recipe: What to run.
        out: The run's folder, as for `run`. The transfer set is made in `out/targets`.
        engine: Where the teacher is asked: "here", or "ray".
        progress: Who watches.

    Returns:
        The transfer set; of several teachers, one of each. That of features comes last.

    Raises:
        LimbeckError: Something is not as it must be; the message names it, and the way out.
    """
    with _opened(recipe, Path(out), progress) as context:
        teachers = teachers_stage(context)
        if not teachers.members:
            made = [targets_stage(context, teachers.whole, engine=engine)[0]]
            if recipe.targets.features:
                made.append(features_stage(context, teachers.whole)[0])
            return made
        return [
            targets_stage(context, member, f"targets-{name}", engine=engine)[0]
            for name, member in teachers.members.items()
        ]


def compare_targets(folder: str | Path, run: str | Path, *, limit: int) -> Faithfulness:
    """Ask the teacher of a run about some samples again; nothing is trained or written.

    Args:
        folder: A transfer set's.
        run: The folder of the run that made it.
        limit: How many samples, 1 or more; they are spread evenly.

    Raises:
        TargetsError: The rows are of something else, were converted, or are not what the teacher
                says now.
        LimbeckError: The run holds no recipe, or no teacher.
    """
    targets = TransferSet(folder)
    targets.expect_asked()  # what was converted need not lie in a run
    recipe = load_recipe(str(Path(run) / "recipe.toml"))
    context = Context(recipe, Path(run), load_task(recipe.data), Silence())
    train = context.task.data.train
    asked = targets.manifest.settings.teacher.fingerprint
    those = made_teachers(context)
    if asked not in [one.fingerprint for one in those]:
        those += made_assistants(context).values()
    if taps := stored_taps(targets.heads):
        some = a_few(train).to(context.device)
        those = [inside(one, some.inputs, taps) for one in those]
    teacher = next((one for one in those if one.fingerprint == asked), those[0])
    targets.expect(teacher=teacher.fingerprint, heads=teacher.heads, transform=str(train.views))
    return compare(targets, teacher, train, limit=limit)


@contextmanager
def _opened(recipe: Recipe, out: Path, progress: Progress) -> Iterator[Context]:
    """Look a recipe through, and hold the run's folder."""
    task = load_task(recipe.data)
    context = Context(recipe, out, task, progress)
    check_parts(recipe, task, context.interface)
    with context.folder():
        for note in without_effect(recipe):
            progress.say(note)
        yield context


def _evaluate(
    context: Context,
    teachers: Teachers,
    chain: Chain,
    controls: Sequence[Pass],
    students: Sequence[Pass],
    stages: Mapping[str, Sequence[Record]],
) -> None:
    """Measure everyone on the test data; keep the best students and the result files."""
    recipe, task = context.recipe, context.task
    made_by = [record.fingerprint for records in stages.values() for record in records]
    name = fingerprint(
        [results.versions(), recipe.model_dump(), context.test_fingerprint, *made_by]
    )
    if context.records.find("evaluate", name) is not None:
        return
    begun = time.monotonic()
    context.progress.start("evaluating", 1)
    warnings = _method_warnings(context) + teacher_warnings(
        task,
        teacher_validation=stages["teacher"][0].facts["validation"],
        assistant_validation={
            name: stages[f"assistant-{name}"][0].facts["validation"] for name in chain.assistants
        },
        control_validation={
            student: [record.facts["validation"][student] for record in stages["control"]]
            for student in recipe.students
        },
        student_validation={
            student: [record.facts["validation"][student] for record in stages["distil"]]
            for student in recipe.students
        },
        seeds=recipe.seeds,
    )
    trained = {
        student: Trained(
            controls=[done.models[student] for done in controls],
            students=[done.models[student] for done in students],
        )
        for student in recipe.students
    }
    report, details = summarise(
        recipe,
        task,
        teachers.whole,
        trained,
        members=teachers.members,
        assistants=chain.assistants,
        sets=chain.last.sets,
        stages=stages,
        warnings=warnings,
        begun=begun,
    )
    saved = _save_students(context, students)
    results.write_results(context.out, report, details)
    context.records.write(
        "evaluate",
        name,
        seconds=time.monotonic() - begun,
        flops=None,
        files=[context.out / "report.json", context.out / "details.json", *saved],
        facts={},
    )
    context.progress.advance(1)


def _method_warnings(context: Context) -> list[str]:
    method, data = context.recipe.distil.method, context.task.data
    terms = objective_of(context.recipe, data.heads)
    return unlabelled_warnings(method, terms, data.train.labelled)


def _save_students(context: Context, students: Sequence[Pass]) -> list[Path]:
    """Of each named student, keep the seed that is best on the validation data."""
    files = []
    for key, settings in context.recipe.students.items():
        scores = [done.record.facts["validation"][key] for done in students]
        best = max(scores) if context.task.metric.higher_is_better else min(scores)
        folder = context.out / "students" / key
        save(
            students[scores.index(best)].models[key],
            folder,
            name=settings.model,
            options=settings.options,
            interface=context.interface,
            outputs=settings.outputs,
        )
        files += [folder / "student.safetensors", folder / "student.json"]
        if (encoder := context.task.data.encoder) is not None:
            files.append(encoder.save(folder))
    return files
