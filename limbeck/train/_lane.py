"""One learner with its optimiser: a step, the end of an epoch, the end of a pass."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from limbeck._errors import OptionError, TrainingError
from limbeck._outputs import (
    as_logits,
    auxiliary_loss,
    call,
    calling,
    check_outputs,
    read_outputs,
)
from limbeck._state import set_state, state_of
from limbeck.methods import Paced, mean_terms, said_by_average
from limbeck.recipe import Train
from limbeck.signals import Batch, Dense, Head, Inputs, Rows
from limbeck.taps import tap_name, tapped
from limbeck.train._average import Average
from limbeck.train._learner import History, Learner
from limbeck.train._optimizer import make_optimizer
from limbeck.train._recorded import Recorded, can_be_recorded

_ADDED = "auxiliary_loss"
"""By that name among what a model says: what it adds to its loss itself."""
AUXILIARY = "auxiliary"
"""What the loss that a model adds itself is called in its history."""
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is learned from at once: a batch, or a micro-batch of it."""

    batch: Batch
    taught: Mapping[str, Rows] | None
    """What the teacher says of it."""
    shares: Mapping[bool, float]
    """How much of what counts in the whole batch is in this part: for losses that need labels
    (True), and for those that do not."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Where training stands at a step."""

    factor: float
    """What the learning rate is multiplied by."""
    step: int
    """Its number, from 0 on."""
    steps: int
    """How many there are."""
    per_epoch: int
    """How many of them are an epoch."""


