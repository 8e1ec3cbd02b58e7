"""`limbeck targets curve`: what each codec would make of a recipe's teacher, drawn."""

from pathlib import Path

from limbeck import recipe as recipes
from limbeck._errors import OptionError
from limbeck._progress import Progress, Silence
from limbeck.pipeline._context import Context
from limbeck.pipeline._preflight import check_parts
from limbeck.pipeline._stages import teacher_stage
from limbeck.recipe import Recipe
from limbeck.report import CodecPoint, write_codec_curve
from limbeck.targets import Measured, choose, try_codecs
from limbeck.tasks import load_task


def draw_curve(
    recipe: Recipe,
    out: str | Path,
    *,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> tuple[list[Measured], Measured | None, Path]:
    """Try every codec on some thousand rows of the teacher, and write `curve.json` and its page.

    Args:
        recipe: Whose teacher, trained or loaded, and what it is asked about.
        out: The run's folder; a run that is there already lends its teacher.
        progress: Who watches.

    Returns:
        What was measured, in the order of the codecs; the one that the recipe's budget takes, if it
        has one; and the page.
    """
    if recipe.teacher is None:
        raise OptionError(
            f"`limbeck targets curve` tries the rows of one teacher, and there are "
            f"{', '.join(recipe.teachers)}. Give a recipe with one."
        )
    task = load_task(recipe.data)
    context = Context(recipe, Path(out), task, progress)
    check_parts(recipe, task, context.interface)
    with context.folder():
        return _tried(context, recipe.teacher, progress)


def _tried(
    context: Context, teaches: recipes.Teacher, progress: Progress
) -> tuple[list[Measured], Measured | None, Path]:
    recipe = context.recipe
    teacher, _ = teacher_stage(context, teaches, "teacher")
    settings, samples = recipe.targets, context.task.data.train
    tried = try_codecs(
        teacher,
        samples,
        compress=settings.compress,
        temperature=settings.temperature,
        views=settings.views,
        progress=progress,
    )
    rows = len(samples) * settings.views * tried[0].rows_per_sample
    taken = None
    if settings.budget is not None or settings.max_kl is not None:
        taken = choose(tried, rows=rows, budget=settings.budget, max_kl=settings.max_kl)
    numbers = tried[0].kl is None
    points = [
        CodecPoint(
            codec=one.named,
            bytes_per_row=one.bytes_per_row,
            error=one.difference if one.kl is None else one.kl,
            squared_error=one.squared_error,
            unbiased=one.unbiased,
            chosen=one is taken,
        )
        for one in tried
    ]
    at = "" if numbers else f" at temperature {settings.temperature:g}"
    page = write_codec_curve(
        context.out,
        points,
        title=recipe.name,
        rows=f"Measured on {tried[0].rows} rows of the teacher{at}, of {rows} that would be "
        "stored; keys, and what a codec learns, are shared out over all of them.",
        error_name="largest error, relative" if numbers else "KL to the teacher, nats a row",
    )
    return tried, taken, page
