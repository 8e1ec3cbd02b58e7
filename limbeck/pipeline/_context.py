"""What the stages of a run share: its folder, samples and processes; training and scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import xxhash
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from limbeck._devices import only_cpu
from limbeck._errors import OptionError, RecipeError, StorageError
from limbeck._files import fingerprint, only_writer, storage_errors, write_text
from limbeck._progress import Progress, Silence
from limbeck.data import ArraySamples, Samples, content_fingerprint
from limbeck.evaluation import answer_all, as_answerer, flops
from limbeck.models import Interface
from limbeck.pipeline._records import Record, Records
from limbeck.recipe import Recipe, Train
from limbeck.recipe_file import load_recipe, to_toml
from limbeck.signals import Inputs
from limbeck.targets import Processes
from limbeck.tasks import Task
from limbeck.train import Fitted, History, Learner, Order, Teach, fit

VERSION = 2
"""Changes when the same recipe would train otherwise; every stage is then done again."""


class Context:
    """A run in its folder.

    Args:
        recipe: What to run.
        out: The run's folder.
        task: What is learned.
        progress: Who watches; of several processes, the first alone is watched.
    """

    def __init__(self, recipe: Recipe, out: Path, task: Task, progress: Progress) -> None:
        self.recipe = recipe
        self.out = out
        # One process asks the teacher while the others wait, which may take days.
        self._state = PartialState(cpu=only_cpu(), timeout=timedelta(days=30))
        self.writes = self._state.is_main_process
        self.device = self._state.device
        self.task = _on(self.device, task) if recipe.data.resident else task
        self.progress = progress if self.writes else Silence()
        self.records = Records(out)
        self.interface = Interface.of(task.data)

    @contextmanager
    def folder(self) -> Iterator[None]:
        """Hold the run's folder: it is there, with the recipe in it, and no other run writes to it.

        Raises:
            StorageError: It is of something else, another run is at it, or it cannot be written.
        """
        with ExitStack() as stack:
            if self.writes:
                with storage_errors(self.out):
                    full = self.out.is_dir() and any(self.out.iterdir())
                    if full and not (self.out / "recipe.toml").is_file():
                        raise StorageError(
                            f"{self.out} holds files that are not of a run. Choose another folder "
                            "with --out."
                        )
                    self.out.mkdir(parents=True, exist_ok=True)
                stack.enter_context(only_writer(self.out))
                if full:
                    self._refuse_another_recipe()
                write_text(self.out / "recipe.toml", to_toml(self.recipe))
            self.wait()
            yield

    def _refuse_another_recipe(self) -> None:
        try:
            there = load_recipe(str(self.out / "recipe.toml")).name
        except RecipeError:
            return  # of another version, or damaged: what it made has other fingerprints
        if there != self.recipe.name:
            raise StorageError(
                f"{self.out} holds a run of the recipe {there}, and this one is called "
                f"{self.recipe.name}. Choose another folder with --out."
            )

    def wait(self) -> None:
        """Until every process is here."""
        self._state.wait_for_everyone()

    @property
    def processes(self) -> Processes:
        """Who else asks the teacher."""
        state = self._state
        return Processes(
            index=state.process_index,
            count=state.num_processes,
            wait=self.wait,
            share=lambda own: broadcast_object_list([own])[0],
        )

    @cached_property
    def asked_fingerprint(self) -> str:
        """Of what a teacher is asked: every training sample and view, without labels."""
        train = self.task.data.train
        keys = xxhash.xxh3_64(train.keys.tobytes()).hexdigest()
        return fingerprint([VERSION, _heads(self.task), keys, str(train.views)])

    @cached_property
    def data_fingerprint(self) -> str:
        """Of every sample, label and view of the training and validation data, and the metric.

        The validation scores of each epoch are part of what training leaves. Which training
        samples show their labels is not in it: see `labelled_fingerprint`.
        """
        data = self.task.data
        parts: list[Any] = [VERSION, self.task.metric.name, _heads(self.task)]
        for samples in (data.train, data.validation):
            parts += [content_fingerprint(samples), str(samples.views)]
        return fingerprint(parts)

    @cached_property
    def labelled_fingerprint(self) -> str:
        """Of which training samples show their labels."""
        labelled = self.task.data.train.labelled
        return "all" if labelled is None else fingerprint(labelled.tolist())

    @cached_property
    def test_fingerprint(self) -> str:
        """Of every sample and label of the test data."""
        return content_fingerprint(self.task.data.test)

    # ---- train and score -----------------------------------------------------------------------

    def fit(
        self,
        stage: str,
        name: str,
        learners: list[Learner],
        settings: Train,
        seed: int,
        who: Literal["all", "labelled", "taught"],
        *,
        title: str,
        teach: Teach | None = None,
        goes_on: Callable[[Learner, History], bool] | None = None,
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
            views=1 if stage.startswith("teacher") else self.views_of(settings),
            validate=lambda learner: self.validate(learner.model, learner.outputs),
            higher_is_better=self.task.metric.higher_is_better,
            goes_on=goes_on,
            mixup=self.recipe.distil.mixup and teach is not None,
            checkpoint=None if goes_on is not None else self._checkpoint(stage, name),
            log_folder=self.out / "logs" / stage,
            progress=self.progress,
            title=title,
        )

    def views_of(self, settings: Train) -> int:
        """How many stored views a student's epochs take in turn."""
        return 1 if settings.views else self.recipe.targets.views

    def validate(self, model: nn.Module, outputs: str) -> float:
        """The validation score of a model that gives such outputs."""
        return self.score(as_answerer(model.eval(), self.task.data.heads, outputs=outputs))

    def score(self, answer: Callable[[Inputs], dict[str, Tensor]]) -> float:
        """The validation score of what answers so."""
        answers = answer_all(answer, self.task.data.validation, self.task.data.head)
        return self.task.metric.score(answers.rows, answers.labels)

    def flops(self, model: nn.Module | Callable[..., Any], samples: int) -> int | None:
        """FLOPs of asking a model for so many samples; None for what is no torch module."""
        if not isinstance(model, nn.Module):
            return None
        one = self.task.data.train.fetch(torch.zeros(1, dtype=torch.long)).to(self.device)
        return flops(model.eval(), one.inputs) * samples

    def training_flops(self, learners: Sequence[Learner], fitted: Fitted) -> int:
        """Three forward passes for each sample seen: a backward pass costs two of them.

        And one more where an average of the weights answers too.
        """
        return sum(
            (3 if learner.decay is None else 4)
            * (self.flops(learner.model, fitted.samples_seen) or 0)
            for learner in learners
        )

    # ---- what is kept --------------------------------------------------------------------------

    def record(
        self,
        stage: str,
        name: str,
        *,
        seconds: float,
        flops: int | None,
        files: list[Path],
        facts: Mapping[str, Any],
    ) -> Record:
        """Write a stage's record, once, and wait until it is there."""
        if self.writes:
            self.records.write(stage, name, seconds=seconds, flops=flops, files=files, facts=facts)
        self.wait()
        return Record(fingerprint=name, seconds=seconds, flops=flops, facts=dict(facts))

    def put_in_place(self, stage: str, name: str) -> None:
        """Let a stage's folder hold what it made under fingerprint `name`, or nothing yet.

        What it made under another one is put aside, as STAGE-FINGERPRINT, with its record, and
        comes back when that is asked for again: a teacher's answers may have taken days.
        """
        if self.writes:
            folder = self.out / stage
            mark = folder / "of.txt"
            with storage_errors(folder):
                made = mark.read_text(encoding="utf-8").strip() if mark.is_file() else "unknown"
                if made != name:
                    self.records.exchange(stage, made, name)
                    if folder.is_dir():
                        folder.rename(self.out / f"{stage}-{made}")
                    if (self.out / f"{stage}-{name}").is_dir():
                        (self.out / f"{stage}-{name}").rename(folder)
                    else:
                        write_text(mark, name + "\n")
        self.wait()

    def _checkpoint(self, stage: str, name: str) -> Path:
        """Where a stage keeps its state; what it kept under another fingerprint goes."""
        folder = self.out / "stages"
        path = folder / f"{stage}.{name}.checkpoint.safetensors"
        if self.writes:
            with storage_errors(folder):
                for other in folder.glob(f"{stage}.*.checkpoint.safetensors"):
                    if other != path:
                        other.unlink()
        return path


def _on(device: torch.device, task: Task) -> Task:
    """The task, whose training inputs lie on the device."""
    train = task.data.train
    if not isinstance(train, ArraySamples):
        raise OptionError(
            "data.resident = true is for samples that lie in memory, and those of this source are "
            "read one by one. Leave it out."
        )
    return replace(task, data=replace(task.data, train=train.on(device)))


def _heads(task: Task) -> list[str]:
    return [repr(head) for head in task.data.heads]
