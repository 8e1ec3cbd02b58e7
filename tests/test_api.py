"""capture, distil, supervise, evaluate: each alone, against plain torch, and as in a run."""

import inspect
import math
import os
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import limbeck
from limbeck import Teacher, Train, TransferSet, capture, distil, evaluate, supervise
from limbeck._errors import (
    DataError,
    Interrupted,
    LimbeckError,
    ModelError,
    OptionError,
    TargetsError,
    TrainingError,
)
from limbeck._progress import Silence
from limbeck.data import ArraySamples, DataSet, Views
from limbeck.models import Interface, build
from limbeck.results import read_results
from limbeck.signals import Head, Sparse
from tests.pipeline.examples import equal, small, weights
from tests.train.problem import INPUTS, LABEL, LABELS, draw, furthest, model, same_weights, settings

IMAGES = draw(50, 3, 3, seed=8)
PRICES = INPUTS @ draw(4, 1, seed=6)
KIND, PRICE = (
    Head(name="kind", space="categorical", size=3),
    Head(name="price", space="real", size=1),
)
ORDER = torch.randperm(50, generator=torch.Generator().manual_seed(4))
EXACT = {"codec": "dense32", "temperature": 2.0}
TRAINERS = pytest.mark.parametrize("trained_by", ["distil", "supervise"])


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch):
    """Latency is tested with `limbeck.evaluation`; here it would only take time."""
    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)


@pytest.fixture
def teacher():
    return model(seed=1)


@pytest.fixture
def logits(teacher):
    with torch.no_grad():
        return teacher(INPUTS) * 1.0


@pytest.fixture
def targets(teacher, tmp_path):
    return capture(teacher, (INPUTS, LABELS), tmp_path / "targets", **EXACT)


class Watched(ArraySamples):
    """Samples that remember which were asked for, and in which view."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def fetch(self, index, view=0):
        self.asked.append((index, view))
        return super().fetch(index, view)


class Items(Dataset):
    """A map-style torch dataset of pairs."""

    def __len__(self):
        return len(INPUTS)

    def __getitem__(self, place):
        return INPUTS[place], int(LABELS[place])


class TwoHeads(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.kind, self.price = nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x):
        return {"kind": self.kind(x), "price": self.price(x)}


class Watch(Silence):
    """Who remembers what is told."""

    def __init__(self):
        self.started, self.advanced = [], 0

    def start(self, name, total):
        self.started.append((name, total))

    def advance(self, steps, **numbers):
        self.advanced += steps


def split(labels=LABELS, inputs=INPUTS, **options):
    return ArraySamples(inputs, {"label": labels}, **options)


def data_set(train=None, *, validation=None, test=None, head=LABEL):
    """A data set whose three splits differ, unless told otherwise."""
    return DataSet(
        train=split() if train is None else train,
        validation=split(LABELS[:20], INPUTS[:20]) if validation is None else validation,
        test=split(LABELS[20:30], INPUTS[20:30]) if test is None else test,
        heads=(head,),
    )


SAME = {
    "tensors": lambda: (INPUTS, LABELS),
    "numpy": lambda: (INPUTS.numpy(), LABELS.numpy()),
    "a tensor dataset": lambda: TensorDataset(INPUTS, LABELS),
    "a dataset of items": Items,
    "samples": split,
    "a data set": data_set,
}
"""The same training samples, as users may have them."""


def rows(targets, samples, name="label", view=0):
    """What is stored of these samples, as a dense head's values."""
    return targets.read(targets.positions(samples.keys, view))[name].values.float()


def train_by(name, trained, targets, how, *, data=None, **options):
    """Train `trained` by the function of that name."""
    data = (INPUTS, LABELS) if data is None else data
    if name == "distil":
        return distil(trained, data, targets, how, **options)
    return supervise(trained, data, how, **options)


def by_hand(trained, batches, loss, optimizer=torch.optim.SGD, **options):
    """The loop that everyone writes, over these batches."""
    steps = optimizer(trained.parameters(), **{"lr": 0.1} | options)
    for index, view in batches:
        steps.zero_grad()
        loss(trained, index, view).backward()
        steps.step()
    return trained


def softened(student, teacher, temperature):
    """T² KL(teacher || student), a row each."""
    ours, theirs = (
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
    )
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(-1)


# ---- capture ------------------------------------------------------------------------------------


def test_what_is_kept_is_the_teachers_softened_distribution(teacher, logits, tmp_path):
    kept = capture(teacher, (INPUTS, LABELS), tmp_path, temperature=2.5, codec="dense32")
    torch.testing.assert_close(rows(kept, split()), (logits / 2.5).log_softmax(-1))
    assert kept.temperature == 2.5
    assert kept.heads == (LABEL,)


def test_left_to_itself_it_keeps_16_bits_of_one_view_at_temperature_4(teacher, logits, tmp_path):
    kept = capture(teacher, (INPUTS, LABELS), str(tmp_path))
    assert (kept.temperature, kept.views, kept.manifest.settings.codec) == (4.0, 1, "dense16")
    want = (logits / 4).log_softmax(-1)
    torch.testing.assert_close(rows(kept, split()), want, atol=2e-3, rtol=1e-3)
    assert not torch.equal(rows(kept, split()), want)


@pytest.mark.parametrize("form", SAME)
def test_data_in_any_form_make_the_same_targets(form, targets, tmp_path):
    kept = capture(model(seed=1), SAME[form](), tmp_path / "other", **EXACT)
    assert kept.manifest.settings == targets.manifest.settings
    torch.testing.assert_close(rows(kept, split()), rows(targets, split()))


