"""A soft decision tree against the same by recursion, one sample and one node at a time."""

from math import exp, log

import pytest
import torch
import torch.nn.functional as F

from limbeck._errors import ModelError
from limbeck._outputs import auxiliary_loss
from limbeck.models import Interface, SoftTree, build, parameter_count
from limbeck.models._soft_tree import log_paths
from limbeck.signals import Head

DEPTH, INPUTS, CLASSES = 3, 6, 4


def tree(seed=0, **options):
    torch.manual_seed(seed)
    made = SoftTree(INPUTS, CLASSES, **{"depth": DEPTH} | options).double()
    with torch.no_grad():
        made.nodes.bias += torch.randn(2**made.depth - 1)
        made.nodes.weight *= 4
    return made


def draw(samples=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 2, 3, generator=generator, dtype=torch.float64)


def added(model, x):
    """What the tree adds to the loss of a batch."""
    return model(x)["auxiliary_loss"].mean()


def reach(model, x, node=0, path=1.0):
    """(probability, leaf) of every leaf below a node, for one sample, left to right."""
    inner = 2**model.depth - 1
    if node >= inner:
        return [(path, node - inner)]
    weights, bias = model.nodes.weight[node].tolist(), model.nodes.bias[node].item()
    decided = sum(w * v for w, v in zip(weights, x.flatten().tolist(), strict=True)) + bias
    right = 1 / (1 + exp(-model.beta * decided))
    left_side = reach(model, x, 2 * node + 1, path * (1 - right))
    return left_side + reach(model, x, 2 * node + 2, path * right)


def leaf(model, number):
    scores = [exp(score) for score in model.leaves[number].tolist()]
    return [score / sum(scores) for score in scores]


@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_the_mixture_is_the_mean_of_all_leaves_by_their_paths(beta):
    model, x = tree(beta=beta, answer="mixture").eval(), draw()
    for sample, said in zip(x, model(x).exp().tolist(), strict=True):
        reached = reach(model, sample)
        wanted = [
            sum(path * leaf(model, number)[k] for path, number in reached) for k in range(CLASSES)
        ]
        assert said == pytest.approx(wanted)


def test_the_answer_is_the_leaf_that_is_most_probably_reached():
    model, x = tree().eval(), draw(20)
    chosen = [max(reach(model, sample))[1] for sample in x]
    assert len(set(chosen)) > 2
    for said, number in zip(model(x).exp().tolist(), chosen, strict=True):
        assert said == pytest.approx(leaf(model, number))


def test_what_is_learned_is_the_papers_loss():
    model, x = tree(penalty=0.0).train(), draw()
    targets = draw(5, seed=2).flatten(1)[:, :CLASSES].softmax(-1)
    said = model(x)
    learned = (said["auxiliary_loss"] - (targets * said["logits"].log_softmax(-1)).sum(-1)).mean()
    wanted = 0.0
    for sample, target in zip(x, targets.tolist(), strict=True):
        for path, number in reach(model, sample):
            wanted -= path * sum(
                t * log(q) for t, q in zip(target, leaf(model, number), strict=True)
            )
    assert learned.item() == pytest.approx(wanted / len(x))


def share_right(model, x, node):
    """Equation 4, for one node: of all that reaches it, how much goes right."""

    def below(sample, start):
        first, last = start, start
        while first < 2**model.depth - 1:
            first, last = 2 * first + 1, 2 * last + 2
        leaves = range(first - (2**model.depth - 1), last - (2**model.depth - 1) + 1)
        return sum(path for path, number in reach(model, sample) if number in leaves)

    return sum(below(one, 2 * node + 2) for one in x) / sum(below(one, node) for one in x)


def test_the_penalty_is_that_of_the_running_average_of_each_node():
    model, plain = tree(penalty=0.3).train(), tree(penalty=0.0).train()
    usage = [0.5] * (2**DEPTH - 1)
    for seed in range(3):
        x, wanted = draw(seed=seed), 0.0
        for node in range(2**DEPTH - 1):
            depth = (node + 1).bit_length() - 1
            usage[node] += (share_right(model, x, node) - usage[node]) / 2**depth
            balance = log(usage[node]) + log(1 - usage[node])
            wanted -= 0.3 / 2**depth * 0.5 * balance
        penalty = added(model, x) - added(plain, x)
        assert penalty.item() == pytest.approx(wanted)
        assert model.usage.tolist() == pytest.approx(usage)


