"""Train any number of models on the same batches.

A batch is read, augmented and its targets decoded once for all. What a model becomes depends on
its seed, the samples and the settings alone, not on how often the run was stopped and went on, nor
on who learns beside it, but for students that learn from each other. Processes that share the work,
and micro-batches, change it by rounding only, but for what looks at a batch as a whole: each draws
its own dropout and mixup, and has its own batch statistics and relations between samples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import is_tensorboard_available

from limbeck._devices import only_cpu
from limbeck._errors import ExtraError, Interrupted, OptionError
from limbeck._files import fingerprint
from limbeck._interrupt import deferred_interrupt
from limbeck._progress import Progress, Silence
from limbeck._state import state_of
from limbeck.data import Samples, content_fingerprint
from limbeck.methods import AnyTerm
from limbeck.recipe import Train
from limbeck.signals import Head
from limbeck.train._batches import batches, parts_of
from limbeck.train._checks import check_batch_norm, check_weights
from limbeck.train._lane import Lane, Pace
from limbeck.train._learner import Fitted, History, Learner, Teach
from limbeck.train._mixup import check_mixup, mixed_up
from limbeck.train._order import Order, generator, generator_seed
from limbeck.train._resume import Resume
from limbeck.train._schedule import schedule_factor
from limbeck.train._step import groups_of, step_together

CHECK_EVERY = 50
"""Steps between two looks at whether the losses are finite."""


def fit(
    learners: Sequence[Learner],
    samples: Samples,
    settings: Train,
    *,
    heads: Sequence[Head],
    seed: int,
    order: Order | None = None,
    teach: Teach | None = None,
    views: int = 1,
    validate: Callable[[Learner], float] | None = None,
    higher_is_better: bool = True,
    goes_on: Callable[[Learner, History], bool] | None = None,
    mixup: bool = False,
    checkpoint: Path | None = None,
    taught_by: str = "",
    log_folder: Path | None = None,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
    title: str = "",
) -> Fitted:
    """Train every learner on the same batches; their models are changed in place.

    Args:
        learners: Who learns.
        samples: What from.
        settings: For how long, by what optimiser, ...
        heads: What the models answer.
        seed: Of the order of samples and of dropout.
        order: Which samples each epoch visits; all of them, shuffled, if left out.
        teach: The teacher's rows for a batch, for objectives with soft terms.
        views: How many views of a sample epochs take in turn; ignored with `settings.views`.
        validate: A learner's score on the validation data; `keep = "best"` needs it.
        higher_is_better: Which way that score is better.
        goes_on: Asked after each epoch: a learner of whom it is false stops there. Such a pass
            keeps no checkpoint.
        mixup: Whether the samples of a batch are mixed before anyone is asked about them: only
            where a live teacher alone teaches.
        checkpoint: Where to keep the state, to go on from after a kill; removed at the end.
        taught_by: A fingerprint of what `teach` gives and how it is learned from; a checkpoint
            of another one is not gone on from.
        log_folder: Where TensorBoard logs go; `log = "tensorboard"` needs it.
        progress: Who watches.
        title: What they see it called; the learners' names, if left out.

    Raises:
        OptionError: Settings ask for what is not there.
        ModelError: A model has nothing to learn with, or answers something else.
        TrainingError: A loss is not finite.
        Interrupted: The user stopped it; with a checkpoint, the same call goes on.
    """
    if settings.keep == "best" and validate is None:
        raise OptionError(
            'keep = "best" needs validation data to choose on. Give some, or set keep = "last".'
        )
    if goes_on is not None and checkpoint is not None:
        raise OptionError("a pass that learners may leave early keeps no checkpoint.")
    if mixup:
        for learner in learners:
            check_mixup(learner.objective, samples.fetch(torch.arange(1)).inputs)
    order = order or Order(pool=torch.arange(len(samples)), length=len(samples), seed=seed)
    for learner in learners:
        check_weights(learner.model, who=learner.name)
        check_batch_norm(
            learner.model, settings, order.length, who=learner.name, beside=learner.beside
        )
    steps_per_epoch = math.ceil(order.length / settings.batch_size)
    steps = settings.epochs * steps_per_epoch
    with _accelerator(settings, log_folder) as accelerator, _own_noise(accelerator.device):
        lanes = [Lane(learner, settings, accelerator, heads) for learner in learners]
        of = ""
        if checkpoint is not None:
            taught_by += " mixed up" * mixup
            of = _fingerprint(learners, samples, settings, order, seed, views, taught_by)
        resume = Resume(lanes, checkpoint, of, writes=accelerator.is_main_process)
        first_epoch, first_step = resume.restore(progress)
        shown = first_epoch * steps_per_epoch + first_step
        title = title or f"training {' + '.join(one.name for one in learners)}"
        progress.start(title, steps)
        progress.advance(shown)
        deferred = deferred_interrupt() if accelerator.num_processes == 1 else nullcontext()
        going, groups = list(lanes), groups_of(lanes)
        with deferred as interrupt:
            for epoch in range(first_epoch, settings.epochs):
                skip = first_step if epoch == first_epoch else 0
                view = epoch + 1 if settings.views else epoch % views
                loader = batches(samples, order.epoch(epoch), view, skip, settings, accelerator)
                for step, batch in enumerate(loader, start=skip):
                    done = epoch * steps_per_epoch + step
                    if mixup:
                        drawn = generator(seed, "mixup", done, accelerator.process_index)
                        batch = mixed_up(batch, drawn)
                    noise = generator_seed(seed, "noise", done)
                    parts = parts_of(
                        batch, learners, teach, accelerator, accumulate=settings.accumulate
                    )
                    pace = Pace(
                        factor=schedule_factor(done, steps, settings),
                        step=done,
                        steps=steps,
                        per_epoch=steps_per_epoch,
                    )
                    for group in groups:
                        step_together(group, parts, pace, noise=noise, device=accelerator.device)
                    if done % CHECK_EVERY == CHECK_EVERY - 1 or step == steps_per_epoch - 1:
                        for lane in going:
                            lane.check_finite(epoch, step)
                        progress.advance(done + 1 - shown, loss=going[-1].mean_loss())
                        shown = done + 1
                    if interrupt is not None and interrupt.requested:
                        resume.save(epoch, step + 1)
                        raise Interrupted(resume.farewell(title))
                    if resume.is_due():
                        resume.save(epoch, step + 1)
                for lane in going:
                    lane.end_epoch(epoch, validate, higher_is_better)
                if goes_on is not None:
                    going = [lane for lane in going if goes_on(lane.learner, lane.history)]
                    if not going:
                        break
                    groups = groups_of(going)
                if interrupt is not None and interrupt.requested:
                    resume.save(epoch + 1, 0)
                    raise Interrupted(resume.farewell(title))
                if resume.is_due():
                    resume.save(epoch + 1, 0)
        for lane in lanes:
            lane.finish()
        resume.remove()
        accelerator.wait_for_everyone()
    return Fitted(
        histories={lane.learner.name: lane.history for lane in lanes},
        seconds=resume.seconds(),
        samples_seen=settings.epochs * order.length,
    )


@contextmanager
def _accelerator(settings: Train, log_folder: Path | None) -> Iterator[Accelerator]:
    """An accelerator, whose logs are whole when it is left."""
    if settings.log == "none":
        yield _plain_accelerator()
        return
    if not is_tensorboard_available():
        raise ExtraError(
            "log = \"tensorboard\" needs TensorBoard. pip install 'limbeck[tensorboard]'."
        )
    if log_folder is None:
        raise OptionError(
            'log = "tensorboard" needs a log_folder to write to. Give one, or set log = "none".'
        )
    accelerator = _plain_accelerator(log_with="tensorboard", project_dir=log_folder)
    accelerator.init_trackers("")
    try:
        yield accelerator
    finally:
        accelerator.end_training()


def _plain_accelerator(**options: object) -> Accelerator:
    # It keeps one state for all accelerators of a process, and refuses one of other settings.
    AcceleratorState._reset_state()
    return Accelerator(cpu=only_cpu(), mixed_precision="no", **options)


@contextmanager
def _own_noise(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as if nothing had been trained."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _weights_on_the_way(term: AnyTerm) -> list[float]:
    return [term.weight_at(thousandths / 1000) for thousandths in range(1001)]


def _fingerprint(
    learners: Sequence[Learner],
    samples: Samples,
    settings: Train,
    order: Order,
    seed: int,
    views: int,
    taught_by: str,
) -> str:
    """Of everything a checkpoint depends on, but the first weights and the samples' views."""
    described = [
        [
            learner.name,
            learner.outputs,
            learner.balance,
            learner.decay,
            [(term.name, *_weights_on_the_way(term)) for term in learner.objective],
            [(name, tuple(part.shape)) for name, part in state_of(learner.model).items()],
            learner.taps,
            [(name, tuple(part.shape)) for name, part in learner.beside.state_dict().items()],
        ]
        for learner in learners
    ]
    pool = [
        content_fingerprint(samples),
        len(order.pool),
        int(order.pool.sum()),
        order.length,
        order.seed,
    ]
    return fingerprint([described, pool, settings.model_dump(), seed, views, taught_by])
