"""Each feature method is the loss of its card, with what it learns in its place."""

import math

import pytest
import torch
import torch.nn.functional as F

from limbeck import losses
from limbeck._errors import DataError, OptionError, ShapeError
from limbeck.losses import features as of
from limbeck.methods import check_features, objective, only_from_labels
from limbeck.methods._methods import read_options
from limbeck.methods.features import FEATURE_METHODS
from limbeck.methods.features._contrast import contrast
from limbeck.methods.features._method import Pair
from limbeck.methods.features._shapes import vectors
from limbeck.signals import Batch, Dense
from tests.methods.features.problem import (
    KEPT,
    LABEL,
    MAPS,
    TAKES,
    Tokens,
    batch_for,
    draw,
    pair_for,
    student,
    teacher,
    term_of,
    texts,
    values,
)

FIRST = [("first", "first")]


def inside(who, path, index=range(6)):
    """What a student's or teacher's module gives, found without a tap."""
    model = getattr(who, "model", who)
    x = batch_for(who, index).inputs
    first = model.first(x)
    if path == "first":
        return first
    return model.second(F.avg_pool2d(first.tanh(), 2))


def found(name, *, taps=FIRST, **options):
    who, whose = student(), teacher()
    term = term_of(name, who, whose, taps=taps, **options)
    return term.module.parts[0], values(term, who, whose, batch_for(who, range(6)))


# ---- formulas -----------------------------------------------------------------------------------


def test_fitnets_regresses_each_position():
    part, got = found("fitnets")
    weight = part.regressor.layer.weight[:, :, 0, 0]
    guess = torch.einsum("oc,nchw->nohw", weight, inside(student(), "first"))
    guess = guess + part.regressor.layer.bias[:, None, None]
    want = (guess - inside(teacher(), "first")).square().mean((1, 2, 3))
    torch.testing.assert_close(got, want)


def test_maps_of_two_sizes_are_pooled_to_the_smaller():
    _, got = found("at", taps=[("first", "second")])
    pooled = F.avg_pool2d(inside(student(), "first"), 2)
    torch.testing.assert_close(got, of.attention_transfer(pooled, inside(teacher(), "second")))


def test_outside_of_training_all_taps_are_there():
    who, whose, batch = student(), teacher(), batch_for(student(), range(6))
    each = [values(term_of("at", who, whose, taps=[tap]), who, whose, batch) for tap in MAPS]
    together = term_of("at", who, whose, taps=MAPS, progressive=0.5)
    torch.testing.assert_close(values(together, who, whose, batch), each[0] + each[1])


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("at", of.attention_transfer),
        ("sp", of.similarity_preserving),
        ("nst", of.neuron_selectivity),
        ("cka", of.linear_cka_distance),
        (
            "cc",
            lambda s, t: of.correlation_congruence(
                s.mean((2, 3)), t.mean((2, 3)), sharpness=0.4, order=2
            ),
        ),
        ("pkt", lambda s, t: of.probabilistic_transfer(s.mean((2, 3)), t.mean((2, 3)))),
        (
            "rkd",
            lambda s, t: (
                25 * of.relational_distance(s.mean((2, 3)), t.mean((2, 3)))
                + 50 * of.relational_angle(s.mean((2, 3)), t.mean((2, 3)))
            ),
        ),
    ],
)
def test_what_learns_nothing_is_its_loss(name, want):
    part, got = found(name)
    assert not list(part.parameters())
    assert not list(part.buffers())
    torch.testing.assert_close(got, want(inside(student(), "first"), inside(teacher(), "first")))


def test_vid_begins_with_the_variance_of_its_option():
    for first in (5.0, 0.5, 800.0):
        part, got = found("vid", first_variance=first)
        mean = part.mean(inside(student(), "first"))
        error = (mean - inside(teacher(), "first")).square().mean((1, 2, 3))
        torch.testing.assert_close(got, (error / first + math.log(first)) / 2)


def test_vid_gives_the_mean_by_three_convolutions_with_relu_between():
    part, _ = found("vid")
    maps = want = inside(student(), "first")
    convolutions = [each for each in part.mean.modules() if isinstance(each, torch.nn.Conv2d)]
    assert [each.kernel_size for each in convolutions] == [(1, 1)] * 3
    for place, convolution in enumerate(convolutions):
        want = convolution(want.clamp_min(0) if place else want)
    torch.testing.assert_close(part.mean(maps), want)


