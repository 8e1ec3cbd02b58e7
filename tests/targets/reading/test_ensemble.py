import copy

import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck._errors import OptionError, ShapeError, TargetsError
from limbeck.data import Views
from limbeck.signals import Head
from limbeck.targets import Ensemble, TransferSet, capture, most_confident
from limbeck.teachers import Teacher

SPARSE = {"codec": "topk", "codec_options": {"k": 2}}


@pytest.fixture
def captured(make, samples, tmp_path):
    """Transfer sets of teachers of different minds, whose shards are in different orders."""

    def of(number, data=None, heads=(make.label,), **settings):
        teacher = Teacher(make.asked(lambda x: (number + 1) * make.logits(x * (number + 1))), heads)
        data = samples if data is None else data
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(number))
        folder = tmp_path / f"{number}-{len(list(tmp_path.iterdir()))}"
        return capture(teacher, data.subset(order), folder, batch_size=16, **settings)

    return of


def probabilities(targets, samples):
    return targets.aligned(samples).rows(torch.arange(len(samples)))["label"].values.float().exp()


def test_the_mean_is_of_probabilities_found_by_content(captured, samples):
    members = [captured(k) for k in range(3)]
    mean = sum(probabilities(one, samples) for one in members) / 3
    torch.testing.assert_close(
        probabilities(Ensemble(members), samples), mean, rtol=1e-3, atol=1e-4
    )
    some = torch.tensor([7, 7, 3, 39])
    both = Ensemble(members)
    part = both.read(both.positions(samples.keys[some.numpy()]))["label"].values.exp()
    torch.testing.assert_close(part, mean[some], rtol=1e-3, atol=1e-4)


