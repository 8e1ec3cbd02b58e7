import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from limbeck._errors import ModelError, OptionError
from limbeck.signals import Head
from limbeck.targets import make_codec
from limbeck.targets.codecs import _principal
from limbeck.targets.codecs._principal_basis import Sample


def coded(codec, values, head, state=None):
    state = codec.fit([values], head) if state is None else state
    arrays = codec.encode(values, head, state, np.zeros(len(values), dtype=np.uint64))
    assert codec.fault(arrays, head) is None
    return codec.decode(arrays, head, state, 1.0).values


def numbers(rows, size, seed=0):
    values = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))
    return values * 10.0 ** torch.linspace(-3, 3, size) + torch.linspace(-50, 50, size)


def low_rank(rows, size, rank, seed=0):
    mix = torch.randn(rank, size, generator=torch.Generator().manual_seed(99))
    scores = torch.randn(rows, rank, generator=torch.Generator().manual_seed(seed))
    return scores @ mix + 3.0


def head_of(size, space="real"):
    return Head(name="features", space=space, size=size)


def test_real16_is_float16_for_numbers_only():
    values = numbers(20, 6)
    back = coded(make_codec("real16", {}), values, head_of(6))
    assert torch.equal(back, values.half())
    with pytest.raises(OptionError, match=r"real16 is for numbers, got head features, which is"):
        make_codec("real16", {}).columns(head_of(6, "categorical"))


def test_real8_errs_by_half_a_step_of_each_channels_own_range():
    values = numbers(500, 6)
    back = coded(make_codec("real8", {}), values, head_of(6))
    seen = values.amax(0) - values.amin(0)
    assert ((back - values).abs() <= seen * 1.25 / 510 + 1e-5).all()


def test_real8_clips_to_the_range_it_saw_and_an_eighth():
    codec, head = make_codec("real8", {}), head_of(2)
    state = codec.fit([torch.tensor([[0.0, -1.0]]), torch.tensor([[8.0, 1.0]])], head)
    back = coded(codec, torch.tensor([[100.0, -100.0], [8.9, 0.0]]), head, state)
    torch.testing.assert_close(back[0], torch.tensor([9.0, -1.25]))
    assert float(back[1, 0]) == pytest.approx(8.9, abs=0.02)


def test_real8_keeps_a_channel_that_never_varies():
    values = torch.tensor([[3.25, 0.0], [3.25, 1.0]])
    back = coded(make_codec("real8", {}), values, head_of(2))
    assert back[:, 0].tolist() == [3.25, 3.25]


def test_real8_is_for_numbers():
    with pytest.raises(OptionError, match=r"real8 is for numbers, got head features, which is"):
        make_codec("real8", {}).columns(head_of(3, "binary"))


@pytest.fixture(params=[2048, 2], ids=["few numbers", "many numbers"])
def many(request, monkeypatch):
    """From how many numbers on directions are found among rows."""
    monkeypatch.setattr(_principal, "_MANY", request.param)
    if request.param == 2:
        monkeypatch.setattr(_principal, "Sample", lambda size, most: Sample(size, 400))


def test_principal_needs_as_many_directions_as_rows_differ_in(many):
    values, others = low_rank(400, 40, 6), low_rank(50, 40, 6, seed=1)
    spread = values.std()
    for components, exact in ((6, True), (5, False)):
        codec = make_codec("principal", {"components": components, "step": 1e-3})
        state = codec.fit([values], head_of(40))
        error = (coded(codec, others, head_of(40), state) - others).square().mean().sqrt()
        assert (float(error / spread) < 1e-3) == exact


def test_principal_spends_its_error_evenly(many):
    values = low_rank(2000, 20, 8)
    codec, head = make_codec("principal", {"components": 8, "step": 0.2}), head_of(20)
    state = codec.fit([values], head)
    back = coded(codec, values, head, state)
    variance = float(values.var(dim=0, unbiased=False).mean())
    error = (back - values).double()
    expected = 0.2**2 / 12 * variance * 8  # of a row: each of 8 directions
    assert float(error.square().sum(-1).mean()) == pytest.approx(expected, rel=0.1)


def test_principal_of_log_probabilities_errs_by_the_stated_divergence(many):
    logits = low_rank(3000, 30, 4) * 0.5
    log_p, head = logits.log_softmax(-1), head_of(30, "categorical")
    for step in (0.05, 0.2):
        back = coded(make_codec("principal", {"step": step}), log_p, head)
        kl = (log_p.exp() * (log_p - back)).double().sum(-1).mean()
        # 4 directions, and one more that the normaliser of each row bends them into.
        assert 4 * step**2 / 24 * 0.7 < float(kl) < 8 * step**2 / 24
        torch.testing.assert_close(back.exp().sum(-1), torch.ones(3000), rtol=0, atol=1e-5)