def test_cwd_learns_a_convolution_only_where_channels_differ():
    part, got = found("cwd")
    want = of.channel_wise(part.align(inside(student(), "first")), inside(teacher(), "first"))
    torch.testing.assert_close(got, want)  # at the temperature of 4 that is the loss's own
    assert list(part.parameters())
    alike = Pair(student=(3, 4, 4), teacher=(3, 4, 4), num_samples=9)
    assert not list(FEATURE_METHODS["cwd"].make([alike], map_temperature=1.0).parameters())


def test_ab_compares_what_the_connector_gives_with_the_teachers_signs():
    part, got = found("ab")
    ours = part.connector(inside(student(), "first"))
    want = of.activation_boundaries(ours, inside(teacher(), "first"), margin=1.0)
    torch.testing.assert_close(got, want)


def test_mgd_generates_from_what_is_not_masked():
    who, whose = student(), teacher()
    term = term_of("mgd", who, whose, taps=FIRST, mask_ratio=0.5)
    (part,) = term.module.parts
    torch.manual_seed(3)
    got = values(term, who, whose, batch_for(who, range(6)))
    aligned = part.align(inside(who, "first"))
    torch.manual_seed(3)
    kept = (torch.rand(6, 5, 1, 1) >= 0.5).float()
    want = (part.generator(aligned * kept) - inside(whose, "first")).square().sum((1, 2, 3))
    torch.testing.assert_close(got, want)
    assert not torch.equal(values(term, who, whose, batch_for(who, range(6))), got)


def test_fsp_is_the_flow_between_neighbouring_taps():
    who, whose = student(), teacher()
    term = term_of("fsp", who, whose)
    ours = [term.module.align[place](inside(who, path)) for place, (path, _) in enumerate(MAPS)]
    theirs = [inside(whose, path) for _, path in MAPS]
    ours[0], theirs[0] = F.avg_pool2d(ours[0], 2), F.avg_pool2d(theirs[0], 2)
    want = of.flow_of_solution(*ours, *theirs)
    torch.testing.assert_close(values(term, who, whose, batch_for(who, range(6))), want)


# ---- transformers -------------------------------------------------------------------------------


def states(who):
    """What both modules give of six texts."""
    model = getattr(who, "model", who)
    first = model.first(texts(range(6)).inputs["input_ids"])
    return first, model.second(first.tanh())


def test_pkd_compares_the_directions_of_first_tokens_layer_by_layer():
    who, whose = student(Tokens), teacher(Tokens)
    term = term_of("pkd", who, whose)
    want = 0.0
    for align, ours, theirs in zip(term.module.align, states(who), states(whose), strict=True):
        one, other = F.normalize(align(ours[:, 0]), dim=1), F.normalize(theirs[:, 0], dim=1)
        want = want + (one - other).square().sum(1)
    torch.testing.assert_close(values(term, who, whose, texts(range(6))), want)


def test_minilm_compares_attention_and_values_of_tokens_that_count():
    queries, keys, found_values = (draw(3, 5, 4, seed=seed) for seed in range(3))
    theirs = [draw(3, 5, 6, seed=seed) for seed in range(3, 6)]
    pairs = [Pair(student=(5, 4), teacher=(5, 6), num_samples=9)] * 3
    module = FEATURE_METHODS["minilm"].make(pairs, relation_heads=2)
    got = module([queries, keys, found_values], theirs, texts(range(3)))

    def heads(part):
        return torch.stack(part.chunk(2, dim=2), dim=1)

    mask = KEPT[:3]
    want = of.attention_relations(
        heads(queries), heads(keys), heads(theirs[0]), heads(theirs[1]), mask=mask
    )
    want = want + of.value_relations(heads(found_values), heads(theirs[2]), mask=mask)
    torch.testing.assert_close(got, want.sum(1) / mask.sum(1))
    one = FEATURE_METHODS["minilm"].make(pairs, relation_heads=1)
    assert (one([queries, keys, found_values], theirs, texts(range(3))) - got).abs().max() > 1e-4


