"""Teachers that are weighed by where they agree to move the student."""

import itertools

import pytest
import torch
import torch.nn.functional as F

import limbeck
from limbeck._agreement import agreed, check_agreement, least_pull
from limbeck._errors import OptionError
from limbeck.data import ArraySamples
from limbeck.losses import soft_targets
from limbeck.methods import objective
from limbeck.models import MLP
from limbeck.signals import Batch, Dense, Head, Sparse
from limbeck.targets import Ensemble, capture
from limbeck.teachers import Teacher

HEAD = Head(space="categorical", size=5)


def pulls(teachers, numbers=7, seed=0):
    return torch.randn(
        teachers, numbers, dtype=torch.double, generator=torch.Generator().manual_seed(seed)
    )


def rows_of(members, temperature=1.0):
    return Dense(values=members.mean(dim=0), temperature=temperature, members=members)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_the_weights_are_those_of_the_closed_form(seed):
    first, second = pulls(2, 3, seed) + 0.5
    share = ((second - first) @ second / (second - first).square().sum()).clamp(0, 1)
    both = torch.stack([first, second])
    found = least_pull(both @ both.T)
    torch.testing.assert_close(found, torch.stack([share, 1 - share]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_of_three_no_weights_on_a_grid_pull_less(seed):
    three = pulls(3, seed=seed) + 0.3
    products = three @ three.T
    found = least_pull(products)
    steps = [i / 40 for i in range(41)]
    grid = torch.tensor(
        [(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1]
    ).double()
    least = torch.einsum("gi,ij,gj->g", grid, products, grid).min()
    assert found @ products @ found <= least + 1e-5
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_teachers_loss_rises_along_the_pull_that_is_left(seed):
    several = pulls(4, 20, seed)
    found = least_pull(several @ several.T)
    left = found @ several
    assert (several @ left >= left @ left - 1e-4).all()
    assert left @ left > 0


def test_equal_teachers_weigh_alike_and_so_do_all_where_none_pulls():
    torch.testing.assert_close(least_pull(torch.ones(3, 3)), torch.full((3,), 1 / 3).double())
    torch.testing.assert_close(least_pull(torch.zeros(2, 2)), torch.full((2,), 0.5).double())


def test_the_scale_of_the_pulls_does_not_matter():
    products = (three := pulls(3) + 0.3) @ three.T
    for scale in (1e-12, 1e12):
        torch.testing.assert_close(
            least_pull(products * scale), least_pull(products), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("space", ["categorical", "binary", "real"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_is_a_mixture_finds_it(space, temperature):
    generator = torch.Generator().manual_seed(1)
    members = torch.randn(3, 8, 2, 5, generator=generator)
    given = torch.tensor([0.2, 0.7, 0.1])
    if space == "categorical":
        members = members.log_softmax(-1)
        student = torch.einsum("k,k...->...", given, members.exp()).log()
    elif space == "binary":
        student = torch.einsum("k,k...->...", given, members.sigmoid()).logit()
    else:
        student = torch.einsum("k,k...->...", given, members)
    temperature = 1.0 if space == "real" else temperature
    found = agreed(rows_of(members, temperature), student * temperature, space)
    assert found.members is None
    assert found.temperature == temperature
    torch.testing.assert_close(found.values, student, rtol=1e-3, atol=1e-3)


def test_rows_that_do_not_count_weigh_nothing_and_no_gradient_flows():
    members = torch.stack([torch.eye(4, 5), torch.eye(4, 5).flip(0)]) * 3
    student = members[0].clone().requires_grad_()
    counts = torch.tensor([True, True, False, False])
    spoiled = members.clone()
    spoiled[:, 2:] = torch.randn(2, 2, 5, generator=torch.Generator().manual_seed(0))
    one = agreed(rows_of(members), student, "categorical", counts)
    other = agreed(rows_of(spoiled), student, "categorical", counts)
    torch.testing.assert_close(one.values[:2], other.values[:2])
    torch.testing.assert_close(one.values, members[0].log_softmax(-1), rtol=1e-3, atol=1e-3)
    assert not one.values.requires_grad


def test_rows_of_several_go_with_them_wherever_rows_go():
    members = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    rows = rows_of(members, 2.0)
    chosen = rows.select(torch.tensor([4, 1]))
    torch.testing.assert_close(chosen.members, members[:, [4, 1]])
    assert rows.of_samples(3).members.shape == (2, 2, 3, 5)
    half = Dense(values=members[0].half(), members=members.half()).to(torch.device("cpu"))
    assert half.members.dtype == torch.float32


def test_a_method_learns_from_what_they_agree_on():
    generator = torch.Generator().manual_seed(0)
    members = torch.randn(2, 6, 5, generator=generator).log_softmax(-1)
    student = torch.randn(6, 5, generator=generator)
    batch = Batch(inputs=torch.zeros(6, 1), labels={}, index=torch.arange(6))
    (term,) = objective("soft_targets", (HEAD,), temperature=2.0, hard_weight=0.0, soft_weight=1.0)
    found = term.values({"label": student}, {"label": rows_of(members, 2.0)}, batch)

    q, p = (student / 2).softmax(-1), members.softmax(-1)
    first, second = (q - p).flatten(1)
    share = ((second - first) @ second / (second - first).square().sum()).clamp(0, 1)
    mixed = share * p[0] + (1 - share) * p[1]
    wanted = 4 * F.kl_div((student / 2).log_softmax(-1), mixed, reduction="none").sum(-1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_padding_does_not_weigh_the_teachers_of_a_method():
    generator = torch.Generator().manual_seed(0)
    members = torch.randn(2, 3, 4, 5, generator=generator).log_softmax(-1)
    student = torch.randn(3, 4, 5, generator=generator)
    mask = torch.tensor([[True, True, False, False]] * 3)
    spoiled = torch.where(mask[..., None], members, members.flip(0) * 9)
    batch = Batch(inputs=torch.zeros(3, 1), labels={}, index=torch.arange(3), mask=mask)
    (term,) = objective("soft_targets", (HEAD,), temperature=1.0, hard_weight=0.0, soft_weight=1.0)
    one, other = (
        term.values({"label": student}, {"label": rows_of(each)}, batch)[mask]
        for each in (members, spoiled)
    )
    torch.testing.assert_close(one, other)


@pytest.fixture
def captured(tmp_path):
    """Transfer sets of two teachers, of one kind of rows or the other."""
    inputs = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    samples = ArraySamples(inputs, {"label": torch.arange(24) % 5})

    def of(**settings):
        sets = []
        for seed in range(2):
            torch.manual_seed(seed)
            teacher = Teacher(MLP(3, [8], 5), (HEAD,))
            sets.append(capture(teacher, samples, tmp_path / f"{seed}-{settings}", **settings))
        return sets, samples

    return of


def test_an_ensemble_hands_on_what_each_said(captured):
    members, samples = captured()
    both = Ensemble(members, agreement=True)
    some = torch.tensor([3, 17])
    read = both.aligned(samples).rows(some)["label"]
    alone = [member.aligned(samples).rows(some)["label"].values.float() for member in members]
    torch.testing.assert_close(read.members, torch.stack(alone))
    plain = Ensemble(members).aligned(samples).rows(some)["label"]
    torch.testing.assert_close(read.values, plain.values)
    assert plain.members is None
    assert both.fingerprint != Ensemble(members).fingerprint


def test_a_student_learns_from_them_as_a_loop_by_hand(captured):
    members, samples = captured()
    batch = samples.fetch(torch.arange(24))
    torch.manual_seed(7)
    student = MLP(3, [4], 5)
    by_hand = MLP(3, [4], 5)
    by_hand.load_state_dict(student.state_dict())
    train = limbeck.recipe.Train(
        epochs=3, batch_size=24, optimizer="SGD", learning_rate=0.5, schedule="constant"
    )
    limbeck.distil(student, samples, Ensemble(members, agreement=True), train=train)

    alone = torch.stack(
        [one.aligned(samples).rows(batch.index)["label"].values.float() for one in members]
    )
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.5)
    for _ in range(3):
        logits = by_hand(batch.inputs)
        gaps = ((logits / 4).softmax(-1) - alone.softmax(-1)).flatten(1).detach()
        first, second = gaps
        share = ((second - first) @ second / (second - first).square().sum()).clamp(0, 1)
        mixed = (share * alone[0].exp() + (1 - share) * alone[1].exp()).log() * 4
        optimizer.zero_grad()
        soft_targets(logits, mixed, temperature=4.0).mean().backward()
        optimizer.step()
    for one, other in zip(student.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_rows_that_name_some_classes_and_weights_of_ones_own_are_refused(captured):
    members, _ = captured(codec="topk", codec_options={"k": 2})
    with pytest.raises(OptionError, match="names only some of head label"):
        Ensemble(members, agreement=True)
    dense, _ = captured()
    with pytest.raises(OptionError, match="finds its own weights"):
        Ensemble(dense, weights=[1, 2], agreement=True)
    none = torch.zeros(1, 1)
    check_agreement({"label": Dense(values=none)}, stored="codec dense16")
    with pytest.raises(OptionError, match="codec topk names only some of head label"):
        check_agreement(
            {"label": Sparse(ids=none.long(), probabilities=none, tail=none[:, 0])},
            stored="codec topk",
        )
