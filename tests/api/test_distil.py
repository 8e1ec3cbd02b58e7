"""A student is trained on what a teacher said."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck import Train, TransferSet, capture, distil
from limbeck._errors import (
    DataError,
    Interrupted,
    OptionError,
    TargetsError,
)
from limbeck.data import Views
from limbeck.recipe import Anneal
from limbeck.signals import Head
from tests.api.problem import (
    IMAGES,
    KIND,
    ORDER,
    PRICE,
    TwoHeads,
    Watched,
    by_hand,
    data_set,
    softened,
    split,
)
from tests.methods import own_losses
from tests.train.problem import INPUTS, LABELS, furthest, model, same_weights, settings


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


def test_weights_may_rise_from_0_and_losses_be_balanced(targets):
    still, risen, plain, balanced = (model() for _ in range(4))
    options = {"hard_weight": 0.0, "soft_weight": 0.0, "anneal": Anneal(soft_weight=1.0)}
    distil(still, (INPUTS, LABELS), targets, settings())
    distil(risen, (INPUTS, LABELS), targets, settings(), **options)
    assert furthest(risen, still) > 1e-3
    distil(plain, (INPUTS, LABELS), targets, settings(), hard_weight=0.3)
    distil(balanced, (INPUTS, LABELS), targets, settings(), hard_weight=0.3, balance=5)
    assert furthest(balanced, plain) > 1e-3


def test_peers_learn_from_each_other_and_are_changed_too(targets):
    student, peer, alone = model(), model(1), model()
    weights = {"hard_weight": 0.5, "soft_weight": 0.0}
    history = distil(
        student, (INPUTS, LABELS), targets, settings(), mutual_weight=1.0, peers=[peer], **weights
    )
    assert set(history.terms) == {"hard", "mutual"}
    assert furthest(peer, model(1)) > 0.1
    distil(alone, (INPUTS, LABELS), targets, settings(), **weights)
    assert furthest(student, alone) > 1e-3
    for wrong in ({"mutual_weight": 1.0}, {"peers": [peer]}, {"mutual_weight": -1.0}):
        with pytest.raises(OptionError, match="mutual_weight must be finite, and above 0 if"):
            distil(student, (INPUTS, LABELS), targets, settings(), **wrong)


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
    with pytest.raises(TargetsError, match=r"at temperature 4, and cannot be moved to 2"):
        distil(model(), INPUTS, kept, settings(), temperature=2.0)


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


def test_a_method_that_needs_labels_sees_labelled_samples_only(targets):
    shown = torch.arange(50) % 5 == 0
    samples = Watched(INPUTS, {"label": LABELS}, labelled=shown)
    how = {"method": "dkd", "options": {"others_weight": 2.0}}
    distil(model(), samples, targets, settings(), **how)
    asked = torch.cat([index for index, _ in samples.asked])
    assert shown[asked].all()
    assert len(asked) == 3 * 50  # as many steps as by any other method


def test_a_method_that_needs_labels_is_refused_without_them(targets):
    with pytest.raises(DataError, match="label"):
        distil(model(), INPUTS, targets, settings(), method="dkd")


def test_an_unknown_option_of_a_method_is_refused(targets):
    with pytest.raises(OptionError, match="Did you mean others_weight"):
        distil(
            model(), (INPUTS, LABELS), targets, settings(), method="dkd", options={"others": 1.0}
        )


def test_sparse_targets_are_refused_where_every_class_is_needed(teacher, tmp_path):
    how = {"codec": "topk", "codec_options": {"k": 1}}
    few = capture(teacher, (INPUTS, LABELS), tmp_path / "few", **how)
    with pytest.raises(TargetsError, match="the transfer set names only some of head label"):
        distil(model(), (INPUTS, LABELS), few, settings(), method="lskd")


def test_a_loss_of_ones_own_is_a_method_as_a_function_and_by_its_name(targets):
    def learned(method, **options):
        student = model()
        distil(student, INPUTS, targets, settings(), method=method, options=options)
        return student

    plain = learned("soft_targets")
    assert furthest(learned(own_losses.kd), plain) < 1e-5
    assert same_weights(learned(own_losses.kd), learned("tests.methods.own_losses:kd"))
    assert furthest(learned(own_losses.kd, alpha=0.1), plain) > 1e-3


def test_a_checkpoint_is_not_gone_on_from_by_a_loss_whose_code_changed(
    targets, tmp_path, monkeypatch
):
    def begun(student, path):
        distil(student, INPUTS, targets, settings(), method=own_losses.kd, checkpoint=path)

    monkeypatch.setattr("limbeck.train._resume.CHECKPOINT_SECONDS", -1.0)
    calls = []
    for changed in (False, True):
        path = tmp_path / f"state-{changed}.safetensors"
        with pytest.raises(Interrupted):
            begun(Counted(stop_at=9), path)
        if changed:
            monkeypatch.setattr("limbeck.api._distil.method_code", lambda method: ["other"])
        student = Counted()
        begun(student, path)
        calls.append(student.calls)
    assert calls[0] < calls[1]  # from there on; from the beginning


class Counted(nn.Module):
    """A model that is stopped, once, by what it counts: its calls."""

    def __init__(self, stop_at=0):
        super().__init__()
        self.plain, self.calls, self.stop_at = model(), 0, stop_at

    def forward(self, x):
        self.calls += 1
        if self.calls == self.stop_at:
            raise Interrupted("enough")
        return self.plain(x)


def test_what_is_no_method_is_refused(targets):
    with pytest.raises(OptionError, match="<lambda> must be a function at the top level of a mod"):
        distil(model(), split(), targets, settings(), method=lambda student, teacher: 0)
    with pytest.raises(OptionError, match="a method is a name, or a function, got int"):
        distil(model(), split(), targets, settings(), method=4)