def test_of_a_data_set_the_training_samples_alone_are_asked(teacher, tmp_path):
    others = split(LABELS[:9], INPUTS[:9] + 9)
    kept = capture(teacher, data_set(validation=others, test=others), tmp_path)
    assert kept.card.rows == 50


def test_a_numpy_function_teaches_by_scores_that_are_normalised(tmp_path):
    def votes(inputs):
        assert isinstance(inputs, np.ndarray)
        return np.abs(inputs[:, :3]) + 0.1

    kept = capture(
        votes, (INPUTS, LABELS), tmp_path, outputs="probabilities", temperature=1, codec="dense32"
    )
    scores = INPUTS[:, :3].abs() + 0.1
    torch.testing.assert_close(rows(kept, split()).exp(), scores / scores.sum(-1, keepdim=True))


def test_a_teacher_object_knows_its_heads_and_outputs(tmp_path):
    known = Teacher(
        lambda inputs: np.ones((len(inputs), 4)) * [1, 2, 3, 4],
        [Head(name="kind", space="categorical", size=4)],
        outputs="probabilities",
    )
    kept = capture(known, (INPUTS, LABELS), tmp_path, temperature=1, codec="dense32")
    assert kept.heads == known.heads
    want = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(50, 4)
    torch.testing.assert_close(rows(kept, split(), "kind").exp(), want)


@pytest.mark.parametrize("heads", [(), (KIND, PRICE)])
def test_several_heads_are_kept_each_by_its_name(heads, tmp_path):
    two, labels = TwoHeads(), {"kind": LABELS, "price": PRICES}
    kept = capture(two, (INPUTS, labels), tmp_path, heads=heads, temperature=2.0, codec="dense32")
    assert kept.heads == (KIND, PRICE)
    with torch.no_grad():
        said = two(INPUTS)
    torch.testing.assert_close(rows(kept, split(), "kind"), (said["kind"] / 2).log_softmax(-1))
    torch.testing.assert_close(rows(kept, split(), "price"), said["price"])


def test_samples_without_labels_are_captured_when_the_heads_are_known(teacher, logits, tmp_path):
    for name, asked, heads in (
        ("heads", teacher, [LABEL]),
        ("teacher", Teacher(teacher, [LABEL]), ()),
    ):
        kept = capture(asked, INPUTS, tmp_path / name, heads=heads, codec="dense32")
        torch.testing.assert_close(rows(kept, split()), (logits / 4).log_softmax(-1))


def test_heads_that_are_given_come_before_what_labels_tell(tmp_path):
    wide = Head(space="categorical", size=5, classes=tuple("abcde"))
    for number, data in enumerate([(INPUTS, LABELS), data_set()]):
        kept = capture(model(outputs=5), data, tmp_path / str(number), heads=[wide])
        assert kept.heads == (wide,)


def test_topk_keeps_the_k_most_probable_classes(teacher, logits, tmp_path):
    options = {"codec": "topk", "codec_options": {"k": 2}, "temperature": 2.0}
    kept = capture(teacher, (INPUTS, LABELS), tmp_path, **options)
    found = kept.read(kept.positions(split().keys))["label"]
    assert isinstance(found, Sparse)
    want = (logits / 2).softmax(-1).topk(2)
    assert torch.equal(found.ids.long().sort(-1).values, want.indices.sort(-1).values)
    torch.testing.assert_close(found.tail.float(), 1 - want.values.sum(-1), atol=2e-3, rtol=0)


def test_each_view_is_asked_and_kept(tmp_path):
    samples = split(inputs=IMAGES, views=Views(shift=1, flip=True))
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    kept = capture(network, samples, tmp_path, views=3, codec="dense32")
    assert kept.views == 3
    seen = []
    for view in range(3):
        with torch.no_grad():
            said = network(samples.fetch(torch.arange(50), view).inputs)
        seen.append(rows(kept, samples, view=view))
        torch.testing.assert_close(seen[view], (said / 4).log_softmax(-1))
    assert not torch.equal(seen[1], seen[2])


def test_the_teacher_is_asked_once_and_in_batches_and_the_watcher_told(tmp_path):
    asked, watch = [], Watch()

    def table(inputs):
        asked.append(len(inputs))
        return inputs[:, :3]

    for _ in range(2):
        capture(table, (INPUTS, LABELS), tmp_path, batch_size=20, progress=watch)
    assert asked == [20, 20, 10]
    assert watch.started == [("targets", 50)]
    assert watch.advanced == 50


def test_a_captured_module_is_frozen_and_its_weights_stay(teacher, tmp_path):
    capture(teacher.train(), (INPUTS, LABELS), tmp_path)
    assert not teacher.training
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert same_weights(teacher, model(seed=1))