def test_searched_steps_are_cheaper_in_divergence_and_bits_together(many):
    logits = low_rank(1000, 30, 6)
    log_p, head = logits.log_softmax(-1), head_of(30, "categorical")
    state = make_codec("principal", {}).fit([log_p], head)
    found = {}
    for cost in (0.0, 1e-3, 1e-2):
        codec = make_codec("principal", {"step": 0.2, "cost": cost})
        arrays = codec.encode(log_p, head, state, np.zeros(1000))
        back = codec.decode(arrays, head, state, 1.0).values
        low = np.concatenate([arrays[name] for name in arrays if name != "high"], axis=1)
        entropy = 0.0
        for column in low.T:
            share = np.bincount(column) / len(column)
            entropy -= (share[share > 0] * np.log2(share[share > 0])).sum()
        kl = float((log_p.exp() * (log_p - back)).double().sum(-1).mean())
        found[cost] = kl, float(entropy)
    assert found[1e-3][0] < 0.7 * found[0.0][0]
    assert found[1e-2][1] < found[1e-3][1] < found[0.0][1]


def steps_of(arrays):
    """Signed coefficients of stored parts, `(rows, directions)`, by the format's own words."""
    low = np.concatenate([part for name, part in arrays.items() if name != "high"], axis=1)
    folded = low.astype(int) + 256 * arrays["high"].astype(int)
    return np.where(folded % 2, -(folded + 1) // 2, folded // 2)


@pytest.mark.parametrize("space", ["real", "categorical"])
def test_coefficients_are_products_with_the_directions_summed_a_few_numbers_at_a_time(
    many, space, monkeypatch
):
    monkeypatch.setattr(_principal, "_DOUBLED", 150)  # of 10 directions, 15 numbers
    values, head = low_rank(40, 100, 12), head_of(100, space)
    values = values.log_softmax(-1) if space == "categorical" else values
    codec = make_codec("principal", {"components": 10, "step": 0.01})
    state = codec.fit([values], head)
    learned = {name: tensor.double().numpy() for name, tensor in state.items()}
    if "directions" in learned:
        analysis = (learned["directions"] * learned["scale"]).T
        basis = learned["directions"] / learned["scale"]
    else:
        analysis, basis = learned["analysis"], learned["basis"]
    taken = values.clamp_min(-20) if space == "categorical" else values
    exact = (taken.double().numpy() - learned["mean"]) @ analysis / 0.01
    arrays = codec.encode(values, head, state, np.zeros(40))
    steps = steps_of(arrays)
    assert np.abs(steps - exact).max() <= 0.5 + 1e-6
    said = torch.from_numpy(learned["mean"] + 0.01 * steps @ basis)
    said = said.log_softmax(-1) if space == "categorical" else said
    back = codec.decode(arrays, head, state, 1.0).values
    torch.testing.assert_close(back.double(), said, rtol=1e-5, atol=1e-5)
    for row in range(40):
        alone = codec.encode(values[row : row + 1], head, state, np.zeros(1))
        assert (steps_of(alone) == steps[row]).all()


def test_what_follows_from_a_state_is_made_once_and_goes_with_it():
    values, codec, head = low_rank(30, 3000, 4), make_codec("principal", {}), head_of(3000)
    state = codec.fit([values], head)
    again = [(values, head, state, np.zeros(30))] * 8
    first = codec.encode(*again[0])
    wide = _principal._wide(state["directions"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: codec.encode(*rows), again))
    assert all((each[name] == first[name]).all() for each in found for name in first)
    codec.decode(first, head, state, 1.0)
    assert _principal._wide(state["directions"]) is wide
    gone = weakref.ref(wide)
    del wide, state, again
    gc.collect()
    assert gone() is None


def test_a_search_never_ends_worse_than_it_began():
    log_p, head = low_rank(300, 12, 5).log_softmax(-1), head_of(12, "categorical")
    codec = make_codec("principal", {"step": 0.3, "cost": 1e-9})
    nearest = make_codec("principal", {"step": 0.3})
    state = codec.fit([log_p], head)
    basis = state["basis"].double()
    p = log_p.double().exp()
    quadratic = []
    for each in (nearest, codec):
        steps = each._steps(log_p.double(), head, {n: t.double() for n, t in state.items()})
        exact = (log_p.double() - state["mean"]) @ state["analysis"].double()
        error = (exact - 0.3 * steps) @ basis
        quadratic.append((p * error.square()).sum(-1) - (p * error).sum(-1).square())
    assert (quadratic[1] <= quadratic[0] + 1e-9).all()


def test_what_is_learned_is_the_same_in_any_pieces():
    values, codec, head = low_rank(300, 10, 4), make_codec("principal", {}), head_of(10)
    values[:100] += 5.0
    whole = codec.fit([values], head)
    pieces = codec.fit([values[:100], values[100:140], values[140:]], head)
    for name, directions in (("analysis", 1), ("basis", 0), ("spread", 0)):
        some, all_ = (state[name].narrow(directions, 0, 4) for state in (pieces, whole))
        torch.testing.assert_close(some, all_, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(pieces["mean"], whole["mean"])
    projected = ((values - values.mean(0)) @ whole["analysis"]).std(0, unbiased=False)
    torch.testing.assert_close(whole["spread"][:4], projected[:4], rtol=1e-3, atol=1e-4)


def test_of_many_numbers_the_directions_are_those_of_a_decomposition_of_scaled_rows():
    logits = low_rank(500, 3000, 5) + torch.linspace(0, 3, 3000)
    log_p, head = logits.log_softmax(-1), head_of(3000, "categorical")
    codec = make_codec("principal", {"components": 4})
    state = codec.fit([log_p], head)
    assert codec.state_fault(state, head) is None
    scale = log_p.double().exp().mean(0).sqrt()
    torch.testing.assert_close(state["scale"].double(), scale, rtol=1e-4, atol=0)
    cut = log_p.double().clamp_min(-20)  # what is less likely is taken as that
    scaled = (cut - cut.mean(0)) * scale
    _, strength, directions = torch.linalg.svd(scaled, full_matrices=False)
    torch.testing.assert_close(
        state["spread"].double(), strength[:4] / 500**0.5, rtol=1e-3, atol=1e-6
    )
    overlap = (state["directions"].double() @ directions[:4].T).abs()
    torch.testing.assert_close(overlap, torch.eye(4).double(), rtol=0, atol=3e-3)

    arrays = codec.encode(log_p, head, state, np.zeros(500))
    steps = ((scaled @ directions[:4].T) / 0.07).abs()
    low = np.stack([arrays["low_0"][:, k] for k in range(4)], axis=1).astype(int)
    found = (low + 1) // 2 + 128 * arrays["high"].astype(int)
    assert np.abs(found - steps.numpy()).max() < 0.6
    spoiled = state | {"scale": torch.zeros(3000)}
    assert codec.state_fault(spoiled, head) == "scale holds a number that is not above 0"
    assert "expected analysis, basis" in str(
        make_codec("principal", {}).state_fault(state, head_of(9))
    )


def test_of_many_numbers_directions_in_which_rows_do_not_differ_are_none():
    """But for the rounding of float32, which is no direction to keep, nor to divide by."""
    values, codec, head = low_rank(200, 3000, 2), make_codec("principal", {}), head_of(3000)
    state = codec.fit([values], head)
    torch.testing.assert_close(
        state["directions"][:2].float().norm(dim=-1), torch.ones(2), rtol=1e-3, atol=0
    )
    assert state["spread"][:2].min() > 0.1
    assert not state["directions"][2:].any()
    assert not state["spread"][2:].any()


def test_of_more_rows_than_are_kept_each_is_as_likely_and_pieces_do_not_matter():
    rows = torch.arange(2000.0)[:, None].expand(-1, 3)
    whole, pieces = Sample(3, 400), Sample(3, 400)
    whole.add(rows)
    for piece in rows.split(7):
        pieces.add(piece)
    assert whole._kept.equal(pieces._kept)
    kept = whole._kept[:, 0]
    assert len(kept.unique()) == 400
    by_quarter = torch.histc(kept, 4, 0, 2000)  # 100 of each, and 8.7 the standard deviation
    assert (by_quarter - 100).abs().max() < 4 * 8.7


def test_principal_clips_far_rows_and_stays_finite(many):
    codec, head = make_codec("principal", {"step": 1e-3, "components": 2}), head_of(3)
    state = codec.fit([low_rank(100, 3, 2)], head)
    back = coded(codec, torch.full((1, 3), 1e30), head, state)
    assert torch.isfinite(back).all()


def padded(log_p, classes):
    """The same rows of a vocabulary with so many more classes, the fifth among them, of none."""
    nothing = torch.full((len(log_p), classes), -torch.inf)
    return torch.cat([log_p[:, :4], nothing[:, :1], log_p[:, 4:], nothing[:, 1:]], dim=-1)


@pytest.mark.parametrize("options", [{}, {"components": 3}, {"cost": 1e-3}])
def test_classes_of_no_probability_in_any_row_are_left_out(many, options):
    log_p = (low_rank(400, 20, 4) * 0.5).log_softmax(-1)
    codec, head, large = make_codec("principal", options), head_of(20, "categorical"), 28
    rows, wider = padded(log_p, 8), head_of(large, "categorical")
    state, alone = codec.fit(rows.split(70), wider), codec.fit(log_p.split(70), head)
    assert codec.state_fault(state, wider) is None
    none = torch.isneginf(rows[0])
    assert torch.isneginf(state["mean"]).equal(none)
    torch.testing.assert_close(state["mean"][~none], alone["mean"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state["spread"][:3], alone["spread"][:3], rtol=1e-4, atol=1e-5)
    directions = "directions" if "directions" in state else "basis"
    torch.testing.assert_close(
        state[directions][:3, ~none], alone[directions][:3], rtol=1e-2, atol=1e-3
    )
    assert not state[directions][:, none].any()
    back = coded(codec, rows, wider, state)
    assert torch.isneginf(back[:, none]).all()
    torch.testing.assert_close(back.exp().sum(-1), torch.ones(400), rtol=0, atol=1e-5)
    p = log_p.double().exp()
    lost = [
        float((p * (log_p - each)).sum(-1).mean())
        for each in (back[:, ~none], coded(codec, log_p, head, alone))
    ]
    assert lost[0] == pytest.approx(lost[1], rel=0.02)


def test_a_class_that_has_probability_in_some_rows_only_is_refused(many):
    codec, head = make_codec("principal", {"components": 3}), head_of(12, "categorical")
    rows = padded((low_rank(40, 10, 3) * 0.5).log_softmax(-1), 2)
    state = codec.fit([rows], head)
    with_mass, without = rows.clone(), rows.clone()
    with_mass[7, 11] = -3.0
    without[7, 2] = -torch.inf
    for odd, which in ((with_mass, 11), (without, 2)):
        message = (
            f"gives class {which} of head features the probability 0 in some rows and not in "
            "others. Use codec sqrt8, selected or threshold."
        )
        with pytest.raises(ModelError, match=message):
            codec.encode(odd, head, state, np.zeros(40))
        with pytest.raises(ModelError, match=message):
            codec.fit([rows, odd], head)
        with pytest.raises(ModelError, match=message):
            codec.fit([odd], head)


def test_a_mean_that_is_not_finite_is_one_of_a_class_that_there_is_not(many):
    codec, log_p = make_codec("principal", {}), low_rank(30, 5, 3).log_softmax(-1)
    state = codec.fit([log_p], head_of(5, "categorical"))
    for mean, space, fault in (
        ([0.0, -torch.inf, 0.0, 0.0, 0.0], "categorical", None),
        ([-torch.inf] * 5, "categorical", "mean leaves no class"),
        ([0.0, torch.inf, 0.0, 0.0, 0.0], "categorical", "mean holds a number that is not finite"),
        ([0.0, -torch.inf, 0.0, 0.0, 0.0], "real", "mean holds a number that is not finite"),
    ):
        said = {**state, "mean": torch.tensor(mean)}
        assert codec.state_fault(said, head_of(5, space)) == fault


def test_principal_of_rows_that_never_differ_is_their_mean(many):
    values = torch.tensor([[1.0, 2.0, 3.0]]).expand(5, -1)
    torch.testing.assert_close(coded(make_codec("principal", {}), values, head_of(3)), values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, r"components of codec principal must be a whole number from 1, got 0"),
        ({"components": 2.5}, r"components of codec principal"),
        ({"step": 0.0}, r"step of codec principal must be above 0, got 0"),
        ({"step": "x"}, r"step of codec principal"),
        ({"cost": -1.0}, r"cost of codec principal must be 0 or more, got -1"),
    ],
)
def test_principal_refuses_options_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        make_codec("principal", options)


def test_principal_is_not_for_yes_or_no_nor_for_too_many():
    codec = make_codec("principal", {})
    with pytest.raises(OptionError, match=r"which is binary\. Use codec sqrt8"):
        codec.columns(head_of(3, "binary"))
    with pytest.raises(OptionError, match=r"at most 65536 numbers, got the 65537 .* codec real8"):
        codec.columns(head_of(65537))
    with pytest.raises(OptionError, match=r"at most 65536 .* codec threshold"):
        codec.columns(head_of(65537, "categorical"))