def test_weights_of_all_samples_are_divided_by_their_sum(captured, samples):
    members = [captured(0), captured(1)]
    mixed = probabilities(Ensemble(members, weights=[6, 2]), samples)
    one, other = (probabilities(each, samples) for each in members)
    torch.testing.assert_close(mixed, 0.75 * one + 0.25 * other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("views", [1, 2])
def test_weights_of_each_sample_choose_who_answers(captured, samples, views):
    moved = samples.with_views(Views(shift=1)) if views > 1 else samples
    members = [captured(k, moved, views=views) for k in range(2)]
    who = torch.arange(40) % 2
    chosen = Ensemble(members, weights=nn.functional.one_hot(who, 2), samples=moved)
    index = torch.arange(40)
    for view in range(views):
        mixed = chosen.aligned(moved).rows(index, view)["label"].values
        for k, member in enumerate(members):
            alone = member.aligned(moved).rows(index, view)["label"].values.float()
            alone = alone.log_softmax(-1)
            torch.testing.assert_close(mixed[who == k], alone[who == k], rtol=1e-5, atol=1e-5)


def test_tails_spread_by_the_mean_of_the_weights_of_all_samples(captured, samples):
    members = [captured(k, codec="selected", codec_options={"cost": 0.1}) for k in range(2)]
    who = (torch.arange(40) % 4 == 0).long()
    chosen = Ensemble(members, weights=nn.functional.one_hot(who, 2), samples=samples)
    of_all = Ensemble(members, weights=[0.75, 0.25])
    shapes = [each.like["label"].tail_shape for each in (chosen, of_all, *members)]
    torch.testing.assert_close(shapes[0], shapes[1])
    for alone in shapes[2:]:
        assert not torch.allclose(shapes[0].softmax(0), alone.softmax(0), atol=0.01)


@pytest.mark.parametrize("how", [{}, SPARSE], ids=["dense", "sparse"])
def test_the_most_confident_teacher_answers(captured, samples, how):
    members = [captured(k, **how) for k in range(3)]
    weights = most_confident(members, samples)
    confidence = np.stack([probabilities(captured(k), samples).amax(-1) for k in range(3)])
    chosen = np.take_along_axis(confidence, weights.argmax(1).numpy()[None], axis=0)[0]
    np.testing.assert_allclose(chosen, confidence.max(0), atol=1e-3)
    assert len(set(weights.argmax(1).tolist())) > 1
    assert weights.sum(1).tolist() == [1.0] * 40


def test_who_is_confident_in_most_rows_of_a_sample_answers_not_who_is_in_one(
    make, samples, tmp_path
):
    def teacher(rows):
        return Teacher(make.asked(lambda x: np.array(rows)), [make.label])

    sure_once = [[9.0, 0, 0, 0, 0], [0.0] * 5, [0.0] * 5]
    often = [[2.0, 0, 0, 0, 0]] * 3
    members = [
        capture(teacher(rows), samples, tmp_path / name, temperature=1.0)
        for name, rows in (("once", sure_once), ("often", often))
    ]
    assert most_confident(members, samples).argmax(1).tolist() == [1] * 40


def test_sparse_and_dense_rows_are_read_as_one(captured, samples):
    dense, sparse = captured(0), captured(1, **SPARSE)
    mixed = probabilities(Ensemble([dense, sparse]), samples)
    rows = sparse.aligned(samples).rows(torch.arange(40))["label"].to(torch.device("cpu"))
    spread = (rows.tail[:, None] / 3).expand(-1, 5).scatter(1, rows.ids, rows.probabilities)
    torch.testing.assert_close(
        mixed, (probabilities(dense, samples) + spread) / 2, rtol=1e-3, atol=1e-4
    )


def test_two_sparse_sets_give_sparse_rows_that_a_student_learns_from(captured, samples, make):
    both = Ensemble([captured(0, **SPARSE), captured(1, **SPARSE)])
    rows = both.aligned(samples).rows(torch.arange(40))["label"]
    assert 2 <= rows.ids.shape[-1] <= 4
    torch.testing.assert_close(rows.probabilities.sum(-1) + rows.tail, torch.ones(40))
    _distilled(both, samples, falls=True)


def _distilled(targets, samples, *, falls):
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
    before = copy.deepcopy(student)
    train = limbeck.Train(epochs=15, batch_size=10, learning_rate=0.01)
    history = limbeck.distil(student, samples, targets, train)
    assert not falls or history.loss[-1] < 0.8 * history.loss[0]
    assert not torch.equal(before[1].weight, student[1].weight)
    return student


def test_a_student_learns_from_the_teachers_together_and_none_is_asked(captured, samples):
    both = Ensemble([captured(0), captured(1)])
    one = _distilled(both, samples, falls=True)
    same = _distilled(Ensemble(list(both.members)), samples, falls=True)
    alone = _distilled(both.members[0], samples, falls=True)
    assert one[1].weight.equal(same[1].weight)
    assert not one[1].weight.equal(alone[1].weight)


def test_an_ensemble_of_one_is_its_member(captured, samples):
    alone = captured(0, **SPARSE)
    both = Ensemble([alone])
    assert both.heads == alone.heads
    assert both.temperature == alone.temperature == 4.0
    assert both.views == alone.views == 1
    rows = both.aligned(samples).rows(torch.arange(40))["label"]
    expected = alone.aligned(samples).rows(torch.arange(40))["label"].to(torch.device("cpu"))
    ids, order = expected.ids.sort(-1)
    assert rows.ids.equal(ids)
    assert rows.probabilities.equal(expected.probabilities.gather(1, order))
    torch.testing.assert_close(rows.tail, expected.tail)


def test_the_fingerprint_changes_with_members_and_weights(captured, samples):
    a, b = captured(0), captured(1)
    by_sample = torch.rand(40, 2)
    found = [
        Ensemble([a]),
        Ensemble([a, b]),
        Ensemble([b, a]),
        Ensemble([a, b], weights=[1, 2]),
        Ensemble([a, b], weights=by_sample, samples=samples),
        Ensemble([a, b], weights=by_sample.flip(1), samples=samples),
    ]
    assert len({one.fingerprint for one in found}) == len(found)
    assert Ensemble([a, b], weights=[2, 2]).fingerprint == found[1].fingerprint


def test_members_must_be_alike(captured, samples, make):
    one = captured(0)
    with pytest.raises(TargetsError, match=r"must be alike, but .* have temperature 4.0 and 2.0\."):
        Ensemble([one, captured(1, temperature=2.0)])
    with pytest.raises(TargetsError, match=r"have samples \w{16} and \w{16}"):
        Ensemble([one, captured(1, make.samples(seed=3))])
    with pytest.raises(TargetsError, match=r'have views "?shift=0'):
        Ensemble([one, captured(1, samples.with_views(Views(shift=2)))])
    other = Head(space="categorical", size=5, classes=("a", "b", "c", "d", "e"))
    with pytest.raises(TargetsError, match=r"expected 'ant' for class 0, got 'a'"):
        Ensemble([one, captured(1, heads=(other,))])
    with pytest.raises(OptionError, match=r"one transfer set or more, got none"):
        Ensemble([])


def test_an_ensemble_has_the_views_that_all_members_have(captured, samples):
    moved = samples.with_views(Views(shift=1))
    both = Ensemble([captured(0, moved, views=3), captured(1, moved, views=2)])
    assert both.views == 2
    assert both.aligned(moved).views == 2
    with pytest.raises(TargetsError, match=r"views: expected 3, got 2"):
        both.positions(moved.keys, 2)


def test_an_ensemble_expects_of_every_member(captured, samples):
    both = Ensemble([captured(0), captured(1)])
    both.expect(heads=both.heads, transform=str(samples.views))
    with pytest.raises(TargetsError, match=r"data: expected"):
        both.expect(data="0")
    with pytest.raises(TargetsError, match=r"no row for 2 of 2 samples"):
        both.positions(np.array([0, 1], dtype=np.uint64))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], r"0 or more, finite, and one of each sample above 0, got -1 to 1"),
        ([0.0, 0.0], r"above 0, got 0 to 0"),
        ([float("nan"), 1.0], r"above 0, got nan"),
        ([float("inf"), 1.0], r"above 0, got 1 to inf"),
    ],
)
def test_weights_out_of_range_are_refused(captured, weights, message):
    with pytest.raises(OptionError, match=message):
        Ensemble([captured(0), captured(1)], weights=weights)