def test_minilm_is_refused_other_taps_than_queries_keys_and_values():
    pair = Pair(student=(5, 4), teacher=(5, 6), num_samples=9)
    with pytest.raises(OptionError, match="relation_heads = 4 must divide the width of every tap"):
        FEATURE_METHODS["minilm"].make([pair] * 3, relation_heads=4)
    weights = {"hard_weight": 0.0, "soft_weight": 1.0, "feature_weight": None}
    check_features("minilm", [("a", "b")] * 3, **weights)
    for count in (1, 2, 4):
        with pytest.raises(OptionError, match=f"takes exactly 3 taps, got {count}"):
            check_features("minilm", [("a", "b")] * count, **weights)


def test_tinybert_compares_scores_and_states_of_tokens_that_count_layer_by_layer():
    ours = [draw(3, 5, 4, seed=seed) for seed in range(6)]
    theirs = [draw(3, 5, 6, seed=seed) for seed in range(6, 12)]
    pairs = [Pair(student=(5, 4), teacher=(5, 6), num_samples=9)] * 6
    module = FEATURE_METHODS["tinybert"].make(pairs, heads=2, attention_weight=0.7)
    got = module(ours, theirs, texts(range(3)))

    def score(queries, keys, width, row, head, one, other):
        part = slice(head * width, head * width + width)
        return float(queries[row, one, part] @ keys[row, other, part]) / math.sqrt(width)

    want = torch.zeros(3)
    for row, kept in enumerate(KEPT[:3]):
        counting = [place for place in range(5) if kept[place]]
        for layer in (0, 3):
            guess = module.projections[layer // 3](ours[layer + 2][row])
            gaps = [(guess[one] - theirs[layer + 2][row, one]).square().mean() for one in counting]
            want[row] += sum(gaps) / len(counting)
            for head in range(2):
                for one in counting:
                    for other in counting:
                        at = (row, head, one, other)
                        gap = score(*ours[layer : layer + 2], 2, *at)
                        gap -= score(*theirs[layer : layer + 2], 3, *at)
                        want[row] += 0.7 * gap**2 / len(counting) ** 2 / 2
    torch.testing.assert_close(got, want)
    one = FEATURE_METHODS["tinybert"].make(pairs, heads=1, attention_weight=0.7)
    one.load_state_dict(module.state_dict())
    assert (one(ours, theirs, texts(range(3))) - got).abs().max() > 1e-4


def test_tinybert_scores_all_tokens_where_nothing_is_padding():
    ours, theirs = ([draw(3, 5, 4, seed=seed + at) for seed in range(3)] for at in (0, 3))
    pairs = [Pair(student=(5, 4), teacher=(5, 4), num_samples=9)] * 3
    module = FEATURE_METHODS["tinybert"].make(pairs, heads=1, attention_weight=1.0)
    batch = Batch(inputs=torch.arange(3), labels={}, index=torch.arange(3))
    mine, its = (side[0] @ side[1].mT / 2 for side in (ours, theirs))
    want = (mine - its).square().mean((1, 2))
    want = want + (module.projections[0](ours[2]) - theirs[2]).square().mean((1, 2))
    torch.testing.assert_close(module(ours, theirs, batch), want)


def test_tinybert_is_refused_other_taps_than_three_for_each_layer():
    pairs = [Pair(student=(5, 4), teacher=(5, 6), num_samples=9)] * 3
    with pytest.raises(OptionError, match="heads = 4 must divide the width of every tap"):
        FEATURE_METHODS["tinybert"].make(pairs, heads=4, attention_weight=1.0)
    states = [*pairs[:2], Pair(student=(5, 3), teacher=(5, 7), num_samples=9)]
    FEATURE_METHODS["tinybert"].make(states, heads=2, attention_weight=1.0)
    with pytest.raises(OptionError, match=r"its queries, its keys and its states. Got 4\."):
        FEATURE_METHODS["tinybert"].make([*pairs, pairs[0]], heads=2, attention_weight=1.0)


def test_distilbert_compares_the_directions_of_tokens_that_count():
    who, whose = student(Tokens), teacher(Tokens)
    term = term_of("distilbert", who, whose, taps=[("second", "second")])
    (part,) = term.module.parts
    ours, theirs = part.align(states(who)[1]), states(whose)[1]
    want = [
        sum(
            1 - F.cosine_similarity(a, b, dim=0) for a, b in zip(mine[kept], its[kept], strict=True)
        )
        / kept.sum()
        for mine, its, kept in zip(ours, theirs, KEPT, strict=False)
    ]
    torch.testing.assert_close(values(term, who, whose, texts(range(6))), torch.stack(want))
    alike = Pair(student=(5, 4), teacher=(5, 4), num_samples=9)
    assert not list(FEATURE_METHODS["distilbert"].make([alike]).parameters())


# ---- several taps -------------------------------------------------------------------------------


def test_several_taps_are_summed():
    who, whose = student(), teacher()
    both, one, other = (
        values(term_of("at", who, whose, taps=taps), who, whose, batch_for(who, range(6)))
        for taps in (MAPS, MAPS[:1], MAPS[1:])
    )
    torch.testing.assert_close(both, one + other)


def test_one_tap_of_the_teacher_may_stand_beside_two_of_the_student():
    who, whose = student(), teacher()
    taps = [("first", "second"), ("second", "second")]
    got = values(term_of("at", who, whose, taps=taps), who, whose, batch_for(who, range(6)))
    each = [
        values(term_of("at", who, whose, taps=[tap]), who, whose, batch_for(who, range(6)))
        for tap in taps
    ]
    torch.testing.assert_close(got, each[0] + each[1])


def test_the_vector_of_tokens_is_the_mean_of_those_that_count():
    states = draw(6, 5, 3)
    got = vectors(states, texts(range(6)))
    for row, kept, vector in zip(states, KEPT, got, strict=False):
        torch.testing.assert_close(vector, row[kept].mean(0))


def test_tokens_that_differ_in_number_are_refused():
    pair = Pair(student=(5, 3), teacher=(4, 3), num_samples=9)
    module = FEATURE_METHODS["fitnets"].make([pair])
    with pytest.raises(ShapeError, match="as many tokens"):
        module([draw(2, 5, 3)], [draw(2, 4, 3)], texts(range(2)))


# ---- ReviewKD -----------------------------------------------------------------------------------


def test_review_learns_an_early_stage_of_the_teacher_from_a_late_one_of_the_student():
    who, whose = student(), teacher()
    term = term_of("reviewkd", who, whose)
    first, last = term.module.fusions
    _, later = last(inside(who, "second"), None)
    said, _ = first(inside(who, "first").detach(), later)
    of.hierarchical_context(said, inside(whose, "first")).sum().backward()
    assert who.second.weight.grad.any()


def test_review_is_the_sum_of_its_stages():
    who, whose = student(), teacher()
    term = term_of("reviewkd", who, whose)
    first, last = term.module.fusions
    theirs, later = last(inside(who, "second"), None)
    want = of.hierarchical_context(theirs, inside(whose, "second"))
    fused, up = first.inner(inside(who, "first")), F.interpolate(later, (6, 6), mode="nearest")
    shares = torch.sigmoid(first.attention(torch.cat([fused, up], 1)))
    said = first.outer(fused * shares[:, :1] + up * shares[:, 1:])
    want = want + of.hierarchical_context(said, inside(whose, "first"))
    torch.testing.assert_close(values(term, who, whose, batch_for(who, range(6))), want)


def test_review_takes_two_taps_or_more_and_no_more_channels_than_the_student_has():
    pairs = [Pair(student=(c, 4, 4), teacher=(9, 4, 4), num_samples=9) for c in (3, 6)]
    for channels, middle in ((512, 6), (2, 2)):
        module = FEATURE_METHODS["reviewkd"].make(pairs, channels=channels)
        assert module.fusions[0].inner[0].out_channels == middle
    assert module.fusions[1].attention is None


# ---- CRD ----------------------------------------------------------------------------------------


def memory(num_samples=20, **options):
    read = read_options("crd", options).model_dump()
    pair = Pair(student=(4,), teacher=(6,), num_samples=num_samples)
    torch.manual_seed(1)
    return contrast.make([pair], **read).parts[0]


def step(part, index, seed=0):
    index = torch.as_tensor(index)
    batch = Batch(inputs=index, labels={}, index=index)
    return part(draw(len(index), 4, seed=seed), draw(len(index), 6, seed=seed + 1), batch)


def test_crd_remembers_the_samples_that_it_saw_and_no_others():
    part = memory(momentum=0.9)
    before = {side: getattr(part, f"{side}_memory").clone() for side in ("student", "teacher")}
    step(part, [3, 17])
    for side, inputs in (("student", draw(2, 4)), ("teacher", draw(2, 6, seed=1))):
        now = getattr(part, f"{side}_memory")
        others = [each for each in range(20) if each not in (3, 17)]
        assert torch.equal(now[others], before[side][others])
        seen = F.normalize(getattr(part, f"embed_{side}")(inputs), dim=1)
        want = F.normalize(0.9 * before[side][[3, 17]] + 0.1 * seen, dim=1)
        torch.testing.assert_close(now[[3, 17]], want)


def test_what_crd_begins_to_remember_with_has_the_length_1_about():
    part = memory(num_samples=500)
    for rows in (part.student_memory, part.teacher_memory):
        assert float(rows.norm(dim=1).mean()) == pytest.approx(1, abs=0.02)


def test_crd_does_not_remember_what_it_is_only_looked_at_with():
    part = memory().eval()
    before = part.student_memory.clone()
    step(part, [3, 17])
    assert torch.equal(part.student_memory, before)


def test_crd_is_its_loss_in_both_directions_with_a_normaliser_of_the_first_batch():
    part = memory(negatives=99)
    others = [each for each in range(20) if each not in (3, 17)]
    how = {"num_memory": 20, "temperature": 0.07}
    ours, theirs = part.embed_student(draw(2, 4)), part.embed_teacher(draw(2, 6, seed=1))
    want = 0.0
    for one, other, side in ((ours, theirs, "teacher"), (theirs, ours, "student")):
        negatives = getattr(part, f"{side}_memory")[others].expand(2, -1, -1)
        log_z = of.contrastive_log_normaliser(one, other, negatives, **how)
        want = want + of.contrastive_representation(
            one, other, negatives, log_normaliser=log_z, **how
        )
    torch.testing.assert_close(step(part, [3, 17]), want)
    kept = part.log_normalisers.clone()
    step(part, [1, 2], seed=5)
    assert torch.equal(part.log_normalisers, kept)


def test_crd_draws_its_negatives_anew_from_outside_the_batch():
    part = memory(negatives=6)
    torch.manual_seed(0)
    drawn = [set(part._others(torch.tensor([3, 17])).tolist()) for _ in range(30)]
    assert {len(each) for each in drawn} == {6}
    assert set.union(*drawn) == set(range(20)) - {3, 17}
    assert len({frozenset(each) for each in drawn}) > 20


def test_crd_needs_a_sample_outside_the_batch():
    with pytest.raises(DataError, match=r"there is none. Take a smaller train.batch_size"):
        step(memory(num_samples=2), [0, 1])


def test_crd_is_refused_to_several_processes(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(OptionError, match="several processes cannot share yet"):
        memory()


# ---- options ------------------------------------------------------------------------------------


OTHERWISE = {
    "rkd": {"distance_weight": 3.0, "angle_weight": 3.0},
    "vid": {"first_variance": 0.7},
    "cc": {"sharpness": 2.0, "order": 3},
    "ab": {"margin": 0.2},
    "mgd": {"mask_ratio": 0.9},
    "cwd": {"map_temperature": 0.5},
    "crd": {"negatives": 3, "embedding": 8, "contrast_temperature": 0.5, "momentum": 0.9},
    "reviewkd": {"channels": 2},
    "ft": {"rate": 1.0},
    "srrl": {"features_weight": 3.0, "logits_weight": 3.0},
    "catkd": {"resolution": 3},
}
"""Options that are not the default."""


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in OTHERWISE for option in OTHERWISE[name]]
)
def test_each_option_moves_the_loss(name, option):
    who, whose = student(), teacher()
    taps = MAPS if name == "reviewkd" else TAKES.get(name, FIRST)
    got = []
    for options in ({}, {option: OTHERWISE[name][option]}):
        term = term_of(name, who, whose, taps=taps, **options)
        torch.manual_seed(0)
        values(term, who, whose, batch_for(who, range(6)))  # momentum shows in the second
        got.append(values(term, who, whose, batch_for(who, range(4, 10))))
    assert (got[0] - got[1]).abs().max() > 1e-5


