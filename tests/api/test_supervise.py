"""A model is trained on labels alone."""

import pytest
import torch
import torch.nn.functional as F

from limbeck import Train, distil, supervise
from limbeck._errors import (
    DataError,
    LimbeckError,
    OptionError,
    TrainingError,
)
from limbeck.signals import Head
from tests.api.problem import ORDER, PRICES, SAME, TwoHeads, Watched, by_hand, data_set, split
from tests.train.problem import INPUTS, LABEL, LABELS, furthest, model, same_weights, settings


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


def test_labels_that_look_mistaken_are_taken_where_heads_say_what_they_are():
    one_hot = F.one_hot(LABELS, 3).float()
    with pytest.raises(DataError, match="got one-hot floats"):
        supervise(model(), (INPUTS, one_hot), settings(epochs=1))
    numbers = Head(space="real", size=3)
    supervise(model(), (INPUTS, one_hot), settings(epochs=1), heads=[numbers])


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
