"""What every feature method keeps to, whatever it compares."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from limbeck._errors import Interrupted, ModelError, ShapeError
from limbeck.methods import mean_terms, only_from_labels
from limbeck.methods.features import FEATURE_METHODS
from limbeck.methods.features._method import Pair
from limbeck.train import Order
from tests.methods.features.problem import (
    IDS,
    KEPT,
    TAKES,
    VECTORS,
    Maps,
    Tokens,
    batch_for,
    learner,
    pair_for,
    sides,
    student,
    taps_for,
    term_of,
    texts,
    train,
    values,
)
from tests.train import problem

EVERY = pytest.mark.parametrize("name", FEATURE_METHODS)
CASES = [
    (name, kind, taps)
    for name, method in FEATURE_METHODS.items()
    for kind, taps, given in [
        (Maps, taps_for(name), "maps"),
        (Tokens, taps_for(name), "tokens"),
        (Maps, VECTORS, "vectors"),
    ]
    if given in method.kinds and (len(taps) >= method.fewest_taps or name in TAKES)
]
DRAWS = {"mgd": {"mask_ratio": 0.0}}
"""Methods whose own random numbers are others in each micro-batch, and how they draw none."""
EVERY_CASE = pytest.mark.parametrize(
    ("name", "kind", "taps"), CASES, ids=[f"{n}-{k.__name__}-{len(t)}" for n, k, t in CASES]
)


# ---- training -----------------------------------------------------------------------------------


@EVERY
def test_it_trains_and_so_does_what_is_beside_it(name):
    who, whose = pair_for(name)
    one = learner(name, who, whose)
    before = copy.deepcopy(one.beside)
    fitted = train([one], whose)
    assert 0 < problem.furthest(who, pair_for(name)[0]) < 10
    assert torch.isfinite(torch.tensor(fitted.histories["student"].terms["features"])).all()
    for first, now in zip(before.parameters(), one.beside.parameters(), strict=True):
        assert not torch.equal(first, now)


@EVERY
def test_its_features_move_the_student(name):
    (without, whose), (beside, _) = pair_for(name), pair_for(name)
    plain = learner(name, without, whose)
    train([type(plain)(name="it", model=without, objective=plain.objective[:-1])], whose)
    train([learner(name, beside, whose)], whose)
    assert problem.furthest(without, beside) > 1e-5


@EVERY
def test_it_resumes_to_the_same_weights(name, monkeypatch, tmp_path):
    stop_after = problem.stopper(monkeypatch)
    who, whose = pair_for(name)
    how = {"optimizer": "AdamW", "learning_rate": 0.01}
    stop_after(problem.NEVER)
    unbroken = learner(name, who, whose)
    train([unbroken], whose, **how)
    stop_after(7)
    with pytest.raises(Interrupted):
        train(
            [learner(name, pair_for(name)[0], whose)], whose, checkpoint=tmp_path / "state", **how
        )
    stop_after(problem.NEVER)
    # Who goes on begins from other weights: all must come from the checkpoint.
    again = learner(name, pair_for(name, seed=3)[0], whose)
    with torch.no_grad():
        for tensor in (*again.beside.parameters(), *again.beside.buffers()):
            tensor.fill_(1)
    train([again], whose, checkpoint=tmp_path / "state", **how)
    assert problem.same_weights(again.model, unbroken.model)
    assert problem.same_weights(again.beside, unbroken.beside)


@EVERY
def test_several_students_in_one_pass_become_what_each_does_alone(name):
    _, whose = pair_for(name)
    together = [learner(name, pair_for(name, seed)[0], whose, called=f"s{seed}") for seed in (1, 2)]
    train(together, whose)
    for one, seed in zip(together, (1, 2), strict=True):
        alone = learner(name, pair_for(name, seed)[0], whose)
        train([alone], whose)
        assert problem.same_weights(one.model, alone.model)
        assert problem.same_weights(one.beside, alone.beside)


@EVERY
def test_micro_batches_change_it_by_rounding_unless_it_compares_samples(name):
    (whole, whose), (in_parts, _) = pair_for(name), pair_for(name)
    train([learner(name, whole, whose)], whose)
    train([learner(name, in_parts, whose)], whose, accumulate=3)
    compares = FEATURE_METHODS[name].whole_batch or name in DRAWS
    assert (problem.furthest(whole, in_parts) < 1e-5) == (not compares)


@EVERY
def test_the_student_and_what_is_beside_it_are_clipped_each_by_itself(name):
    """Neither's step is shortened by the other's gradient."""
    who, whose = pair_for(name)
    one = learner(name, who, whose)
    before = copy.deepcopy([who, one.beside])
    once = {"order": Order(pool=torch.arange(20), length=20, seed=0), "batch_size": 20}
    train([one], whose, clip=1e-3, learning_rate=1.0, epochs=1, **once)
    for first, now in zip(before, (who, one.beside), strict=True):
        steps = [
            (a - b).flatten() for a, b in zip(first.parameters(), now.parameters(), strict=True)
        ]
        if steps:
            assert torch.cat(steps).norm().item() == pytest.approx(1e-3, rel=0.01)


@EVERY
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_trains_in_mixed_precision(name, precision):
    who, whose = pair_for(name)
    fitted = train([learner(name, who, whose)], whose, precision=precision)
    assert torch.isfinite(torch.tensor(fitted.histories["student"].loss)).all()


# ---- one batch ----------------------------------------------------------------------------------


@EVERY_CASE
def test_a_gradient_reaches_the_student_and_all_beside_it_and_no_teacher(name, kind, taps):
    who, whose = pair_for(name, kind=kind)
    whose.model.requires_grad_(True)
    term = term_of(name, who, whose, taps=taps)
    found = values(term, who, whose, batch_for(who, range(6)))
    assert found.shape == (6,)
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert who.first.weight.grad.any()
    assert all(parameter.grad.any() for parameter in term.module.parameters())
    assert all(parameter.grad is None for parameter in whose.model.parameters())


@EVERY_CASE
def test_the_order_of_a_batch_is_nothing_to_it(name, kind, taps):
    who, whose = pair_for(name, kind=kind)
    found = []
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 1, 2]):
        term = term_of(name, who, whose, taps=taps, **DRAWS.get(name, {}))
        torch.manual_seed(0)
        found.append(values(term, who, whose, batch_for(who, order)))
    torch.testing.assert_close(found[1], found[0][[3, 0, 4, 1, 2]])


@EVERY_CASE
def test_labels_are_not_looked_at(name, kind, taps):
    who, whose = pair_for(name, kind=kind)
    shown = torch.tensor([True, False, False, True])
    found = []
    for batch in (batch_for(who, range(4)), batch_for(who, range(4), labelled=shown)):
        term = term_of(name, who, whose, taps=taps)
        torch.manual_seed(0)
        means = mean_terms([term], *sides(term, who, whose, batch), batch)
        found.append(means["features"])
    assert torch.equal(*found)
    assert not only_from_labels([term])


@pytest.mark.parametrize("name", [name for name, kind, _ in CASES if kind is Tokens])
def test_tokens_that_do_not_count_add_exactly_nothing(name):
    who, whose = pair_for(name, kind=Tokens)
    found = []
    for ids in (IDS, torch.where(KEPT, IDS, 0)):
        term = term_of(name, who, whose)
        torch.manual_seed(0)
        found.append(values(term, who, whose, texts(range(6), ids)))
    assert torch.equal(*found)


@EVERY_CASE
def test_a_process_without_samples_adds_0_and_a_gradient(name, kind, taps):
    who, whose = pair_for(name, kind=kind)
    term = term_of(name, who, whose, taps=taps)
    batch = batch_for(who, [0]).slice(0, 0)
    (mean,) = mean_terms([term], *sides(term, who, whose, batch), batch).values()
    assert float(mean.detach()) == 0
    mean.backward()


@EVERY
def test_a_sample_counts_as_often_as_it_has_rows(name):
    who, whose = pair_for(name)
    term = term_of(name, who, whose)
    mask = torch.tensor([[True, False], [True, True], [True, True]])
    batch = batch_for(who, range(3), mask=mask)
    torch.manual_seed(0)
    state = copy.deepcopy(term.module)
    (mean,) = mean_terms([term], *sides(term, who, whose, batch), batch).values()
    torch.manual_seed(0)
    term.module.load_state_dict(state.state_dict())
    each = values(term, who, whose, batch)
    torch.testing.assert_close(mean, (each * torch.tensor([1, 2, 2])).sum() / 5)


@EVERY
def test_double_precision_stays(name):
    who, whose = pair_for(name)
    who.double()
    whose.model.double()
    batch = batch_for(who, range(5))
    if isinstance(batch.inputs, torch.Tensor):
        batch = replace(batch, inputs=batch.inputs.double())
    assert values(term_of(name, who, whose, batch=batch), who, whose, batch).dtype == torch.float64


# ---- how it is made -----------------------------------------------------------------------------


@EVERY
def test_to_make_it_changes_neither_models_nor_random_numbers(name):
    who, whose = pair_for(name)
    random = torch.get_rng_state()
    before = copy.deepcopy(who.state_dict())
    term = term_of(name, who, whose)
    assert torch.equal(torch.get_rng_state(), random)
    assert who.training
    assert all(torch.equal(before[key], tensor) for key, tensor in who.state_dict().items())
    assert all(parameter.grad is None for parameter in who.parameters())
    assert not set(map(id, term.module.parameters())) & set(map(id, who.parameters()))


@EVERY
def test_its_first_weights_are_those_of_the_seed(name):
    who, whose = pair_for(name)
    first, again, other = (term_of(name, who, whose, seed=seed).module for seed in (1, 1, 2))
    assert problem.same_weights(first, again)
    learned = any(True for _ in first.parameters())
    assert problem.same_weights(first, other) != learned


@EVERY
def test_features_that_it_is_not_for_are_refused_by_name(name):
    method = FEATURE_METHODS[name]
    shapes = {"maps": (3, 4, 4), "tokens": (5, 3), "vectors": (3,)}
    answering = {"student_classifier": nn.Identity(), "teacher_classifier": nn.Identity()}
    for kind, shape in shapes.items():
        pair = Pair(student=shape, teacher=shape, num_samples=9, **answering)
        if kind in method.kinds:
            method.check([pair], [("a", "b")])
            continue
        with pytest.raises(ShapeError) as error:
            method.check([pair], [("a", "b")])
        assert f"student 'a' gives {shape}, teacher 'b' {shape}" in str(error.value)
    mixed = Pair(student=(3, 4, 4), teacher=(3,), num_samples=9, **answering)
    if method.same_kind:
        with pytest.raises(ShapeError, match="this method's taps must give"):
            method.check([mixed], [("a", "b")])
    else:
        method.check([mixed], [("a", "b")])


@EVERY
def test_a_module_without_a_gradient_is_refused(name):
    who, whose = pair_for(name)
    who.requires_grad_(False)
    path = taps_for(name)[0][0]
    with pytest.raises(ModelError, match=f"'{path}' of the student gives has no gradient"):
        term_of(name, who, whose)


def test_a_teacher_that_is_no_torch_module_is_refused():
    from limbeck.teachers import Teacher
    from tests.methods.features.problem import LABEL

    def table(images):
        return images[:, 0, :1, 0].repeat(3, 1)

    with pytest.raises(ModelError, match="the teacher is no torch module: nothing inside it"):
        term_of("sp", student(), Teacher(table, [LABEL]))


@EVERY
def test_a_card_says_all_that_one_chooses_by(name):
    method = FEATURE_METHODS[name]
    card = method.card
    assert card.paper.link.startswith("https://")
    assert card.line.endswith(".")
    assert len(card.line) < 90
    assert card.when.endswith(".")
    assert card.setting.endswith(".")
    assert card.formula.isascii()
    assert method.needs[:2] == ("rows", "features")
    for option, default, text in method.option_rows:
        assert default != "null", option
        assert text.endswith("."), option