def test_every_option_of_every_method_is_tried():
    with_options = {n for n, m in FEATURE_METHODS.items() if m.options.model_fields}
    assert OTHERWISE.keys() == with_options - {"minilm", "tinybert"}  # which have their own tests
    for name, options in OTHERWISE.items():
        assert options.keys() == FEATURE_METHODS[name].options.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "option", "wrong"),
    [
        *((n, o, wrong) for n in OTHERWISE for o in OTHERWISE[n] for wrong in (-0.1, "1")),
        ("vid", "first_variance", 1e-6),
        ("crd", "momentum", 1.0),
        ("crd", "negatives", 0),
        ("mgd", "mask_ratio", 1.0),
        ("minilm", "relation_heads", 0),
        ("tinybert", "heads", 0),
        ("tinybert", "attention_weight", -0.1),
        ("ft", "rate", 0.0),
        ("catkd", "resolution", 0),
    ],
)
def test_an_option_out_of_its_range_is_refused(name, option, wrong):
    with pytest.raises(OptionError, match=f"distil.options of {name}: {option}"):
        read_options(name, {option: wrong})


def test_relations_without_a_weight_are_refused():
    with pytest.raises(OptionError, match="distance_weight or angle_weight must be above 0"):
        read_options("rkd", {"distance_weight": 0.0, "angle_weight": 0.0})