def test_a_folder_of_another_teachers_targets_is_refused(targets, tmp_path):
    before = {path.name: path.read_bytes() for path in targets.folder.iterdir()}
    with pytest.raises(TargetsError, match=r"holds a transfer set of something else: teacher: "):
        capture(model(seed=2), (INPUTS, LABELS), targets.folder, **EXACT)
    assert {path.name: path.read_bytes() for path in targets.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("asked", "options", "kind", "said"),
    [
        (lambda x: x[:, :3] * np.nan, {}, ModelError, "answer for head label is not finite"),
        (lambda x: np.ones((len(x), 3)) / 3, {}, ModelError, "probabilities"),
        (lambda x: x[:, :2], {}, LimbeckError, "must answer 3 classes for head label"),
        ("mlp", {}, ModelError, "a teacher is a torch module or a callable, got str"),
        (model(), {"temperature": 0.0}, OptionError, "temperature must be above 0 and finite"),
        (model(), {"views": 0}, OptionError, "views must be 1 or more, got 0"),
        (model(), {"batch_size": 0}, OptionError, "batch_size must be 1 or more, got 0"),
        (model(), {"codec": "dense61"}, OptionError, 'codec must be one of .* got "dense61"'),
        (model(), {"codec_options": {"k": 2}}, OptionError, "codec dense16 takes .* got k"),
        (model(), {"outputs": "odds"}, OptionError, "odds"),
    ],
)
def test_what_cannot_be_captured_is_refused_by_name(asked, options, kind, said, tmp_path):
    with pytest.raises(kind, match=said):
        capture(asked, (INPUTS, LABELS), tmp_path / "targets", **options)


# ---- distil -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hard", "soft", "temperature"),
    [(0.0, 1.0, None), (0.0, 1.0, 1.5), (0.3, 0.7, None), (2.0, 0.5, 3.0), (1.0, 0.0, None)],
)
def test_a_student_becomes_what_a_loop_by_hand_makes(hard, soft, temperature, logits, targets):
    # Some of the samples, in another order: rows follow the content.
    some = ORDER[:40]
    samples, labels = Watched(INPUTS[some], {"label": LABELS[some]}), LABELS[some]
    ours = model()
    options = {"hard_weight": hard, "soft_weight": soft, "temperature": temperature}
    distil(ours, samples, targets, settings(), **options)
    assert len(samples.asked) == 3 * 5

    def loss(student, index, view):
        said = student(INPUTS[some][index])
        towards = softened(said, logits[some][index], temperature or 2.0).mean()
        return soft * towards + hard * F.cross_entropy(said, labels[index])

    assert furthest(ours, by_hand(model(), samples.asked, loss)) < 1e-5
    assert furthest(ours, model()) > 0.01


def test_teacher_alone_is_what_is_learned_from_if_nothing_is_said(targets):
    default, plain = model(), model()
    history = distil(default, (INPUTS, LABELS), targets, settings())
    distil(plain, (INPUTS, LABELS), targets, settings(), hard_weight=0.0, soft_weight=1.0, seed=0)
    assert same_weights(default, plain)
    assert history.terms == {"soft": history.loss}
    assert history.validation == [None] * 3


def test_labels_that_lie_do_not_matter_to_soft_targets_nor_does_their_lack(targets):
    trained = [model() for _ in range(3)]
    for student, data in zip(
        trained, [(INPUTS, LABELS), (INPUTS, LABELS.flip(0)), INPUTS], strict=True
    ):
        distil(student, data, targets, settings())
    assert same_weights(trained[0], trained[1])
    assert same_weights(trained[0], trained[2])


def test_labels_that_are_not_shown_are_not_learned_from(targets):
    shown = torch.arange(50) % 5 == 0
    honest, lied_to, all_shown = model(), model(), model()
    for student, labels, labelled in (
        (honest, LABELS, shown),
        (lied_to, torch.where(shown, LABELS, (LABELS + 1) % 3), shown),
        (all_shown, LABELS, None),
    ):
        distil(student, split(labels, labelled=labelled), targets, settings(), hard_weight=1.0)
    assert same_weights(honest, lied_to)
    assert not same_weights(honest, all_shown)


def test_stored_views_are_taken_in_turn(tmp_path):
    def network(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))

    samples = Watched(IMAGES, {"label": LABELS}, views=Views(shift=1))
    said, ours = network(1), network(0)
    kept = capture(said, samples, tmp_path, views=2, codec="dense32")
    samples.asked.clear()
    distil(ours, samples, kept, settings())
    batches = list(samples.asked)
    assert [view for _, view in batches] == [0] * 7 + [1] * 7 + [0] * 7

    def loss(student, index, view):
        inputs = samples.fetch(index, view).inputs
        return softened(student(inputs), said(inputs), 4.0).mean()

    assert furthest(ours, by_hand(network(0), batches, loss)) < 1e-5


def test_two_heads_are_learned_from_a_numpy_teacher(tmp_path):
    def says(inputs):
        return {"kind": inputs[:, :3] * 2, "price": inputs[:, :1] - 1}

    kept = capture(says, INPUTS, tmp_path, heads=[KIND, PRICE], codec="dense32")
    samples, ours = Watched(INPUTS, {}), TwoHeads()
    history = distil(ours, samples, kept, settings())

    def loss(student, index, view):
        said, x = student(INPUTS[index]), INPUTS[index]
        return softened(said["kind"], x[:, :3] * 2, 4.0).mean() + F.mse_loss(
            said["price"], x[:, :1] - 1
        )

    assert furthest(ours, by_hand(TwoHeads(), samples.asked, loss)) < 1e-5
    assert set(history.terms) == {"soft kind", "soft price"}


def test_topk_targets_teach_the_most_probable_classes(teacher, logits, tmp_path):
    options = {"codec": "topk", "codec_options": {"k": 3}}
    kept = capture(teacher, (INPUTS, LABELS), tmp_path, **options)
    student = model()
    distil(student, INPUTS, kept, settings(epochs=40, learning_rate=0.5))
    agreed = (student(INPUTS).argmax(-1) == logits.argmax(-1)).float().mean()
    assert agreed > 0.9  # a third by chance


