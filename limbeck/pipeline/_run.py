"""`limbeck run`: teach, targets, control, distil, evaluate, report.

Each stage leaves a record with its fingerprint, what it depends on. Run again, and only stages
whose fingerprint changed are done again; killed anywhere, a run goes on where it stopped.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import xxhash
from accelerate import PartialState
from torch import Tensor, nn

from limbeck import results
from limbeck._devices import only_cpu
from limbeck._errors import StorageError
from limbeck._files import file_hash, fingerprint, storage_errors, write_text
from limbeck._progress import Progress, Silence
from limbeck.data import Samples
from limbeck.evaluation import answer_all, as_answerer, flops
from limbeck.methods import Objective, objective, supervised
from limbeck.models import Interface, build, load_weights, save, save_weights
from limbeck.pipeline._preflight import check_parts
from limbeck.pipeline._stages import Record, Records
from limbeck.pipeline._summary import Trained, summarise
from limbeck.pipeline._warnings import chance_warnings, teacher_warnings
from limbeck.recipe import Recipe, Train, to_toml
from limbeck.report import write_page
from limbeck.signals import Batch, Dense, Inputs, Rows
from limbeck.targets import TransferSet, capture
from limbeck.tasks import Task, load_task
from limbeck.teachers import Teacher
from limbeck.train import Fitted, Learner, Order, Teach, fit

VERSION = 1
"""Changes when the same recipe would train otherwise; every stage is then done again."""


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
    task = load_task(recipe.data)
    return _Run(recipe, Path(out), task, progress).report()


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """All students of one seed, trained in one pass."""

    models: dict[str, nn.Module]
    record: Record


class _Run:
    """A run in its folder."""

    def __init__(self, recipe: Recipe, out: Path, task: Task, progress: Progress) -> None:
        self.recipe = recipe
        self.out = out
        self.task = task
        # One process asks the teacher while the others wait, which may take days.
        self.state = PartialState(cpu=only_cpu(), timeout=timedelta(days=30))
        self.progress = progress if self.state.is_main_process else Silence()
        self.records = Records(out)
        self.interface = Interface.of(task.data)
        check_parts(recipe, task, self.interface)
        if self.state.is_main_process:
            self._open_folder()
        self.state.wait_for_everyone()

    def _open_folder(self) -> None:
        with storage_errors(self.out):
            full = self.out.is_dir() and any(self.out.iterdir())
            if full and not (self.out / "recipe.toml").is_file():
                raise StorageError(
                    f"{self.out} holds files that are not of a run. Choose another folder with "
                    "--out."
                )
            self.out.mkdir(parents=True, exist_ok=True)
        write_text(self.out / "recipe.toml", to_toml(self.recipe))

    @cached_property
    def data_fingerprint(self) -> str:
        """Of every sample, label and view of the three splits, and how they are scored."""
        data = self.task.data
        parts: list[Any] = [VERSION, self.task.metric.name, [repr(head) for head in data.heads]]
        for samples in (data.train, data.validation, data.test):
            digest = xxhash.xxh3_64(samples.keys.tobytes())
            for name in sorted(samples.labels):
                digest.update(samples.labels[name].contiguous().numpy().tobytes())
            if samples.labelled is not None:
                digest.update(samples.labelled.numpy().tobytes())
            parts += [digest.hexdigest(), str(samples.views)]
        return fingerprint(parts)

    # ---- the stages, in order ------------------------------------------------------------------

    def teacher(self) -> tuple[Teacher, Record]:
        """Train the teacher, or load it; examine it."""
        settings = self.recipe.teacher
        weights = None if settings.weights is None else Path(settings.weights)
        depends = [
            settings.model_dump(),
            self.data_fingerprint,
            file_hash(weights) if weights is not None and weights.is_file() else None,
        ]
        name = fingerprint(depends)
        made = self.out / "teacher" / "teacher.safetensors"
        model = build(settings.model, settings.options, self.interface, seed=settings.seed)
        record = self.records.find("teacher", name)
        if weights is not None:
            load_weights(model, weights)
        elif record is not None:
            load_weights(model, made)
        seconds, history = 0.0, {}
        computed: int | None = 0
        if record is None and weights is None:
            learner = Learner(
                name="teacher",
                model=model,
                objective=supervised(self.task.data.heads),
                outputs=settings.outputs,
            )
            fitted = self._fit(
                "teacher", name, [learner], settings.train, settings.seed, settings.labels
            )
            seconds, history = fitted.seconds, vars(fitted.histories["teacher"])
            computed = self._training_flops([model], fitted)
            if self.state.is_main_process:
                save_weights(model, made)
        teacher = Teacher(
            model, self.task.data.heads, outputs=settings.outputs, device=self.state.device
        )
        if record is None:
            facts = {"validation": self._score(teacher.logits), "history": history}
            record = self._record(
                "teacher", name, seconds, computed, [made] if weights is None else [], facts
            )
        metric = self.task.metric.name
        score = record.facts["validation"]
        self.progress.say(f"teacher: validation {metric} {score:.4g}")
        for warning in chance_warnings(self.task, score):
            self.progress.warn(warning)
        return teacher, record

    def targets(self, teacher: Teacher) -> tuple[TransferSet, Record]:
        """Ask the teacher once, and keep what it says."""
        settings = self.recipe.targets
        name = fingerprint([settings.model_dump(), teacher.fingerprint, self.data_fingerprint])
        folder = self.out / "targets"
        record = self.records.find("targets", name)
        if record is None and self.state.is_main_process:
            begun = time.monotonic()
            mark = folder / "of.txt"
            with storage_errors(folder):
                if folder.is_dir() and (
                    not mark.is_file() or mark.read_text(encoding="utf-8").strip() != name
                ):
                    shutil.rmtree(folder)  # targets that this run made for what has changed since
            write_text(mark, name + "\n")
            stored = capture(
                teacher,
                self.task.data.train,
                folder,
                compress=settings.compress,
                temperature=settings.temperature,
                codec=settings.codec,
                codec_options=settings.codec_options,
                views=settings.views,
                progress=self.progress,
            )
            asked = len(self.task.data.train) * settings.views
            self.records.write(
                "targets",
                name,
                seconds=time.monotonic() - begun,
                flops=self._flops(teacher.model, asked),
                files=[folder / "manifest.json"],
                facts={"bytes": stored.card.bytes},
            )
        self.state.wait_for_everyone()
        targets = TransferSet(folder)
        targets.expect(
            teacher=teacher.fingerprint,
            heads=self.task.data.heads,
            transform=str(self.task.data.train.views),
        )
        record = record or self.records.find("targets", name)
        assert record is not None, "the targets' record was written before the barrier"
        return targets, record

    def control(self, seed: int) -> _Pass:
        """Every student of one seed, from labels alone."""
        return self._students("control", seed, supervised(self.task.data.heads), None, [])

    def distil(self, seed: int, teach: Teach, depends: Sequence[Any]) -> _Pass:
        """Every student of one seed, from the teacher."""
        settings = self.recipe.distil
        terms = objective(
            settings.method,
            self.task.data.heads,
            temperature=settings.temperature or self.recipe.targets.temperature,
            hard_weight=settings.hard_weight,
            soft_weight=settings.soft_weight,
        )
        return self._students("distil", seed, terms, teach, [settings.model_dump(), *depends])

    def report(self) -> results.Report:
        """All stages; the result files are written at the end."""
        seeds = range(self.recipe.seeds)
        teacher, teacher_record = self.teacher()
        if self.recipe.distil.live:
            targets, targets_record = None, None
            teach = self._live(teacher)
            depends: list[Any] = [teacher.fingerprint, self.recipe.targets.model_dump()]
        else:
            targets, targets_record = self.targets(teacher)
            teach = self._stored(targets)
            depends = [targets_record.fingerprint]
        controls = [self.control(seed) for seed in seeds]
        students = [self.distil(seed, teach, depends) for seed in seeds]
        stages = {
            "teacher": [teacher_record],
            "targets": [] if targets_record is None else [targets_record],
            "control": [done.record for done in controls],
            "distil": [done.record for done in students],
        }
        name = fingerprint(
            [
                results.versions(),
                self.recipe.model_dump(),
                *(record.fingerprint for records in stages.values() for record in records),
            ]
        )
        if self.state.is_main_process:
            if self.records.find("evaluate", name) is None:
                self._evaluate(name, teacher, targets, controls, students, stages)
            write_page(self.out)
        self.state.wait_for_everyone()
        return results.read_results(self.out)[0]

    def _evaluate(
        self,
        name: str,
        teacher: Teacher,
        targets: TransferSet | None,
        controls: Sequence[_Pass],
        students: Sequence[_Pass],
        stages: Mapping[str, Sequence[Record]],
    ) -> None:
        """Measure everyone on the test data; keep the best students and the result files."""
        begun = time.monotonic()
        self.progress.start("evaluating", 1)
        warnings = teacher_warnings(
            self.task,
            teacher_validation=stages["teacher"][0].facts["validation"],
            control_validation={
                student: [record.facts["validation"][student] for record in stages["control"]]
                for student in self.recipe.students
            },
            seeds=self.recipe.seeds,
        )
        trained = {
            student: Trained(
                controls=[done.models[student] for done in controls],
                students=[done.models[student] for done in students],
            )
            for student in self.recipe.students
        }
        report, details = summarise(
            self.recipe,
            self.task,
            teacher,
            trained,
            targets=targets,
            stages=stages,
            warnings=warnings,
            begun=begun,
        )
        saved = self._save_students(students)
        results.write_results(self.out, report, details)
        made = [self.out / "report.json", self.out / "details.json", *saved]
        seconds = time.monotonic() - begun
        self.records.write("evaluate", name, seconds=seconds, flops=None, files=made, facts={})
        self.progress.advance(1)

    # ---- what the stages share -----------------------------------------------------------------

    def _students(
        self,
        role: Literal["control", "distil"],
        seed: int,
        terms: Objective,
        teach: Teach | None,
        depends: Sequence[Any],
    ) -> _Pass:
        recipe = self.recipe
        stage = f"{role}-{seed}"
        views = 1 if recipe.train.views else recipe.targets.views
        chosen = {name: student.model_dump() for name, student in recipe.students.items()}
        name = fingerprint(
            [chosen, recipe.train.model_dump(), views, seed, self.data_fingerprint, *depends]
        )
        models = {
            key: build(student.model, student.options, self.interface, seed=seed)
            for key, student in recipe.students.items()
        }
        made = {key: self.out / role / f"seed-{seed}" / f"{key}.safetensors" for key in models}
        record = self.records.find(stage, name)
        if record is not None:
            for key, model in models.items():
                load_weights(model, made[key])
            return _Pass(models={key: model.eval() for key, model in models.items()}, record=record)
        learners = [
            Learner(name=key, model=model, objective=terms, outputs=recipe.students[key].outputs)
            for key, model in models.items()
        ]
        fitted = self._fit(
            stage,
            name,
            learners,
            recipe.train,
            seed,
            "labelled" if teach is None else "taught",
            teach=teach,
            views=views,
        )
        if self.state.is_main_process:
            for key, model in models.items():
                save_weights(model, made[key])
        facts = {
            "validation": {
                key: self._validate(model, recipe.students[key].outputs)
                for key, model in models.items()
            },
            "histories": {key: vars(history) for key, history in fitted.histories.items()},
        }
        computed = self._training_flops(list(models.values()), fitted)
        record = self._record(stage, name, fitted.seconds, computed, list(made.values()), facts)
        return _Pass(models=models, record=record)

    def _fit(
        self,
        stage: str,
        name: str,
        learners: list[Learner],
        settings: Train,
        seed: int,
        who: Literal["all", "labelled", "taught"],
        *,
        teach: Teach | None = None,
        views: int = 1,
    ) -> Fitted:
        """Train on all samples' labels, on the labelled ones alone, or on all as the teacher says.

        An epoch has as many steps in each case: a control sees its few samples more often.
        """
        samples: Samples = self.task.data.train
        everyone = torch.arange(len(samples))
        pool = everyone
        if who == "all" and samples.labelled is not None:
            samples = samples.with_labels_of(torch.ones(len(samples), dtype=torch.bool))
        elif who == "labelled" and samples.labelled is not None:
            pool = everyone[samples.labelled]
        return fit(
            learners,
            samples,
            settings,
            heads=self.task.data.heads,
            seed=seed,
            order=Order(pool=pool, length=len(samples), seed=seed),
            teach=teach,
            views=views,
            validate=lambda learner: self._validate(learner.model, learner.outputs),
            higher_is_better=self.task.metric.higher_is_better,
            checkpoint=self._checkpoint(stage, name),
            log_folder=self.out / "logs" / stage,
            progress=self.progress,
        )

    def _checkpoint(self, stage: str, name: str) -> Path:
        """Where a stage keeps its state; what it kept under another fingerprint goes."""
        folder = self.out / "stages"
        path = folder / f"{stage}.{name}.checkpoint.safetensors"
        if self.state.is_main_process:
            with storage_errors(folder):
                for other in folder.glob(f"{stage}.*.checkpoint.safetensors"):
                    if other != path:
                        other.unlink()
        return path

    def _validate(self, model: nn.Module, outputs: str) -> float:
        answer = as_answerer(model.eval(), self.task.data.heads, outputs=outputs)
        return self._score(answer)

    def _score(self, answer: Callable[[Inputs], dict[str, Tensor]]) -> float:
        """The validation score of what answers so."""
        answers = answer_all(answer, self.task.data.validation, self.task.data.head)
        return self.task.metric.score(answers.rows, answers.labels)

    def _stored(self, targets: TransferSet) -> Teach:
        aligned = targets.aligned(self.task.data.train)
        device = self.state.device

        def teach(batch: Batch) -> dict[str, Rows]:
            rows = aligned.rows(batch.index, batch.view)
            return {name: part.to(device) for name, part in rows.items()}

        return teach

    def _live(self, teacher: Teacher) -> Teach:
        def teach(batch: Batch) -> dict[str, Rows]:
            return {name: Dense(values=rows) for name, rows in teacher.logits(batch.inputs).items()}

        return teach

    def _record(
        self,
        stage: str,
        name: str,
        seconds: float,
        computed: int | None,
        files: list[Path],
        facts: dict[str, Any],
    ) -> Record:
        """Write a stage's record, once, and wait until it is there."""
        if self.state.is_main_process:
            self.records.write(
                stage, name, seconds=seconds, flops=computed, files=files, facts=facts
            )
        self.state.wait_for_everyone()
        return Record(fingerprint=name, seconds=seconds, flops=computed, facts=facts)

    def _flops(self, model: nn.Module | Callable[..., Any], samples: int) -> int | None:
        """FLOPs of asking a model for so many samples; None for what is no torch module."""
        if not isinstance(model, nn.Module):
            return None
        one = self.task.data.train.fetch(torch.zeros(1, dtype=torch.long)).to(self.state.device)
        return flops(model.eval(), one.inputs) * samples

    def _training_flops(self, models: Sequence[nn.Module], fitted: Fitted) -> int:
        """Three forward passes for each sample seen: a backward pass costs two of them."""
        return sum(3 * (self._flops(model, fitted.samples_seen) or 0) for model in models)

    def _save_students(self, students: Sequence[_Pass]) -> list[Path]:
        """Of each named student, keep the seed that is best on the validation data."""
        files = []
        for key, settings in self.recipe.students.items():
            scores = [done.record.facts["validation"][key] for done in students]
            best = max(scores) if self.task.metric.higher_is_better else min(scores)
            folder = self.out / "students" / key
            save(
                students[scores.index(best)].models[key],
                folder,
                name=settings.model,
                options=settings.options,
                interface=self.interface,
                outputs=settings.outputs,
            )
            files += [folder / "student.safetensors", folder / "student.json"]
        return files
