"""FT, OFD and SemCKD: each is the loss of its card, by hand."""

import math
from statistics import NormalDist

import pytest
import torch
import torch.nn.functional as F

from limbeck.methods.features import FEATURE_METHODS
from limbeck.methods.features._method import Pair
from tests.methods.features.problem import (
    MAPS,
    batch_for,
    draw,
    images,
    student,
    teacher,
    term_of,
    values,
)

# ---- FT -----------------------------------------------------------------------------------------


def factors(rate=0.5, size=4):
    pair = Pair(student=(3, size, size), teacher=(6, 4, 4), num_samples=9)
    torch.manual_seed(2)
    return FEATURE_METHODS["ft"].make([pair], rate=rate).parts[0]


def convolved(maps, layers):
    """Through the convolutions among these layers, with a leaky ReLU where one follows."""
    for layer, after in zip(layers, [*layers, None][1:], strict=False):
        if isinstance(layer, torch.nn.Conv2d):
            maps = F.conv2d(maps, layer.weight, layer.bias, padding=1)
            maps = maps if after is None else torch.where(maps > 0, maps, maps / 10)
    return maps


def direction_gap(one, other):
    """Mean absolute difference of the two at length 1, of each row."""
    rows = [
        (a / a.square().sum().sqrt() - b / b.square().sum().sqrt()).abs().mean()
        for a, b in zip(one, other, strict=True)
    ]
    return torch.stack(rows)


def test_ft_compares_the_factors_and_draws_the_teachers_map_again():
    part, ours, theirs = factors(), draw(5, 3, 4, 4), draw(5, 6, 4, 4, seed=1)
    translated = convolved(ours, part.translator)
    factor = convolved(theirs, part.paraphraser)
    assert translated.shape == factor.shape == (5, 3, 4, 4)
    want = direction_gap(translated, factor)
    want = want + direction_gap(convolved(factor, part.decoder), theirs)
    torch.testing.assert_close(part(ours, theirs, images(range(5))), want)
    assert isinstance(part.decoder[-1], torch.nn.Conv2d)  # what it draws may be below 0


def test_ft_pools_factors_of_two_sizes_to_the_smaller():
    part, ours, theirs = factors(size=8), draw(5, 3, 8, 8), draw(5, 6, 4, 4, seed=1)
    factor = convolved(theirs, part.paraphraser)
    want = direction_gap(F.avg_pool2d(convolved(ours, part.translator), 2), factor)
    want = want + direction_gap(convolved(factor, part.decoder), theirs)
    torch.testing.assert_close(part(ours, theirs, images(range(5))), want)


def test_the_paraphraser_of_ft_does_not_give_way_to_the_student():
    """It learns to draw the teacher's map again, whatever the student's is."""
    slopes = []
    for seed in (0, 5):
        part = factors()
        part(
            draw(5, 3, 4, 4, seed=seed), draw(5, 6, 4, 4, seed=1), images(range(5))
        ).sum().backward()
        slopes.append([parameter.grad for parameter in part.paraphraser.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*slopes, strict=True))


@pytest.mark.parametrize(("rate", "channels"), [(0.5, 3), (1.0, 6), (0.01, 1)])
def test_a_factor_of_ft_has_a_share_of_the_teachers_channels(rate, channels):
    assert factors(rate).paraphraser[-2].out_channels == channels


def test_ft_costs_nine_convolutions_of_3_x_3():
    part = factors(1 / 3)  # 2 channels of a factor, of 3 and 6
    for layers, widths in (
        (part.translator, [(3, 3), (3, 2), (2, 2)]),
        (part.paraphraser, [(6, 6), (6, 2), (2, 2)]),
        (part.decoder, [(2, 2), (2, 6), (6, 6)]),
    ):
        convolutions = [each for each in layers if isinstance(each, torch.nn.Conv2d)]
        assert [(each.in_channels, each.out_channels) for each in convolutions] == widths
        assert {each.kernel_size for each in convolutions} == {(3, 3)}


# ---- OFD ----------------------------------------------------------------------------------------


def overhaul():
    pair = Pair(student=(3, 4, 4), teacher=(2, 4, 4), num_samples=9)
    torch.manual_seed(2)
    return FEATURE_METHODS["ofd"].make([pair])


def below_0(mean, deviation):
    """The mean of a Gaussian's values below 0."""
    standard = NormalDist()
    height = mean / deviation
    return mean - deviation * standard.pdf(height) / standard.cdf(-height)


def by_hand(part, ours, theirs, seen):
    """The loss of a stage, with margins of the batches that were seen."""
    weight = part.connector[0].weight[:, :, 0, 0]
    guess = torch.einsum("oc,nchw->nohw", weight, ours)
    guess = guess.detach()
    spread = guess.var(dim=(0, 2, 3), unbiased=False, keepdim=True)
    guess = (guess - guess.mean(dim=(0, 2, 3), keepdim=True)) / (spread + 1e-5).sqrt()
    total = torch.zeros(len(ours))
    for channel in range(theirs.shape[1]):
        kept = [batch[:, channel] for batch in seen]
        mean = sum(float(batch.mean()) for batch in kept) / len(kept)
        variance = sum(float(batch.var()) for batch in kept) / len(kept)
        margin = below_0(mean, math.sqrt(variance))
        for row in range(len(ours)):
            pairs = zip(guess[row, channel].flatten(), theirs[row, channel].flatten(), strict=True)
            for s, t in pairs:
                wanted = max(float(t), margin)
                if wanted > 0 or float(s) > wanted:
                    total[row] += (s - wanted) ** 2
    return total