def test_the_transfer_set_is_only_read_and_needs_no_capturing_process(targets):
    before = {path.name: path.read_bytes() for path in targets.folder.iterdir()}
    one, other = model(), model()
    distil(one, INPUTS, targets, settings())
    distil(other, INPUTS, TransferSet(targets.folder), settings())
    assert same_weights(one, other)
    assert {path.name: path.read_bytes() for path in targets.folder.iterdir()} == before


def test_targets_of_other_samples_are_refused(targets):
    with pytest.raises(TargetsError, match=r"has no row for 2 of 50 samples \(the first is number"):
        distil(model(), (torch.cat([INPUTS[:48], INPUTS[:2] + 1]), LABELS), targets)


def test_targets_of_other_classes_or_views_are_refused(targets):
    other = data_set(head=Head(space="categorical", size=3, classes=("ant", "bee", "cat")))
    with pytest.raises(TargetsError, match="classes of head label: expected 3 names, got no names"):
        distil(model(), other, targets)
    with pytest.raises(TargetsError, match=r"transform: expected \"shift=1 .* got \"shift=0 "):
        distil(model(), split(views=Views(shift=1)), targets)


@pytest.mark.parametrize(
    ("hard", "soft"), [(-0.1, 1.0), (1.0, -0.1), (0.0, 0.0), (math.nan, 1.0), (math.inf, 1.0)]
)
def test_weights_below_0_or_all_0_are_refused(hard, soft, targets):
    with pytest.raises(OptionError) as caught:
        distil(model(), INPUTS, targets, hard_weight=hard, soft_weight=soft)
    assert str(caught.value) == (
        "hard_weight and soft_weight must be 0 or more, finite, and one of them above 0, got "
        f"{hard} and {soft}."
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train": Train(views=True)}, r"train.views makes new views without end.* views = N"),
        ({"train": Train(keep="best")}, 'keep = "best" needs validation data'),
        ({"temperature": 0.0}, "temperature must be above 0 and finite, got 0.0"),
        ({"method": "soft_target"}, "no method is called 'soft_target'. Did you mean soft_targets"),
        ({"hard_weight": 0.5}, "the train split has no labels for head label, and they are"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options, said, targets):
    with pytest.raises((OptionError, DataError), match=said):
        distil(model(), INPUTS, targets, **options)


def test_sparse_targets_are_refused_at_another_temperature(teacher, tmp_path):
    kept = capture(teacher, (INPUTS, LABELS), tmp_path, codec="topk", codec_options={"k": 2})
    with pytest.raises(TargetsError, match=r"at temperature 4.0, which cannot be moved to 2.0"):
        distil(model(), INPUTS, kept, settings(), temperature=2.0)


# ---- supervise ----------------------------------------------------------------------------------


def test_labels_give_the_weights_of_a_loop_by_hand():
    samples, ours = Watched(INPUTS, {"label": LABELS}), model()
    supervise(ours, samples, settings(optimizer="AdamW"))

    def loss(student, index, view):
        return F.cross_entropy(student(INPUTS[index]), LABELS[index], reduction="none").mean()

    theirs = by_hand(model(), samples.asked, loss, torch.optim.AdamW)
    assert furthest(ours, theirs) < 1e-5
    assert furthest(ours, model()) > 0.1


@pytest.mark.parametrize("form", SAME)
def test_data_in_any_form_train_the_same_model(form):
    one, other = model(), model()
    supervise(one, (INPUTS, LABELS), settings())
    supervise(other, SAME[form](), settings())
    assert same_weights(one, other)


def test_few_labels_are_seen_more_often_in_as_many_steps(targets):
    shown = torch.zeros(50, dtype=torch.bool)
    shown[ORDER[:20]] = True
    samples = Watched(INPUTS, {"label": LABELS}, labelled=shown)
    supervise(model(), samples, settings(epochs=1))
    steps, seen = len(samples.asked), torch.cat([index for index, _ in samples.asked])
    counts = seen.bincount(minlength=50)
    assert set(counts[shown].tolist()) == {2, 3}
    assert counts[~shown].sum() == 0
    samples.asked.clear()
    distil(model(), samples, targets, settings(epochs=1))
    assert len(samples.asked) == steps
    assert sorted(torch.cat([index for index, _ in samples.asked]).tolist()) == list(range(50))


def test_no_label_at_all_is_refused():
    with pytest.raises(DataError, match=r"there is no sample to learn from. Let some show"):
        supervise(model(), split(labelled=torch.zeros(50, dtype=torch.bool)))


def test_heads_may_have_classes_that_no_sample_shows():
    wide, trained = Head(space="categorical", size=5), model(outputs=5)
    with pytest.raises(LimbeckError, match="must answer 3 classes"):
        supervise(trained, (INPUTS, LABELS), settings())
    for data in ((INPUTS, LABELS), data_set()):
        trained = model(outputs=5)
        supervise(trained, data, settings(epochs=20), heads=[wide])
        assert trained(INPUTS).argmax(-1).max() == 2


def test_two_heads_are_learned_from_their_labels():
    samples, ours = Watched(INPUTS, {"kind": LABELS, "price": PRICES}), TwoHeads()
    history = supervise(ours, samples, settings())

    def loss(student, index, view):
        said = student(INPUTS[index])
        return F.cross_entropy(said["kind"], LABELS[index]) + F.mse_loss(
            said["price"], PRICES[index]
        )

    assert furthest(ours, by_hand(TwoHeads(), samples.asked, loss)) < 1e-5
    assert set(history.terms) == {"hard kind", "hard price"}


@pytest.mark.parametrize(
    ("data", "options", "kind", "said"),
    [
        ("digits", {}, DataError, "samples must be arrays, .* got str"),
        (INPUTS, {}, OptionError, "these samples have no labels, which would tell"),
        (INPUTS, {"heads": [LABEL]}, DataError, "the train split has no labels for head label"),
        ((INPUTS, LABELS + 1), {"heads": [LABEL]}, DataError, r"must be 0\.\.2 .* got 3 at sample"),
        ((INPUTS * torch.inf, LABELS), {}, DataError, "input of train sample 0 .* not finite"),
        ((INPUTS, PRICES / 0), {}, DataError, "label of train sample 0 is not finite"),
        ((INPUTS[:0], LABELS[:0]), {"heads": [LABEL]}, DataError, "the train split is empty"),
        ((INPUTS, LABELS), {"train": Train(keep="best")}, OptionError, "needs validation data"),
        (
            (INPUTS, LABELS),
            {"train": settings(learning_rate=1e30)},
            TrainingError,
            "the hard loss of model is nan in epoch 1, by step 7",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(data, options, kind, said):
    with pytest.raises(kind, match=said):
        supervise(model(), data, **options)


# ---- distil and supervise -----------------------------------------------------------------------


def test_the_same_seed_gives_the_same_batches_with_and_without_a_teacher(targets):
    taught, control, other = (Watched(INPUTS, {"label": LABELS}) for _ in range(3))
    distil(model(), taught, targets, settings(), seed=3)
    supervise(model(), control, settings(), seed=3)
    supervise(model(), other, settings(), seed=4)

    def visited(samples):
        return [index.tolist() for index, _ in samples.asked]

    assert visited(taught) == visited(control) != visited(other)
    for epoch in range(3):
        batches = visited(taught)[7 * epoch : 7 * epoch + 7]
        assert [len(batch) for batch in batches] == [8] * 6 + [2]
        assert sorted(place for batch in batches for place in batch) == list(range(50))


def test_without_the_teachers_weight_a_student_is_its_control(targets):
    student, control = model(dropout=0.5), model(dropout=0.5)
    options = {"hard_weight": 1.0, "soft_weight": 0.0}
    distil(student, (INPUTS, LABELS), targets, settings(), seed=2, **options)
    supervise(control, (INPUTS, LABELS), settings(), seed=2)
    assert furthest(student, control) < 1e-6


@TRAINERS
def test_a_call_again_gives_the_same_weights_and_another_seed_others(trained_by, targets):
    one, same, other = (model(dropout=0.5) for _ in range(3))
    train_by(trained_by, one, targets, settings(), seed=1)
    torch.manual_seed(99)
    train_by(trained_by, same, targets, settings(), seed=1)
    train_by(trained_by, other, targets, settings(), seed=2)
    assert same_weights(one, same)
    assert not same_weights(one, other)


@TRAINERS
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_seed_is_also_that_of_dropout(trained_by, dropout, targets):
    alone = data_set(split(LABELS[:1], INPUTS[:1]))  # one sample has but one order
    one, other = model(dropout=dropout), model(dropout=dropout)
    for seed, trained in enumerate((one, other)):
        train_by(trained_by, trained, targets, settings(), data=alone, seed=seed)
    assert same_weights(one, other) == (dropout == 0)


@TRAINERS
def test_a_model_is_left_in_eval_mode_without_gradients_and_what_is_frozen_stays(
    trained_by, targets
):
    trained = model().eval()
    trained[0].requires_grad_(False)
    train_by(trained_by, trained, targets, settings())
    assert not any(part.training for part in trained.modules())
    assert [weight.grad for weight in trained.parameters()] == [None] * 4
    assert [weight.requires_grad for weight in trained.parameters()] == [False] * 2 + [True] * 2
    assert same_weights(trained[0], model()[0])
    assert not same_weights(trained[3], model()[3])


@TRAINERS
def test_a_student_of_probabilities_learns_as_one_of_logits(trained_by, targets):
    plain, probable = model(), nn.Sequential(*model(), nn.Softmax(-1))
    train_by(trained_by, plain, targets, settings())
    train_by(trained_by, probable, targets, settings(), outputs="probabilities")
    assert furthest(plain, probable) < 1e-5


def accuracy(trained, where):
    """The fraction of these samples that `trained` is right about."""
    with torch.no_grad():
        return float((trained(INPUTS[where]).argmax(-1) == LABELS[where]).double().mean())


@TRAINERS
def test_a_data_sets_validation_samples_are_scored_after_each_epoch(trained_by, targets):
    trained = model()
    history = train_by(trained_by, trained, targets, settings(), data=data_set())
    assert len(history.validation) == 3
    assert history.validation[-1] == accuracy(trained, slice(20))
    assert accuracy(trained, slice(20)) not in (accuracy(trained, slice(50)), 0.0)


@TRAINERS
def test_of_several_heads_the_first_is_validated(trained_by, tmp_path):
    samples = ArraySamples(INPUTS, {"kind": LABELS, "price": PRICES})
    data = DataSet(train=samples, validation=samples, test=samples, heads=(KIND, PRICE))
    kept, trained = capture(TwoHeads(seed=1), data, tmp_path), TwoHeads()
    history = train_by(trained_by, trained, kept, settings(), data=data)
    right = (trained(INPUTS)["kind"].argmax(-1) == LABELS).double().mean()
    assert history.validation[-1] == float(right)


@TRAINERS
def test_probabilities_are_validated_at_a_half(trained_by, tmp_path):
    tags, head = INPUTS[:, :3] > 0, Head(space="binary", size=3)
    data = data_set(
        split(tags.float()), validation=split(tags[:20].float(), INPUTS[:20]), head=head
    )
    kept, trained = capture(model(seed=1), data, tmp_path), nn.Sequential(model(), nn.Sigmoid())
    how = settings(epochs=10)
    history = train_by(trained_by, trained, kept, how, data=data, outputs="probabilities")
    right = ((trained(INPUTS[:20]) > 0.5) == tags[:20]).all(-1).double().mean()
    assert history.validation[-1] == float(right)
    assert right != tags[:20].all(-1).double().mean()  # as if every tag were set


@TRAINERS
def test_the_best_epoch_is_the_one_of_the_smallest_error_in_numbers(trained_by, tmp_path):
    head, truth = Head(space="real", size=1), model(seed=1, outputs=1)
    data = data_set(split(PRICES), validation=split(-PRICES[:9], INPUTS[:9]), head=head)
    kept = capture(truth, data, tmp_path)
    trained = model(outputs=1)
    how = settings(keep="best", epochs=6, learning_rate=0.01)
    history = train_by(trained_by, trained, kept, how, data=data)
    with torch.no_grad():
        error = float((trained(INPUTS[:9]) + PRICES[:9]).square().mean().sqrt())
    assert error == pytest.approx(min(history.validation), rel=1e-5)
    assert error < 0.99 * max(history.validation)


class Stops(nn.Module):
    """A student at whose so-many-th batch the user presses Ctrl-C; 0 is never."""

    def __init__(self, seed, at):
        super().__init__()
        self.inner, self.left = model(seed, dropout=0.5), at

    def forward(self, inputs):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.inner(inputs)


@TRAINERS
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_stopped_training_goes_on_to_the_same_weights(trained_by, kind, targets, tmp_path):
    checkpoint, how = kind(tmp_path / "state"), settings(optimizer="AdamW")
    unbroken, again = Stops(0, 0), Stops(5, 0)
    history = train_by(trained_by, unbroken, targets, how)
    with pytest.raises(Interrupted, match="What was reached is kept"):
        train_by(trained_by, Stops(0, 10), targets, how, checkpoint=checkpoint)
    assert (tmp_path / "state").is_file()
    # Other initial weights: everything must come from the checkpoint.
    gone_on = train_by(trained_by, again, targets, how, checkpoint=checkpoint)
    assert same_weights(unbroken, again)
    assert gone_on == history
    assert -again.left == 21 - 10
    assert not (tmp_path / "state").exists()


@TRAINERS
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_logs_are_written_where_they_are_wanted(trained_by, kind, targets, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "logs"
    how = settings(log="tensorboard")
    history = train_by(trained_by, model(), targets, how, log_folder=kind(folder))
    (file,) = folder.rglob("events.out.tfevents.*")
    logged = EventAccumulator(str(file)).Reload()
    name = {"distil": "student", "supervise": "model"}[trained_by]
    losses = [event.value for event in logged.Scalars(f"{name}/loss")]
    assert losses == pytest.approx(history.loss)


@TRAINERS
def test_the_watcher_is_told_each_step(trained_by, targets):
    watch = Watch()
    train_by(trained_by, model(), targets, settings(), progress=watch)
    name = {"distil": "student", "supervise": "model"}[trained_by]
    assert watch.started == [(f"training {name}", 21)]
    assert watch.advanced == 21


@pytest.mark.parametrize("hard", [0.0, 0.4])
def test_a_run_makes_the_very_same_models(hard, tmp_path):
    changed = ["seeds=1", "data.limit=300", "teacher.train.epochs=2", "train.epochs=2"]
    recipe = small(tmp_path, *changed, f"distil.hard_weight={hard}", 'train.keep="best"')
    limbeck.run(recipe, tmp_path / "run")
    made, report = weights(tmp_path / "run"), read_results(tmp_path / "run")[0]
    data = limbeck.data.load("digits", limit=300)
    teacher = build("mlp", {"hidden": [32]}, Interface.of(data))
    student, control = (build("mlp", {"hidden": [8]}, Interface.of(data)) for _ in range(2))
    supervise(teacher, data, recipe.teacher.train)
    targets = capture(teacher, data, tmp_path / "targets")
    distil(student, data, targets, recipe.train, hard_weight=hard)
    supervise(control, data, recipe.train)
    for path, mine in (
        ("teacher/teacher.safetensors", teacher),
        ("distil/seed-0/small.safetensors", student),
        ("control/seed-0/small.safetensors", control),
    ):
        assert equal({"": made[path]}, {"": dict(mine.state_dict())}), path
    assert targets.manifest == TransferSet(tmp_path / "run" / "targets").manifest
    found = evaluate(student, data, teacher=teacher)
    assert [found.score] == report.models["student"].score.values
    assert found.nearness.kl == report.fidelity.kl


# ---- evaluate -----------------------------------------------------------------------------------


def test_a_model_is_scored_by_its_accuracy_or_the_metric_that_is_named(teacher, logits):
    right = (logits.argmax(-1) == LABELS).double().mean()
    found = evaluate(teacher, (INPUTS, LABELS))
    assert (found.metric, found.score) == ("accuracy", float(right))
    named = evaluate(teacher, (INPUTS, LABELS), metric="cross_entropy")
    assert named.metric == "cross_entropy"
    assert named.score == pytest.approx(float(F.cross_entropy(logits, LABELS)), rel=1e-6)


@pytest.mark.parametrize("form", [name for name in SAME if name != "a data set"])
def test_data_in_any_form_give_the_same_score(form, teacher, logits):
    right = (logits.argmax(-1) == LABELS).double().mean()
    assert evaluate(teacher, SAME[form]()).score == float(right)


def test_of_a_data_set_the_test_samples_are_read_and_no_others(teacher, logits):
    wrong = (logits.argmax(-1) + 1) % 3
    test = split(logits.argmax(-1)[:9], INPUTS[:9])
    watched = [Watched(INPUTS, {"label": wrong}) for _ in range(2)]
    data = data_set(watched[0], validation=watched[1], test=test)
    assert evaluate(teacher, data, teacher=teacher).score == 1.0
    assert [samples.asked for samples in watched] == [[], []]


def test_parameters_bytes_and_flops_are_told(teacher):
    cost = evaluate(teacher, (INPUTS, LABELS)).cost
    numbers = 4 * 16 + 16 + 16 * 3 + 3
    assert (cost.parameters, cost.bytes) == (numbers, 4 * numbers)
    assert cost.flops_per_example == 2 * (4 * 16 + 16 * 3)


def nearness_by_hand(student, teacher):
    """Agreement, and KL(teacher || student)."""
    ours, theirs = student.double().log_softmax(-1), teacher.double().log_softmax(-1)
    agreed = (ours.argmax(-1) == theirs.argmax(-1)).double().mean()
    return float(agreed), float((theirs.exp() * (theirs - ours)).sum(-1).mean())


@pytest.mark.parametrize("kind", ["module", "callable", "probabilities", "Teacher", "probable"])
def test_nearness_is_that_to_the_teacher_whatever_it_is(kind, logits):
    given = {
        "module": (model(seed=1), {}),
        "callable": (lambda inputs: logits.numpy(), {}),
        "probabilities": (
            nn.Sequential(model(seed=1), nn.Softmax(-1)),
            {"teacher_outputs": "probabilities"},
        ),
        "Teacher": (Teacher(model(seed=1), [LABEL]), {}),
        "probable": (
            Teacher(lambda x: logits.softmax(-1).numpy(), [LABEL], outputs="probabilities"),
            {},
        ),
    }
    asked, options = given[kind]
    student = model()
    found = evaluate(student, (INPUTS, LABELS), teacher=asked, **options).nearness
    with torch.no_grad():
        agreed, kl = nearness_by_hand(student(INPUTS), logits)
    assert found.agreement == agreed
    assert found.kl == pytest.approx(kl, rel=1e-4)


def test_without_a_teacher_there_is_no_nearness(teacher):
    assert evaluate(teacher, (INPUTS, LABELS)).nearness is None


def test_a_model_of_probabilities_is_measured_as_one_of_logits(teacher):
    plain, probable = model(), nn.Sequential(model(), nn.Softmax(-1))
    want = evaluate(plain, (INPUTS, LABELS), teacher=teacher)
    found = evaluate(probable, (INPUTS, LABELS), teacher=teacher, outputs="probabilities")
    assert found.score == want.score
    assert found.calibration_error == pytest.approx(want.calibration_error, rel=1e-5)
    assert found.nearness.kl == pytest.approx(want.nearness.kl, rel=1e-4)


def test_samples_that_lack_the_last_classes_are_measured_with_the_heads_or_the_teachers(teacher):
    first = LABELS < 2
    data = (INPUTS[first], LABELS[first])
    want = accuracy(model(), first)
    assert evaluate(model(), data, heads=[LABEL]).score == want
    assert evaluate(model(), data, teacher=Teacher(teacher, [LABEL])).score == want
    with pytest.raises(LimbeckError, match="must answer 2 classes"):
        evaluate(model(), data)


def test_heads_that_are_given_come_before_the_teachers(teacher):
    known = Teacher(lambda x: {"label": x[:, :3], "price": x[:, :1]}, [PRICE, LABEL])
    assert evaluate(model(), (INPUTS, LABELS), teacher=known, heads=[LABEL]).metric == "accuracy"


def test_the_first_head_is_scored():
    two, labels = TwoHeads(), {"kind": LABELS, "price": PRICES}
    with torch.no_grad():
        said = two(INPUTS)
    right = (said["kind"].argmax(-1) == LABELS).double().mean()
    assert evaluate(two, (INPUTS, labels)).score == float(right)
    found = evaluate(two, (INPUTS, labels), heads=[PRICE, KIND])
    assert found.metric == "rmse"
    assert found.score == pytest.approx(float(F.mse_loss(said["price"], PRICES).sqrt()), rel=1e-5)
    assert found.calibration_error is None


def test_measuring_changes_nothing_but_the_mode():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    F.cross_entropy(network(INPUTS), LABELS).backward()
    before = {name: part.clone() for name, part in network.state_dict().items()}
    gradients = [weight.grad.clone() for weight in network.parameters()]
    scores = [evaluate(network.train(), (INPUTS, LABELS)).score for _ in range(2)]
    assert scores[0] == scores[1]
    assert not any(part.training for part in network.modules())
    assert all(torch.equal(part, before[name]) for name, part in network.state_dict().items())
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        assert weight.requires_grad
        assert torch.equal(weight.grad, gradient)


@pytest.mark.parametrize(
    ("data", "options", "kind", "said"),
    [
        (INPUTS, {}, OptionError, "these samples have no labels, which would tell"),
        ((INPUTS, LABELS), {"metric": "rmse"}, OptionError, "metric rmse is for real labels"),
        ((INPUTS, LABELS), {"metric": "acuracy"}, OptionError, "Did you mean accuracy"),
        ((INPUTS, LABELS), {"teacher": "mlp"}, ModelError, "a teacher is a torch module or"),
        ((INPUTS, LABELS + 1), {"heads": [LABEL]}, DataError, r"must be 0\.\.2 .* got 3"),
    ],
)
def test_what_cannot_be_measured_is_refused(data, options, kind, said):
    with pytest.raises(kind, match=said):
        evaluate(model(), data, **options)


# ---- all four -----------------------------------------------------------------------------------


def test_the_callers_random_numbers_are_left_alone(teacher, targets, tmp_path):
    student = model(dropout=0.5)
    calls = {
        "capture": lambda: capture(teacher, (INPUTS, LABELS), tmp_path / "again"),
        "distil": lambda: distil(student, data_set(), targets, settings()),
        "supervise": lambda: supervise(student, data_set(), settings()),
        "evaluate": lambda: evaluate(student, data_set(), teacher=teacher),
    }
    for name, call in calls.items():
        torch.manual_seed(3)
        np.random.seed(3)
        expected = torch.rand(2), np.random.random()
        torch.manual_seed(3)
        np.random.seed(3)
        call()
        assert torch.equal(torch.rand(2), expected[0]), name
        assert np.random.random() == expected[1], name


@pytest.mark.parametrize("function", [capture, distil, supervise, evaluate])
def test_every_option_is_described(function):
    described = inspect.getdoc(function)
    assert described is not None
    for name in inspect.signature(function).parameters:
        assert f"\n    {name}: " in described, name


# ---- what went wrong once -----------------------------------------------------------------------


def test_gradients_that_someone_left_change_nothing(targets):
    for name in ("supervise", "distil"):
        fresh, used = model(), model()
        used(INPUTS).sum().backward()
        for trained in (fresh, used):
            train_by(name, trained, targets, settings())
        assert same_weights(fresh, used), name


def test_a_checkpoint_is_not_gone_on_from_under_another_temperature_or_teacher(
    targets, tmp_path, monkeypatch
):
    others = capture(model(seed=8), (INPUTS, LABELS), tmp_path / "others")
    monkeypatch.setattr("limbeck.train._resume.CHECKPOINT_SECONDS", -1.0)
    for taught, options in ((targets, {"temperature": 1.0}), (others, {})):
        path = tmp_path / "state.safetensors"

        class Stops(nn.Module):
            def __init__(self):
                super().__init__()
                self.plain, self.calls = model(), 0

            def forward(self, x):
                self.calls += 1
                if self.calls == 9:
                    raise Interrupted("enough")
                return self.plain(x)

        with pytest.raises(Interrupted):
            distil(Stops(), INPUTS, targets, settings(), checkpoint=path)
        assert path.is_file()
        begun, fresh = Stops(), Stops()
        begun.calls = fresh.calls = 100
        distil(begun, INPUTS, taught, settings(), checkpoint=path, **options)
        distil(fresh, INPUTS, taught, settings(), **options)
        assert same_weights(begun, fresh)


def test_labels_of_another_name_than_the_heads_are_refused(targets):
    other = Head(name="kind", space="categorical", size=3)
    for call in (supervise, evaluate):
        with pytest.raises(DataError, match=r"no labels for head kind, .* It has label\."):
            call(model(), (INPUTS, LABELS), heads=[other])


def test_a_data_set_made_by_hand_is_checked(targets):
    for wrong, said in (
        (split(LABELS + 1), r"labels of the train split must be 0\.\.2"),
        (split(LABELS, INPUTS / 0), "input of train sample 0 .* not finite"),
        (ArraySamples(INPUTS, {}), "the train split has no labels for head label"),
    ):
        with pytest.raises(DataError, match=said):
            supervise(model(), data_set(wrong))
    with pytest.raises(DataError, match=r"labels of the validation split must be 0\.\.2"):
        distil(model(), data_set(validation=split(LABELS + 1)), targets)


@pytest.mark.parametrize("call", ["supervise", "distil", "capture", "evaluate"])
def test_outputs_are_logits_or_probabilities_alone(call, targets, tmp_path):
    calls = {
        "supervise": lambda: supervise(model(), (INPUTS, LABELS), outputs="probs"),
        "distil": lambda: distil(model(), INPUTS, targets, outputs="probs"),
        "capture": lambda: capture(model(), (INPUTS, LABELS), tmp_path, outputs="probs"),
        "evaluate": lambda: evaluate(model(), (INPUTS, LABELS), outputs="probs"),
    }
    with pytest.raises(OptionError, match=r"outputs must be one of logits, probabilities, got"):
        calls[call]()


def test_a_teacher_that_knows_its_heads_is_captured_from_labels_that_are_all_the_same(tmp_path):
    kept = capture(limbeck.Teacher(model(), [LABEL]), (INPUTS, LABELS * 0), tmp_path)
    assert kept.heads == (LABEL,)


def test_evaluate_leaves_the_teachers_module_as_it_was():
    teacher = model(dropout=0.5).train()
    teacher[0].requires_grad_(False)
    evaluate(model(), (INPUTS, LABELS), teacher=teacher)
    assert teacher.training
    assert [part.requires_grad for part in teacher.parameters()] == [False, False, True, True]


def test_probabilities_read_as_logits_are_not_measured():
    probable = nn.Sequential(model(), nn.Softmax(-1))
    with pytest.raises(ModelError, match="the model must give logits for head label"):
        evaluate(probable, (INPUTS, LABELS))