def test_the_penalty_of_the_root_has_the_gradient_of_finite_differences():
    """There the average is the batch itself."""
    x = draw()

    def loss(bias):
        model = tree(penalty=0.3, depth=1).train()
        with torch.no_grad():
            model.nodes.bias += bias
        plain = added(model, x).item()
        model.penalty = 0.0
        return plain - added(model, x).item()

    model = tree(penalty=0.3, depth=1).train()
    with_penalty = torch.autograd.grad(added(model, x), model.nodes.bias)[0]
    model.penalty = 0.0
    without = torch.autograd.grad(added(model, x), model.nodes.bias)[0]
    measured = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert float(with_penalty - without) == pytest.approx(measured, rel=1e-6)


def test_a_node_whose_sides_are_used_unequally_is_pulled_to_the_other_one():
    model = tree(penalty=1.0).train()
    with torch.no_grad():
        model.nodes.weight.zero_()
        model.nodes.bias.fill_(3.0)  # nearly everything goes right
        model.leaves.zero_()
    added(model, draw()).backward()
    reached = [0, 2, 6]  # the others hardly see a sample
    assert all(float(model.nodes.bias.grad[node]) > 1e-3 for node in reached)


def test_averages_move_in_training_only_and_are_part_of_the_weights():
    model = tree()
    before = model.usage.clone()
    model.eval()(draw())
    assert torch.equal(model.usage, before)
    model.train()(draw())
    assert not torch.equal(model.usage, before)
    assert "usage" in model.state_dict()


def test_paths_stay_finite_where_probabilities_do_not():
    right = torch.full((2, 7), 1e3, requires_grad=True)
    paths = log_paths(right)
    assert [tuple(level.shape) for level in paths] == [(2, 1), (2, 2), (2, 4), (2, 8)]
    paths[-1].sum().backward()
    assert torch.isfinite(paths[-1]).all()
    assert torch.isfinite(right.grad).all()


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_gradients_are_finite_where_one_side_is_never_used(penalty):
    model = tree(penalty=penalty).train()
    with torch.no_grad():
        model.nodes.bias.fill_(1e4)
    said = model(draw())
    hard = F.cross_entropy(said["logits"], torch.zeros(5).long())
    (hard + said["auxiliary_loss"].mean()).backward()
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


def test_no_sample_leaves_the_averages_as_they_are():
    model = tree().train()
    said = model(draw(0))
    assert torch.equal(model.usage, torch.full_like(model.usage, 0.5))
    loss = said["logits"].sum() + auxiliary_loss(said, who="student")
    loss.backward()
    assert loss == 0


def test_it_has_a_filter_for_each_node_and_a_distribution_for_each_leaf():
    assert parameter_count(SoftTree(784, 10, depth=8)) == 255 * 785 + 256 * 10


@pytest.mark.parametrize("answer", ["leaf", "mixture"])
def test_answers_are_distributions_of_inputs_of_any_shape(answer):
    model = tree(answer=answer).float().eval()
    for shape in [(6,), (2, 3), (1, 3, 2)]:
        said = model(torch.randn(7, *shape))
        assert said.shape == (7, CLASSES)
        assert torch.allclose(said.exp().sum(-1), torch.ones(7))


LABEL = Head(space="categorical", size=5)
IMAGES = Interface(shape=(8, 8), vocabulary=0, heads=(LABEL,))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 0}, "depth must be 1..12, got 0"),
        ({"depth": 13}, "depth must be 1..12, got 13"),
        ({"beta": 0.0}, "beta must be above 0, got 0.0"),
        ({"penalty": -1.0}, "penalty must be 0 or more, got -1.0"),
        ({"answer": "all"}, "answer must be leaf or mixture, got 'all'"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(ModelError) as error:
        build("soft_tree", options, IMAGES)
    assert said in str(error.value)


def test_it_is_built_for_the_data_and_for_classes_only():
    model = build("soft_tree", {"depth": 2}, IMAGES)
    assert isinstance(model, SoftTree)
    assert model.eval()(torch.zeros(3, 8, 8)).shape == (3, 5)
    real = Interface(shape=(8,), vocabulary=0, heads=(Head(space="real", size=1),))
    with pytest.raises(ModelError, match="soft_tree answers classes, and head label is real"):
        build("soft_tree", {}, real)