def test_ofd_learns_its_margins_from_all_that_it_saw():
    module = overhaul()
    (part,) = module.stages
    seen = []
    for seed in (0, 7):
        ours, theirs = draw(5, 3, 4, 4, seed=seed), draw(5, 2, 4, 4, seed=seed + 1) * 2 - 0.5
        seen.append(theirs)
        got = module([ours], [theirs], images(range(5)))
        torch.testing.assert_close(got.detach(), by_hand(part, ours, theirs, seen))


def test_ofd_does_not_learn_from_what_it_is_only_looked_at_with():
    module = overhaul().eval()
    before = module.stages[0].seen.running_mean.clone()
    module([draw(5, 3, 4, 4)], [draw(5, 2, 4, 4)], images(range(5)))
    assert torch.equal(module.stages[0].seen.running_mean, before)


def test_a_stage_of_ofd_counts_half_of_the_one_after_it():
    who, whose = student(), teacher()
    term = term_of("ofd", who, whose)
    first, second = (
        part(*sides)
        for part, sides in zip(
            term.module.stages, zip(stages(who), stages(whose), strict=True), strict=True
        )
    )
    fresh = term_of("ofd", who, whose)
    got = values(fresh, who, whose, batch_for(who, range(6)))
    torch.testing.assert_close(got, first / 2 + second)


def stages(who):
    """What the two modules of `MAPS` give of six images."""
    model = getattr(who, "model", who)
    first = model.first(batch_for(who, range(6)).inputs)
    return first, model.second(F.avg_pool2d(first.tanh(), 2))


# ---- SemCKD -------------------------------------------------------------------------------------


def likeness(maps):
    """How alike each sample is to each: rows at length 1."""
    rows = [[float((a * b).sum()) for b in maps.detach()] for a in maps.detach()]
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]


def attention_by_hand(module, ours, theirs):
    """Of each sample, student layer and teacher layer."""
    mine, its = [likeness(layer) for layer in ours], [likeness(layer) for layer in theirs]
    batch = len(ours[0])
    found = torch.zeros(batch, len(ours), len(theirs))
    for row in range(batch):
        for i in range(len(ours)):
            for j in range(len(theirs)):
                product = sum(a * b for a, b in zip(mine[i][row], its[j][row], strict=True))
                sums = sum(mine[i][row]) * sum(its[j][row]) / batch
                of_product, of_sums = module.attention.of_product, module.attention.of_sums
                found[row, i, j] = of_product[i, j] * product + of_sums[i, j] * sums
    return found.exp() / found.exp().sum(2, keepdim=True)


@pytest.mark.parametrize("batch", [3, 6])
def test_semckd_weighs_every_pair_of_layers_by_what_they_have_in_common(batch):
    who, whose = student(), teacher()
    module = term_of("semckd", who, whose).module
    with torch.no_grad():
        for seed, numbers in enumerate(module.attention.parameters()):
            numbers.copy_(draw(2, 2, seed=seed) * 3)
    ours, theirs = ([part[:batch] for part in stages(one)] for one in (who, whose))
    attention = attention_by_hand(module, ours, theirs)
    want = torch.zeros(batch)
    for i, mine in enumerate(ours):
        for j, its in enumerate(theirs):
            size = min(mine.shape[2], its.shape[2])
            mine_there = F.adaptive_avg_pool2d(mine, size)
            gap = module.projections[i][j](mine_there) - F.adaptive_avg_pool2d(its, size)
            want = want + attention[:, i, j] * gap.square().mean((1, 2, 3)) / 2
    torch.testing.assert_close(module(ours, theirs, images(range(batch))), want)


def test_semckd_begins_with_most_attention_where_samples_are_alike():
    module = term_of("semckd", student(), teacher()).module
    first, second = draw(6, 3, 2, 2), draw(6, 4, 2, 2, seed=1)
    attention = module.attention([first, second], [second * 2, first * 3])
    assert (attention[:, 0, 1] > attention[:, 0, 0]).all()
    assert (attention[:, 1, 0] > attention[:, 1, 1]).all()


def test_semckd_has_a_projection_of_each_layer_to_each():
    module = term_of("semckd", student(), teacher(), taps=MAPS).module
    shapes = [
        [(one[0].in_channels, one[-1].out_channels) for one in row] for row in module.projections
    ]
    assert shapes == [[(3, 5), (3, 6)], [(4, 5), (4, 6)]]


def test_a_projection_of_semckd_is_twice_as_wide_as_the_teachers_map_with_relu_between():
    projection = term_of("semckd", student(), teacher()).module.projections[0][1]
    convolutions = [each for each in projection if isinstance(each, torch.nn.Conv2d)]
    widths = [(each.out_channels, each.kernel_size) for each in convolutions]
    assert widths == [(12, (1, 1)), (12, (3, 3)), (6, (1, 1))]
    first, middle, last = convolutions
    maps = draw(5, 3, 4, 4)
    want = F.batch_norm(first(maps), None, None, training=True).clamp_min(0)
    want = F.batch_norm(middle(want), None, None, training=True).clamp_min(0)
    torch.testing.assert_close(projection(maps), last(want))