# ---- beside the features ------------------------------------------------------------------------


def test_the_rows_beside_features_are_soft_targets():
    mixed = {"temperature": 2.0, "hard_weight": 0.3, "soft_weight": 0.7}
    soft, hard = objective("fitnets", [LABEL], **mixed)
    assert (soft.name, soft.weight, hard.name, hard.weight) == ("soft", 0.7, "hard", 0.3)
    rows, said = draw(4, 3), draw(4, 3, seed=1)
    batch = Batch(inputs=rows, labels={"label": torch.arange(4) % 3}, index=torch.arange(4))
    got = soft.values({"label": rows}, {"label": Dense(values=said)}, batch)
    torch.testing.assert_close(got, losses.soft_targets(rows, said, temperature=2.0))


def test_without_soft_weight_labels_and_features_are_left():
    (hard,) = objective("sp", [LABEL], temperature=2.0, hard_weight=1.0, soft_weight=0.0)
    assert hard.name == "hard"
    term = term_of("sp", student(), teacher())
    assert not only_from_labels((hard, term))  # unlabelled samples teach by their features


@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_the_weight_of_features_is_the_methods_own_unless_it_is_set(name):
    own, given = (term_of(name, *pair_for(name), weight=weight) for weight in (None, 0.25))
    assert (own.weight, given.weight) == (FEATURE_METHODS[name].weight, 0.25)


@pytest.mark.parametrize(
    ("method", "taps", "weights", "said"),
    [
        (
            "fitnets",
            [],
            (0, 1, None),
            "method fitnets takes one or more taps, got 0.",
        ),
        ("reviewkd", FIRST, (0, 1, None), "method reviewkd takes 2 or more taps, got 1"),
        ("fitnets", FIRST, (0, 0, None), "leaves the last layer of the student untaught"),
        ("dkd", FIRST, (0, 1, None), "method dkd learns from rows, and has no taps"),
        ("dkd", [], (0, 1, 2.0), "method dkd learns from rows, and has no feature_weight"),
        ("fitnets", FIRST, (0, 1, 0.0), "feature_weight must be above 0 and finite, got 0"),
    ],
)
def test_taps_and_methods_that_do_not_fit_are_refused(method, taps, weights, said):
    hard, soft, features = weights
    with pytest.raises(OptionError) as error:
        check_features(method, taps, hard_weight=hard, soft_weight=soft, feature_weight=features)
    assert said in str(error.value)
    check_features("fitnets", FIRST, hard_weight=0, soft_weight=1, feature_weight=None)
