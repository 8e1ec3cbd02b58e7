import pytest
import torch
from torch import nn

from limbeck._errors import OptionError
from limbeck.recipe import Train
from limbeck.train import make_optimizer
from tests.train.problem import INPUTS, LABELS, draw, furthest, model, train

FITTING = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam", "Muon")
)


def loss_of(trained):
    with torch.no_grad():
        return float(nn.functional.cross_entropy(trained(INPUTS), LABELS))


def test_the_usual_optimisers_are_among_those_that_fit():
    assert {"SGD", "Adam", "AdamW", "RMSprop", "NAdam", "RAdam", "Adagrad"} <= set(FITTING)


@pytest.mark.parametrize("name", FITTING)
def test_every_optimiser_trains(name):
    trained = model()
    before = loss_of(trained)
    rate = 1.0 if name == "Adadelta" else 0.01
    train(trained, optimizer=name, learning_rate=rate, epochs=5)
    assert loss_of(trained) < before


def test_muon_trains_a_model_of_matrices():
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    before = loss_of(trained)
    train(trained, optimizer="Muon", learning_rate=0.02)
    assert loss_of(trained) < before


def test_options_reach_the_optimiser():
    made = make_optimizer(
        model().parameters(),
        Train(optimizer="SGD", learning_rate=0.3, optimizer_options={"momentum": 0.9}),
    )
    assert (made.defaults["lr"], made.defaults["momentum"]) == (0.3, 0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "AdamV"}, "no optimiser 'AdamV'. Did you mean Adam"),
        ({"optimizer": "Optimizer"}, "no optimiser 'Optimizer'"),
        ({"optimizer": "lr_scheduler"}, "no optimiser 'lr_scheduler'"),
        ({"optimizer": "LBFGS"}, "asks for the loss several times a step.* Take AdamW"),
        ({"optimizer": "SparseAdam"}, "needs sparse gradients"),
        ({"optimizer_options": {"momentun": 1}}, "AdamW has no option 'momentun'.* may have betas"),
        ({"optimizer_options": {"weight_decay": -1.0}}, "weight_decay.* Change optimizer_options"),
        ({"optimizer_options": {"betas": [0.9]}}, "index out of range.* Change optimizer_options"),
        ({"optimizer": "Muon"}, "optimizer Muon takes matrices alone.* Take AdamW"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        make_optimizer([nn.Parameter(draw(3))], Train(**options))


@pytest.mark.parametrize(("shape", "listed"), [((3,), False), ((3, 3), True)])
def test_muon_is_listed_for_matrices_alone(shape, listed):
    with pytest.raises(OptionError) as error:
        make_optimizer([nn.Parameter(draw(*shape))], Train(optimizer="xyz"))
    assert ("Muon" in str(error.value)) == listed


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_the_fused_form_is_taken_and_is_the_same_up_to_rounding(name):
    fused, plain = model(), model()
    settings = Train(optimizer=name)
    assert make_optimizer(fused.parameters(), settings).defaults["fused"] is True
    train(fused, optimizer=name)
    train(plain, optimizer=name, optimizer_options={"fused": False})
    assert furthest(fused, plain) < 1e-5


@pytest.mark.parametrize("form", [{"fused": False}, {"foreach": True}])
def test_the_form_that_is_asked_for_is_taken(form):
    made = make_optimizer(model().parameters(), Train(optimizer_options=form))
    assert not made.defaults["fused"]
    assert form.items() <= made.defaults.items()


def test_parameters_that_cannot_learn_are_left_out():
    half = model()
    half[0].requires_grad_(False)
    made = make_optimizer(half.parameters(), Train())
    assert [id(one) for one in made.param_groups[0]["params"]] == [
        id(one) for one in half[3].parameters()
    ]


def test_what_has_no_fused_form_is_optimised_all_the_same():
    complex_one = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    made = make_optimizer([complex_one], Train(optimizer="Adam"))
    assert not made.defaults["fused"]
    complex_one.grad = torch.ones_like(complex_one)
    made.step()
    assert not torch.equal(complex_one.detach(), torch.ones(3, dtype=torch.complex64))
