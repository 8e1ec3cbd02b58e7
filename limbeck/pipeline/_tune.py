"""`limbeck tune`: method, temperature, weights, learning rate and length, on validation data alone.

Every trial learns from the same stored rows, so that it costs a student and no teacher. The test
data are not read: `limbeck run` with the recipe that is found measures what it is worth.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from limbeck._errors import Interrupted, OptionError, TrainingError
from limbeck._files import fingerprint, write_text
from limbeck._progress import Progress, Silence
from limbeck.methods import (
    Objective,
    branch_terms,
    method_code,
    objective_of,
    only_from_labels,
    supervised,
)
from limbeck.pipeline._begin import Role, beginner
from limbeck.pipeline._chain import Lecture, chain_stages
from limbeck.pipeline._context import Context
from limbeck.pipeline._preflight import a_few, check_parts
from limbeck.pipeline._search import Asked, Search, Trial, library
from limbeck.pipeline._search_space import Candidate, SearchSpace
from limbeck.pipeline._teachers import teachers_stage
from limbeck.recipe import Recipe, Train
from limbeck.recipe_file import to_toml
from limbeck.report import FinalPoint, TrialPoint, write_trials
from limbeck.results import Metric
from limbeck.tasks import load_task
from limbeck.train import Fitted, History, Learner, generator_seed

TOGETHER = 4
"""Candidates that are trained in one pass."""
FINALISTS = 3
"""The best candidates, which are trained again with several seeds."""
FIRST_SEED = 1_000_000
"""Seeds here begin with this one: the verdict's, from 0 on, must not have been chosen by."""


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate that was trained with several seeds."""

    what: str
    """`found`, the best; `runner-up`; `recipe`, the recipe's own; or a control: `control found`,
    `control recipe`."""
    candidate: Candidate
    scores: list[float]
    """On the validation data, a seed each."""

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.fmean(self.scores)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search found."""

    trials: list[Trial]
    """All that was tried, in order."""
    finalists: list[Finalist]
    """The best of them, best first, with several seeds each."""
    controls: list[Finalist]
    """The student from labels alone, as long and as fast as the recipe says, and as was found."""
    recipe: Recipe
    """The recipe with the best finalist's setting."""
    path: Path
    """Of that recipe, as TOML."""
    helps: bool
    """Whether the best is better than both controls, on the validation data."""
    page: Path
    """Shows the trials."""


