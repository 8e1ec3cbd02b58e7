"""Train a student on what a teacher said."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._errors import OptionError, TargetsError
from limbeck._files import fingerprint
from limbeck._outputs import Outputs
from limbeck._progress import Progress, Silence
from limbeck.api._given import Given, TeacherLike, as_teacher, check_trained
from limbeck.data import DataSet
from limbeck.methods import (
    NO_OPTIONS,
    branch_terms,
    check_features,
    check_rows,
    find_method,
    method_code,
    method_name,
    objective,
    only_from_labels,
    read_options,
)
from limbeck.methods.features import (
    FeatureMethod,
    feature_term,
    features_of,
    stored_features,
)
from limbeck.recipe import Anneal, Branches, Ema, Train
from limbeck.signals import Batch, Inputs, Rows
from limbeck.targets import Targets, TransferSet
from limbeck.teachers import Teacher
from limbeck.train import History, Learner, Order, generator_seed

_NUM_SAMPLES = 8
"""Samples that are put through both models, for the shapes of what they give inside."""


def distil(
    student: nn.Module,
    data: Any,
    targets: Targets | str | Path,
    train: Train = Train(),  # noqa: B008  (frozen)
    *,
    temperature: float | None = None,
    hard_weight: float = 0.0,
    soft_weight: float = 1.0,
    mutual_weight: float = 0.0,
    peers: Sequence[nn.Module] = (),
    ema: Ema | None = None,
    branches: Branches | None = None,
    anneal: Anneal | None = None,
    balance: int | None = None,
    method: str | Callable[..., Tensor] = "soft_targets",
    options: Mapping[str, Any] = NO_OPTIONS,
    taps: Sequence[tuple[str, str]] = (),
    feature_weight: float | None = None,
    progressive: float = 0.0,
    teacher: TeacherLike | None = None,
    features: TransferSet | str | Path | None = None,
    outputs: Outputs = "logits",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    log_folder: str | Path | None = None,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> History:
    """Train `student` on what a teacher said; it is changed in place, and left in eval mode.

    Args:
        student: A torch module.
        data: The samples that the targets are of. A `DataSet` also has those that the student is
            validated on after each epoch.
        targets: The transfer set, or its folder, or an `Ensemble` of several.
        train: For how long, by what optimiser, ...
        temperature: T > 0 of the loss; that of the targets if left out.
        hard_weight: Weight of the supervised loss on labelled samples, 0 or more.
        soft_weight: Weight of the method's loss, as a rule towards the teacher, 0 or more; of a
            feature method, that of soft targets beside it.
        mutual_weight: Weight of soft targets of the other students, 0 or more: each learns from all
            others at every step (deep mutual learning).
        peers: The other students, with other first weights; they are changed in place too, and
            learn as `student` does. With `soft_weight` = 0 the targets are not read.
        ema: Weight and decay of a moving average of the student's own weights, from which it learns
            too; it is dropped at the end.
        branches: Where the student has branches that learn with it, and from its last answer, and
            how; they are dropped at the end.
        anneal: What `hard_weight` and `soft_weight` become over training, evenly from step to step.
        balance: Every so many steps, 1 or more, each loss is measured by the norm of its gradient,
            and pulls as its weight says from there on; left out, losses count as they are.
        method: A name that `limbeck methods` lists. Where it needs labels, and so counts labelled
            samples only, an epoch visits these more often instead of the others.
        options: The method's own options.
        taps: For a feature method: the paths of a student's module and of the teacher's, by pairs.
        feature_weight: For a feature method: weight of the loss of features, above 0; the method's
            own if left out.
        progressive: For a feature method: the share of training, 0 to below 1, over which its taps
            join, one after another in their order; at 0 all are there from the first step.
        teacher: For a feature method: whose modules are looked at, a torch module; as a rule the
            one that the targets are of. It is left frozen.
        features: In place of `teacher`: what its modules gave, as `capture_features` stored it, or
            the folder of that.
        outputs: What the student gives: "logits" or "probabilities".
        seed: Of the order of samples and of dropout.
        checkpoint: A file to keep the state in, to go on from after a kill.
        log_folder: Where TensorBoard logs go, with `train.log`.
        progress: Who watches.

    Returns:
        Losses and validation scores by epoch.

    Raises:
        OptionError: An option is out of range.
        TargetsError: The targets have no row for some of the samples, are of other classes, or
            name too few for the method; or the features have fewer views than they.
        TrainingError: A loss is not finite.
    """
    check_trained(
        train,
        {"student": student, **{f"peer {place}": peer for place, peer in enumerate(peers, 1)}},
    )
    method = method_name(method)
    last = anneal or Anneal()
    hard_in_the_end = last.hard_weight or 0.0
    sum_of_weights = hard_weight + soft_weight + hard_in_the_end + (last.soft_weight or 0.0)
    if not (hard_weight >= 0 and soft_weight >= 0 and 0 < sum_of_weights < math.inf):
        raise OptionError(
            "hard_weight and soft_weight must be 0 or more, finite, and one of them above 0, got "
            f"{hard_weight} and {soft_weight}."
        )
    if not (0 <= mutual_weight < math.inf) or (mutual_weight > 0) != bool(peers):
        raise OptionError(
            "mutual_weight must be finite, and above 0 if there are peers to learn from, and only "
            f"then, got {mutual_weight} and {len(peers)} peers."
        )
    if isinstance(targets, (str, Path)):
        targets = TransferSet(targets)
    heads = () if isinstance(data, DataSet) else targets.heads
    ever_hard = max(hard_weight, hard_in_the_end) > 0
    by_branches = branches is not None and branches.hard_weight > 0
    labels = ever_hard or by_branches or find_method(method).with_labels
    given = Given.of(data, heads, labels=labels)
    targets.expect(heads=given.heads, transform=str(given.train.views))
    if train.views:
        raise OptionError(
            "train.views makes new views without end, which a transfer set cannot hold. Capture "
            "with views = N: epochs take them in turn."
        )
    check_features(
        method,
        taps,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        feature_weight=feature_weight,
        progressive=progressive,
    )
    temperature = targets.temperature if temperature is None else temperature
    terms = objective(
        method,
        given.heads,
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        mutual_weight=mutual_weight,
        ema=ema,
        branches=branches,
        anneal=anneal,
        options=options,
    )
    check_rows(method, targets.like, stored="the transfer set")
    aligned = targets.aligned(given.train)
    found, looks_inside = find_method(method), None
    if isinstance(found, FeatureMethod):
        paths = [path for _, path in taps]
        looks_inside = _features(teacher, features, given, method, paths, views=targets.views)

    def teach(batch: Batch) -> dict[str, Rows]:
        device = _device_of(batch.inputs)
        rows = aligned.rows(batch.index, batch.view)
        stored = {name: part.to(device) for name, part in rows.items()}
        if looks_inside is not None:
            stored |= {name: part.to(device) for name, part in looks_inside.ask(batch).items()}
        return stored

    def a_few() -> Batch:
        return given.train.fetch(torch.arange(min(_NUM_SAMPLES, len(given.train))))

    def learner(name: str, model: nn.Module) -> Learner:
        own, who, beside = terms, f"the {name}", generator_seed(seed, "beside")
        if isinstance(found, FeatureMethod):
            assert looks_inside is not None
            batch = a_few()
            own += (
                feature_term(
                    found,
                    read_options(method, options),
                    taps,
                    model,
                    batch,
                    teach(batch),
                    teacher=looks_inside.teacher,
                    weight=feature_weight,
                    progressive=progressive,
                    num_samples=len(given.train),
                    seed=beside,
                    who=who,
                ),
            )
        if branches is not None:
            own += branch_terms(branches, given.heads, model, a_few(), seed=beside, who=who)
        return Learner(name=name, model=model, objective=own, outputs=outputs, balance=balance)

    learners = [learner("student", student)]
    learners += [learner(f"peer {place}", peer) for place, peer in enumerate(peers, start=1)]
    objective_of_each = learners[0].objective
    pool = torch.arange(len(given.train))
    if only_from_labels(objective_of_each) and given.train.labelled is not None:
        pool = pool[given.train.labelled]
    asked = any(term.from_teacher for term in objective_of_each)

    return given.fit(
        learners,
        train,
        Order(pool=pool, length=len(given.train), seed=seed),
        teach=teach if asked else None,
        views=targets.views,
        checkpoint=checkpoint,
        taught_by=fingerprint(
            [
                targets.fingerprint,
                method,
                temperature,
                dict(options),
                list(taps),
                progressive,
                None if looks_inside is None else looks_inside.fingerprint,
                *([] if branches is None else [branches.model_dump()]),
                *method_code(method),
            ]
        ),
        log_folder=log_folder,
        progress=progress,
    )


@dataclass(frozen=True, kw_only=True)
class _Features:
    """What modules inside a teacher give, from a live one or as it was stored."""

    ask: Callable[[Batch], Mapping[str, Rows]]
    fingerprint: str
    teacher: Teacher | None
    """The live one."""


def _features(
    teacher: TeacherLike | None,
    features: TransferSet | str | Path | None,
    given: Given,
    method: str,
    paths: Sequence[str],
    *,
    views: int,
) -> _Features:
    if (teacher is None) == (features is None):
        raise OptionError(
            f"method {method} looks inside the teacher: give either teacher=, the model that the "
            "targets are of, or features=, what limbeck.capture_features stored."
        )
    if features is not None:
        within = TransferSet(features) if isinstance(features, (str, Path)) else features
        within.expect(transform=str(given.train.views))
        if within.views < views:
            raise TargetsError(
                f"the stored features have {within.views} of the targets' {views} views of each "
                f"sample. Capture them with capture_features(..., views={views})."
            )
        aligned = within.aligned(given.train)
        return _Features(
            ask=lambda batch: stored_features(aligned.rows(batch.index, batch.view), paths),
            fingerprint=within.fingerprint,
            teacher=None,
        )
    assert teacher is not None, "one of the two was given"
    live = as_teacher(teacher, given.heads, "logits")
    return _Features(
        ask=lambda batch: features_of(live, batch.inputs, paths),
        fingerprint=live.fingerprint,
        teacher=live,
    )


def _device_of(inputs: Inputs) -> torch.device:
    return (next(iter(inputs.values())) if isinstance(inputs, dict) else inputs).device