def test_weights_must_be_of_the_members_and_samples(captured, samples):
    members = [captured(0), captured(1)]
    with pytest.raises(ShapeError, match=r"\(teachers,\) = \(2,\), got \(3,\)"):
        Ensemble(members, weights=[1, 1, 1])
    with pytest.raises(ShapeError, match=r"\(teachers,\) = \(2,\), got \(40, 2\)"):
        Ensemble(members, weights=torch.ones(40, 2))
    with pytest.raises(ShapeError, match=r"\(samples, teachers\) = \(40, 2\), got \(2,\)"):
        Ensemble(members, weights=[1, 1], samples=samples)
    part = samples.subset(torch.arange(10))
    with pytest.raises(TargetsError, match=r"weights must be of all samples of .*a part of them"):
        Ensemble(members, weights=torch.ones(10, 2), samples=part)


def test_confidence_is_of_classes(samples, tmp_path):
    place = Head(name="place", space="real", size=4)
    targets = capture(Teacher(lambda x: x[:, 0], [place]), samples, tmp_path)
    with pytest.raises(OptionError, match=r"for categorical heads, got head place, which is real"):
        most_confident([targets], samples)


def test_members_may_be_opened_in_any_way(captured, samples):
    folder = captured(0).folder
    mapped = TransferSet(folder, reading="mapped")
    assert torch.equal(
        probabilities(Ensemble([mapped]), samples),
        probabilities(Ensemble([TransferSet(folder)]), samples),
    )


def test_members_that_are_no_transfer_sets_are_named(captured):
    one = captured(0)
    with pytest.raises(OptionError, match=r"got '.*'. Open what lies in a folder: TransferSet"):
        Ensemble([one, str(one.folder)])
