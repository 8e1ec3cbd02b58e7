"""Verdicts on the digits: of the real teacher, and of two false ones.

The recipe `digits` must be helped; `digits-hurt` shows that a verdict can say hurt. A teacher
that was never trained, and one whose rows are shuffled among the samples, must not be said to have
helped: not over 20 seeds, and not over any 5 of them in a row.

python bench/digits.py [--seeds 20]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from _results import bar, write

from limbeck import TransferSet, capture
from limbeck.data import ArraySamples
from limbeck.evaluation import answer_all, as_answerer
from limbeck.methods import Objective, objective, supervised
from limbeck.models import Interface, build, load_weights
from limbeck.pipeline import run
from limbeck.recipe import Recipe
from limbeck.recipe_file import load_recipe
from limbeck.results import Metric, Verdict
from limbeck.signals import Batch, Rows
from limbeck.tasks import Task, load_task
from limbeck.teachers import Teacher
from limbeck.train import Learner, Order, fit
from limbeck.verdict import judge

ACCURACY = Metric(name="accuracy", higher_is_better=True)


class Trial:
    """Students of a recipe under a transfer set that the pipeline would not make."""

    def __init__(self, recipe: Recipe, task: Task, targets: TransferSet) -> None:
        self.recipe, self.task = recipe, task
        self.aligned = targets.aligned(task.data.train)

    def score(self, seed: int, *, taught: bool) -> float:
        """The test accuracy of the student of one seed, or of its control."""
        recipe, data = self.recipe, self.task.data
        student = recipe.students["small"]
        model = build(student.model, student.options, Interface.of(data), seed=seed)
        everyone = torch.arange(len(data.train))
        labelled = data.train.labelled
        assert labelled is not None
        terms: Objective = supervised(data.heads)
        if taught:
            terms = objective(
                recipe.distil.method,
                data.heads,
                temperature=recipe.targets.temperature,
                hard_weight=recipe.distil.hard_weight,
                soft_weight=recipe.distil.soft_weight,
            )
        fit(
            [Learner(name="student", model=model, objective=terms)],
            data.train,
            recipe.train.model_copy(update={"validate_every": 0}),
            heads=data.heads,
            seed=seed,
            order=Order(
                pool=everyone if taught else everyone[labelled], length=len(everyone), seed=seed
            ),
            teach=self._teach if taught else None,
        )
        answers = answer_all(as_answerer(model, data.heads), data.test, data.head)
        return self.task.metric.score(answers.rows, answers.labels)

    def _teach(self, batch: Batch) -> dict[str, Rows]:
        rows = self.aligned.rows(batch.index, batch.view)
        return {name: part.to(torch.device("cpu")) for name, part in rows.items()}


def false_targets(
    recipe: Recipe, task: Task, weights: Path, folder: Path
) -> dict[str, tuple[TransferSet, float]]:
    """Targets of an untrained teacher, and of the real one with its rows under other keys."""
    data = task.data
    interface = Interface.of(data)
    made = {}
    for name in ("untrained", "shuffled"):
        model = build(recipe.teacher.model, recipe.teacher.options, interface, seed=1)
        samples = data.train
        if name == "shuffled":
            load_weights(model, weights)
            assert isinstance(samples, ArraySamples)
            inputs = samples.inputs
            assert isinstance(inputs, torch.Tensor)
            order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
            samples = ArraySamples(inputs[order], samples.labels, keys=samples.keys)
        teacher = Teacher(model, data.heads)
        answers = answer_all(teacher.logits, data.test, data.head)
        targets = capture(teacher, samples, folder / name, temperature=recipe.targets.temperature)
        made[name] = (targets, task.metric.score(answers.rows, answers.labels))
    return made


def row(name: str, verdict: Verdict, **more: Any) -> dict[str, Any]:
    return {
        "teacher": name,
        "outcome": verdict.outcome,
        "n": verdict.seeds,
        "gain": verdict.gain,
        "ci95": verdict.ci95,
        **more,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=20)
    seeds = options.parse_args().seeds
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for recipe_name in ("digits", "digits-hurt"):
            report = run(load_recipe(recipe_name), folder / recipe_name)
            models = {role: model.score.model_dump() for role, model in report.models.items()}
            rows.append(row(f"trained ({recipe_name})", report.verdict, scores=models))
        recipe = load_recipe("digits")
        task = load_task(recipe.data)
        weights = folder / "digits/teacher/teacher.safetensors"
        helped = 0
        for false, (targets, score) in false_targets(recipe, task, weights, folder).items():
            trial = Trial(recipe, task, targets)
            control = [trial.score(seed, taught=False) for seed in range(seeds)]
            student = [trial.score(seed, taught=True) for seed in range(seeds)]
            whole = judge(student, control, score, ACCURACY)
            fives = [
                judge(student[at : at + 5], control[at : at + 5], score, ACCURACY).outcome
                for at in range(0, seeds, 5)
            ]
            helped += (whole.outcome == "helped") + fives.count("helped")
            rows.append(row(false, whole, outcomes_of_five_seeds=fives, teacher_score=score))
    write(
        "digits",
        rows,
        [
            bar(
                "digits, 5 seeds: lower end of the gain's 95 % interval", rows[0]["ci95"][0], ">", 0
            ),
            bar("digits-hurt, 5 seeds: upper end of the interval", rows[1]["ci95"][1], "<", 0),
            bar("verdicts that call a false teacher helpful", helped, "<=", 0),
        ],
    )


if __name__ == "__main__":
    main()