def tune(
    recipe: Recipe,
    out: str | Path,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> Tuned:
    """Search the basics of a recipe with one student, and write `tuned.toml` and a page.

    Args:
        recipe: Where the search begins; its own setting is the first trial.
        out: The run's folder. A search, or a run, that is there already is gone on with.
        trials: How many settings to try in all, 1 or more.
        minutes: For how long to try, above 0; the last seeds of the finalists are in it.
        progress: Who watches.

    Raises:
        OptionError: There is no bound, or the recipe is not one that can be searched.
        ExtraError: optuna is not there.
    """
    _check(recipe, trials, minutes)
    library()  # before a teacher is trained for it
    begun = time.monotonic()
    bounds = _Bounds(trials=trials, minutes=minutes)
    task = load_task(recipe.data)
    context = Context(recipe, Path(out), task, progress)
    if context.processes.count > 1:
        raise OptionError("`limbeck tune` is one process: run it without torchrun.")
    check_parts(recipe, task, context.interface)
    with context.folder():
        return _search(context, bounds, begun)


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """How long to search, as the caller says."""

    trials: int | None
    minutes: float | None


def _search(context: Context, bounds: _Bounds, begun: float) -> Tuned:
    recipe, task = context.recipe, context.task
    (student,) = recipe.students
    lecture = chain_stages(context, teachers_stage(context)).last
    trainer = _Trainer(context, student, lecture)
    every_label = task.data.train.labelled is None
    space = SearchSpace.of(recipe, task.data.heads, lecture.like, every_label=every_label)
    search = Search(
        context.out / "tune" / f"{fingerprint([trainer.depends, asdict(space)])}.json",
        space,
        higher_is_better=task.metric.higher_is_better,
        own=Candidate.of(recipe),
    )
    over = fingerprint([trainer.depends, asdict(space), asdict(bounds)])
    if not search.trials or context.records.find("tune-search", over) is None:
        _try_until(search, trainer, bounds, begun)
        context.record(
            "tune-search",
            over,
            seconds=time.monotonic() - begun,
            flops=None,
            files=[],
            facts={"trials": len(search.trials)},
        )
    finalists, controls = _finals(search, trainer)
    best = finalists[0]
    found = best.candidate.put_in(recipe)
    path = context.out / "tuned.toml"
    write_text(path, to_toml(found))
    return Tuned(
        trials=search.trials,
        finalists=finalists,
        controls=controls,
        recipe=found,
        path=path,
        helps=all(task.metric.is_better(best.mean, control.mean) for control in controls),
        page=_write_page(context, search.trials, finalists, controls),
    )


def _check(recipe: Recipe, trials: int | None, minutes: float | None) -> None:
    if trials is None and minutes is None:
        raise OptionError("say how long to search: --trials 40, or --minutes 10.")
    if trials is not None and trials < 1:
        raise OptionError(f"trials must be 1 or more, got {trials}.")
    if minutes is not None and not minutes > 0:
        raise OptionError(f"minutes must be above 0, got {minutes:g}.")
    if recipe.distil.live:
        raise OptionError("`limbeck tune` learns from stored rows. Set distil.live = false.")
    if recipe.distil.taps:
        raise OptionError(
            "`limbeck tune` searches among methods of rows, and distil.taps is for those of "
            "features. Leave it out, with a method of rows, or compare weights of features by runs."
        )
    if len(recipe.students) > 1:
        raise OptionError(
            f"`limbeck tune` is for one student, and the recipe has {', '.join(recipe.students)}. "
            "Leave one."
        )


class _Trainer:
    """Trains the student of a recipe, as candidates say, from the same stored rows."""

    def __init__(self, context: Context, student: str, lecture: Lecture) -> None:
        self.context = context
        self.seconds_of_one = 0.0
        self._student = student
        self._teacher = lecture.teacher
        self._teach = lecture.teach
        self.depends = [
            context.recipe.model_dump(exclude={"seeds", "description"}),
            context.data_fingerprint,
            context.labelled_fingerprint,
            *lecture.depends,
            *method_code(context.recipe.distil.method),
        ]

    def scores(self, asked: Sequence[Asked]) -> list[float]:
        """Train candidates that share a learning rate and a length in one pass; their scores."""
        context = self.context
        candidates = [one.candidate for one in asked]
        learners = [
            self._learner(f"{place}", self._objective(each), FIRST_SEED, "distil")
            for place, each in enumerate(candidates)
        ]
        by_name = dict(zip((learner.name for learner in learners), asked, strict=True))

        def goes_on(learner: Learner, history: History) -> bool:
            return by_name[learner.name].goes_on(history.validation)

        settings = candidates[0].put_in(context.recipe).train
        if not settings.validate_every:
            settings = settings.model_copy(update={"validate_every": 1})
        fitted = [
            self._fit(
                "tune",
                "",  # it keeps nothing to go on from: a pass is short
                together,
                settings,
                FIRST_SEED,
                goes_on=goes_on,
                title=f"trying {len(together)} together",
            )
            for together in self._by_samples(learners)
        ]
        self.seconds_of_one = sum(each.seconds for each in fitted) / len(candidates)
        return [context.validate(each.model, each.outputs) for each in learners]

    def _by_samples(self, learners: Sequence[Learner]) -> list[list[Learner]]:
        """Apart, where labels are few: those that see every sample, and those that see these."""
        if self.context.task.data.train.labelled is None:
            return [[*learners]]
        parted: dict[bool, list[Learner]] = {}
        for learner in learners:
            parted.setdefault(only_from_labels(learner.objective), []).append(learner)
        return [*parted.values()]

    def _fit(
        self,
        stage: str,
        name: str,
        learners: list[Learner],
        settings: Train,
        seed: int,
        *,
        title: str,
        goes_on: Callable[[Learner, History], bool] | None = None,
    ) -> Fitted:
        """Train learners that see the same samples: those that a run would show them."""
        terms = tuple(term for learner in learners for term in learner.objective)
        return self.context.fit(
            stage,
            name,
            learners,
            settings,
            seed,
            "labelled" if only_from_labels(terms) else "taught",
            teach=self._teach if any(term.from_teacher for term in terms) else None,
            goes_on=goes_on,
            title=title,
        )

    def final(
        self, what: str, candidate: Candidate, *, from_labels: bool = False
    ) -> Finalist | None:
        """Train a candidate, or its control, with as many seeds as the recipe has.

        None if it does not stay finite with one of them.
        """
        try:
            scores = [
                self._once(what, candidate, seed, from_labels)
                for seed in range(self.context.recipe.seeds)
            ]
        except TrainingError as error:
            self.context.progress.warn(f"{what} is left out: {error}")
            return None
        return Finalist(what=what, candidate=candidate, scores=scores)

    def _once(self, what: str, candidate: Candidate, number: int, from_labels: bool) -> float:
        context, seed = self.context, FIRST_SEED + 1 + number
        name = fingerprint([self.depends, candidate.facts, seed, from_labels])
        stage = f"tune-{name}"
        if (record := context.records.find(stage, name)) is not None:
            return float(record.facts["validation"])
        heads = context.task.data.heads
        objective = supervised(heads) if from_labels else self._objective(candidate)
        learner = self._learner(what, objective, seed, "control" if from_labels else "distil")
        fitted = self._fit(
            stage,
            name,
            [learner],
            candidate.put_in(context.recipe).train,
            seed,
            title=f"training again: {what}, {number + 1} of {context.recipe.seeds}",
        )
        score = context.validate(learner.model, learner.outputs)
        context.record(
            stage, name, seconds=fitted.seconds, flops=None, files=[], facts={"validation": score}
        )
        return score

    def _objective(self, candidate: Candidate) -> Objective:
        return objective_of(candidate.put_in(self.context.recipe), self.context.task.data.heads)

    def _learner(self, name: str, objective: Objective, seed: int, role: Role) -> Learner:
        model, _ = beginner(self.context, self._student, seed, role, self._teacher)
        outputs = self.context.recipe.students[self._student].outputs
        balance = None
        if role == "distil":
            distil, data = self.context.recipe.distil, self.context.task.data
            balance = distil.balance
            if distil.branches is not None:
                first, few = generator_seed(seed, "beside"), a_few(data.train)
                objective += branch_terms(distil.branches, data.heads, model, few, seed=first)
        return Learner(
            name=name, model=model, objective=objective, outputs=outputs, balance=balance
        )


def _try_until(search: Search, trainer: _Trainer, bounds: _Bounds, begun: float) -> None:
    """Try settings; stopped, say what is kept."""
    deadline = None if bounds.minutes is None else begun + 60 * bounds.minutes
    try:
        _try(search, trainer, bounds.trials, deadline)
    except Interrupted:
        raise Interrupted(
            f"stopped in a search. The {len(search.trials)} settings that were tried to an end are "
            "kept: run the same command again to go on from there."
        ) from None
    trainer.context.progress.say(
        f"The search is over: of {len(search.trials)} settings the best are trained again, and the "
        "controls."
    )


def _try(search: Search, trainer: _Trainer, trials: int | None, deadline: float | None) -> None:
    """Try settings, some in each pass, until there are enough or time is over."""
    context = trainer.context
    last = 0.0
    while True:
        tried = search.trials
        left = TOGETHER if trials is None else min(TOGETHER, trials - len(tried))
        finals = (FINALISTS + 3) * context.recipe.seeds * trainer.seconds_of_one
        late = deadline is not None and time.monotonic() + last + finals > deadline
        if left <= 0 or (tried and late):
            return
        begun = time.monotonic()
        _try_together(search, search.ask(left), trainer)
        last = time.monotonic() - begun
        best = _ranked(search.trials, higher_is_better=context.task.metric.higher_is_better)
        if best:
            metric = context.task.metric.name
            context.progress.say(
                f"{len(search.trials)} tried: best validation {metric} {best[0].score:.4g}, "
                f"{best[0].candidate.method}"
            )


def _try_together(search: Search, asked: Sequence[Asked], trainer: _Trainer) -> None:
    """Train them in one pass; each alone, if one of them does not stay finite."""
    scores: list[float | None]
    try:
        scores = [*trainer.scores(asked)]
    except TrainingError:
        if len(asked) > 1:
            for one in asked:
                _try_together(search, [one], trainer)
            return
        scores = [None]
    for one, score in zip(asked, scores, strict=True):
        search.tell(one, None if one.given_up else score)


def _ranked(trials: Sequence[Trial], *, higher_is_better: bool) -> list[Trial]:
    """Those that came to their end, best first."""
    whole = [trial for trial in trials if trial.score is not None]
    return sorted(whole, key=lambda trial: trial.score or 0.0, reverse=higher_is_better)


def _finals(search: Search, trainer: _Trainer) -> tuple[list[Finalist], list[Finalist]]:
    """The best candidates and the recipe's own, best first; and controls. Several seeds each."""
    context = trainer.context
    higher = context.task.metric.higher_is_better
    own = Candidate.of(context.recipe)
    best: list[Candidate] = []
    for trial in _ranked(search.trials, higher_is_better=higher):
        if trial.candidate not in (own, *best) and len(best) < FINALISTS:
            best.append(trial.candidate)
    trained = [
        trainer.final("recipe", own),
        *(trainer.final(f"finalist {place}", each) for place, each in enumerate(best, start=1)),
    ]
    finalists = [one for one in trained if one is not None]
    if not finalists:
        raise TrainingError(
            "no setting stayed finite with every seed. Lower train.learning_rate, or run `limbeck "
            "doctor` on the recipe."
        )
    finalists.sort(key=lambda one: one.mean, reverse=higher)
    finalists = [
        one if one.what == "recipe" else replace(one, what="runner-up" if place else "found")
        for place, one in enumerate(finalists)
    ]
    found = finalists[0].candidate
    asked = [trainer.final("control recipe", own, from_labels=True)]
    if (found.learning_rate, found.epochs) != (own.learning_rate, own.epochs):
        asked.append(trainer.final("control found", found, from_labels=True))
    return finalists, [one for one in asked if one is not None]


def _write_page(
    context: Context,
    trials: Sequence[Trial],
    finalists: Sequence[Finalist],
    controls: Sequence[Finalist],
) -> Path:
    metric = context.task.metric
    return write_trials(
        context.out,
        title=context.recipe.name,
        metric=Metric(name=metric.name, higher_is_better=metric.higher_is_better),
        trials=[
            TrialPoint(number=number, score=one.score, **one.candidate.facts)
            for number, one in enumerate(trials)
        ],
        finalists=[
            FinalPoint(what=one.what, scores=one.scores, **one.candidate.facts)
            for one in (*finalists, *controls)
        ],
    )