class Lane:
    """One learner with its optimiser and what was seen of it so far."""

    def __init__(
        self,
        learner: Learner,
        settings: Train,
        accelerator: Accelerator,
        heads: Sequence[Head],
    ) -> None:
        self.learner = learner
        self.settings = settings
        self.heads = heads
        self.history = History()
        self.best: dict[str, Tensor] | None = None
        self.best_score: float | None = None
        self.sums: dict[str, Tensor] = {}
        self.total = torch.zeros((), device=accelerator.device)
        self.steps = 0
        self.scales: dict[str, float] = {}
        self.limited = _linear_weights(learner) if settings.max_norm else []
        if settings.channels_last:
            _lay_out(learner.model, torch.channels_last)
        self.model: nn.Module = accelerator.prepare_model(learner.model)
        # A mark that would keep the next pass from sharing the model's work between processes.
        vars(learner.model).pop("_is_accelerate_prepared", None)
        self.model.train()
        self.taps = learner.taps
        self.beside = learner.beside.to(accelerator.device).train()
        self.average: Average | None = None
        if learner.decay is not None:
            self.average = Average(learner.model, learner.decay, who=learner.name)
        self._paced = [part for part in self.beside.modules() if isinstance(part, Paced)]
        learning = chain(learner.model.parameters(), self.beside.parameters())
        self.optimizer = make_optimizer(learning, settings)
        self.optimizer.zero_grad(set_to_none=True)  # what someone else left there
        self._accelerator = accelerator
        self._heard = False
        self._recorded: Recorded | None = None
        # Not accelerate's, which patch `forward` (a Keras model never calls it) and look for
        # packages on disk at each backward and step: 0.3 ms.
        self._precision: AbstractContextManager[Any] = nullcontext()
        self.scaler: torch.amp.GradScaler | None = None
        if settings.precision != "no":
            device = accelerator.device.type
            # What a graph records may not be kept from one call to the next.
            self._precision = torch.autocast(
                device,
                dtype=_DTYPES[settings.precision],
                cache_enabled=not settings.cuda_graphs,
            )
            self.scaler = torch.amp.GradScaler(device) if settings.precision == "fp16" else None

    def begin_step(self, pace: Pace) -> None:
        """Weigh the losses, and set the learning rate, as training stands."""
        self._step = pace.step
        done = pace.step / max(pace.steps - 1, 1)
        for paced in self._paced:
            paced.epochs, paced.done = pace.step / pace.per_epoch, done
        self._weights = {one.name: one.weight_at(done) for one in self.learner.objective}
        every = self.learner.balance
        self._is_measured = every is not None and pace.step % every == 0
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * pace.factor

    def answer(self, part: Part, *, last: bool) -> dict[str, Tensor]:
        """What the model says of a part of a batch, and is to learn from: `backward` comes next."""
        with self._within(last=last):
            return self._answers(part.batch)

    def backward(
        self,
        part: Part,
        answers: Mapping[str, Tensor],
        peers: Mapping[str, Rows],
        *,
        last: bool,
    ) -> None:
        """Add the gradient of a part.

        Args:
            part: What was answered.
            answers: What the model said of it.
            peers: The other students' rows; none where nothing is learned from them.
            last: Whether it is the last part of its batch.
        """
        taught = part.taught
        if peers or self.average is not None:
            taught = {**(taught or {}), **peers, **self._said_by_average(part.batch)}
        with self._within(last=last):
            self._backward(part, answers, taught)

    def _within(self, *, last: bool) -> AbstractContextManager[Any]:
        """Processes wait for each other at the last part of a batch."""
        return nullcontext() if last else self._accelerator.no_sync(self.model)

    def end_step(self) -> None:
        """Move the weights by the gradient of all parts."""
        settings, scaler = self.settings, self.scaler
        self._average_beside()
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if settings.clip:
            # Each by itself: what is not kept must not take from the student's step.
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
            nn.utils.clip_grad_norm_(list(self.beside.parameters()), settings.clip)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        for weight in self.limited:
            weight.data.renorm_(2, 0, settings.max_norm)
        if self.average is not None:
            self.average.follow(self.learner.model, self._step)
        self.steps += 1

    def _backward(
        self, part: Part, answers: Mapping[str, Tensor], taught: Mapping[str, Rows] | None
    ) -> None:
        means = mean_terms(self.learner.objective, answers, taught, part.batch)
        added = answers.get(_ADDED)
        if self._is_measured:
            self._balance(means)
        losses = []
        for term in self.learner.objective:
            mean = means[term.name] * part.shares[term.with_labels]
            losses.append(self._weights[term.name] * self.scales.get(term.name, 1.0) * mean)
            self._remember(term.name, mean)
        if added is not None:
            losses.append(added * part.shares[False])
            self._remember(AUXILIARY, losses[-1])
        loss = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        self.total = self.total + loss.detach()
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def _remember(self, name: str, loss: Tensor) -> None:
        seen, now = self.sums.get(name), loss.detach()
        self.sums[name] = now if seen is None else seen + now

    def _balance(self, means: Mapping[str, Tensor]) -> None:
        """Scale losses so that each pulls as its weight says, and all together as hard as before.

        GradNorm (Chen et al., 2018, https://arxiv.org/abs/1711.02257) at alpha = 0, solved at once
        for all weights of the student, where the paper takes a gradient step.
        """
        self._is_measured = False  # once in a step, by its first part
        parameters = [part for part in self.model.parameters() if part.requires_grad]
        norms = {}
        for name, mean in means.items():
            slopes = torch.autograd.grad(
                mean, parameters, retain_graph=True, materialize_grads=True
            )
            norms[name] = self._over_processes(float(nn.utils.get_total_norm(slopes)))
        weights = {name: self._weights[name] for name in norms if norms[name] > 0}
        if sum(weights.values()) > 0:
            pull = sum(weight * norms[name] for name, weight in weights.items())
            mean_pull = pull / sum(weights.values())
            self.scales = {name: mean_pull / norms[name] for name in weights}

    def _average_beside(self) -> None:
        """Average over processes the gradients that the model's own wrapper does not know of."""
        parameters = list(self.beside.parameters())
        if self._accelerator.num_processes == 1 or not parameters:
            return
        used = torch.tensor([float(parameter.grad is not None) for parameter in parameters])
        users = self._accelerator.reduce(used.to(self.total.device), reduction="sum")
        for parameter, count in zip(parameters, users.tolist(), strict=True):
            if count:  # what none of them has used yet is left alone, weight decay included
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self._accelerator.reduce(own, reduction="mean")

    def _answers(self, batch: Batch) -> dict[str, Tensor]:
        """What the model says of a batch: rows by head, features by `tap_name`, and `_ADDED`."""
        inputs = batch.inputs
        if self._can_record(batch):
            assert isinstance(inputs, Tensor), "no other inputs can be recorded"
            if self._recorded is None:
                self._recorded = Recorded(self.model, self._said, inputs)
            if self._recorded.fits(inputs):
                return self._recorded(inputs)
        return self._said(inputs)

    def _can_record(self, batch: Batch) -> bool:
        """Whether to: a whole batch, by a process that is alone, once the model has answered."""
        return (
            self.settings.cuda_graphs
            and self._heard
            and self._accelerator.num_processes == 1
            and len(batch) == self.settings.batch_size
            and can_be_recorded(batch.inputs)
        )

    def _said(self, inputs: Inputs) -> dict[str, Tensor]:
        learner = self.learner
        with (
            self._precision,
            calling(learner.name, inputs),
            tapped(self.model, self.taps, who=learner.name) as seen,
        ):
            output = call(self.model, inputs)
        answers = read_outputs(output, self.heads, who=learner.name)
        if not self._heard and len(next(iter(answers.values()))):
            for head in self.heads:
                check_outputs(answers[head.name], head, learner.outputs, who=learner.name)
            self._heard = True
        features = {tap_name(path): tensor for path, tensor in seen.items()}
        added = auxiliary_loss(output, who=learner.name)
        own = {} if added is None else {_ADDED: added}
        return as_logits(answers, self.heads, learner.outputs) | features | own

    @torch.no_grad()
    def _said_by_average(self, batch: Batch) -> dict[str, Dense]:
        """What the average of the weights says; nothing where there is none."""
        if self.average is None:
            return {}
        learner = self.learner
        with self._precision:
            output = call(self.average.model, batch.inputs)
        answers = read_outputs(output, self.heads, who=learner.name)
        return said_by_average(as_logits(answers, self.heads, learner.outputs), self.heads)

    def mean_loss(self) -> float:
        """The weighted loss so far in this epoch."""
        return float(self.total) / max(self.steps, 1)

    def check_finite(self, epoch: int, step: int) -> None:
        """Refuse to go on with a loss that is not finite."""
        for name, value in self.sums.items():
            if not math.isfinite(float(value)):
                raise TrainingError(
                    f"the {name} loss of {self.learner.name} is {float(value)} in epoch "
                    f"{epoch + 1}, by step {step + 1}. Lower train.learning_rate, set train.clip, "
                    "or run `limbeck doctor` on the recipe."
                )

    def end_epoch(
        self,
        epoch: int,
        validate: Callable[[Learner], float] | None,
        higher_is_better: bool,
    ) -> None:
        """Write down the epoch's losses and validation score; keep the weights if best."""
        self.history.loss.append(self._over_processes(self.mean_loss()))
        for name, value in self.sums.items():
            mean = self._over_processes(float(value) / max(self.steps, 1))
            self.history.terms.setdefault(name, []).append(mean)
        self.sums, self.steps, self.total = {}, 0, torch.zeros((), device=self.total.device)
        every = self.settings.validate_every
        score = None
        if validate is not None and every and (epoch + 1) % every == 0:
            score = self._validated(validate, higher_is_better)
        self.history.validation.append(score)
        numbers = {f"{self.learner.name}/loss": self.history.loss[-1]}
        if score is not None:
            numbers[f"{self.learner.name}/validation"] = score
        self._accelerator.log(numbers, step=epoch + 1)

    def _validated(self, validate: Callable[[Learner], float], higher_is_better: bool) -> float:
        self.learner.model.eval()
        score = validate(self.learner)
        self.learner.model.train()
        better = self.best_score is None or (
            score > self.best_score if higher_is_better else score < self.best_score
        )
        if self.settings.keep == "best" and better:
            weights = state_of(self.learner.model)
            self.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
            self.best_score = score
        return score

    def _over_processes(self, value: float) -> float:
        if self._accelerator.num_processes == 1:
            return value
        # In float64, and a mean of means: each process's loss is scaled for the gradient's mean.
        mean = self._accelerator.reduce(
            torch.tensor(value, dtype=torch.float64, device=self._accelerator.device),
            reduction="mean",
        )
        return float(mean)

    def finish(self) -> None:
        """Leave the model with the weights that are to be kept, in eval mode."""
        if self.best is not None:
            set_state(self.learner.model, self.best)
        if self.settings.channels_last:
            _lay_out(self.learner.model, torch.contiguous_format)
        self.learner.model.eval()

    def state(self) -> dict[str, Any]:
        """Everything that the steps from here on depend on."""
        return {
            "model": state_of(self.learner.model),
            "beside": self.beside.state_dict(),
            "average": {} if self.average is None else self.average.state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": {} if self.scaler is None else self.scaler.state_dict(),
            "loss": self.history.loss,
            "terms": self.history.terms,
            "validation": self.history.validation,
            "best": self.best,
            "best_score": self.best_score,
            "sums": self.sums,
            "total": self.total,
            "scales": self.scales,
            "steps": self.steps,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go back to a `state`."""
        set_state(self.learner.model, saved["model"])
        self.beside.load_state_dict(saved["beside"])
        if self.average is not None:
            self.average.restore(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # Laid out in memory as the weights are: fused steps want that.
                    kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
        self.history = History(
            loss=saved["loss"], terms=saved["terms"], validation=saved["validation"]
        )
        self.best, self.best_score = saved["best"], saved["best_score"]
        device = self._accelerator.device
        self.sums = {name: value.to(device) for name, value in saved["sums"].items()}
        self.total = saved["total"].to(device)
        self.scales = saved["scales"]
        self.steps = saved["steps"]


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay out the weights of two-dimensional convolutions in memory."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def _linear_weights(learner: Learner) -> list[Tensor]:
    weights = [part.weight for part in learner.model.modules() if isinstance(part, nn.Linear)]
    if not weights:
        raise OptionError(
            f"max_norm limits the weights of torch.nn.Linear layers, and {learner.name} has none. "
            "Leave it out."
        )
    return weights
