"""Branches that learn from the student's own last answer, against a loop written by hand."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from limbeck._errors import Interrupted, ShapeError
from limbeck.data import ArraySamples
from limbeck.methods import branch_terms, mean_terms, supervised
from limbeck.recipe import Branches
from limbeck.signals import Head
from limbeck.taps import tap_name, tapped
from limbeck.train import Learner, Order, fit
from tests.methods.features.problem import (
    IDS,
    IMAGES,
    KEPT,
    LABEL,
    LABELS,
    Maps,
    Tokens,
    batch_for,
    made,
)
from tests.train.problem import NEVER, furthest, same_weights, settings, stopper

SHOWN = torch.arange(40) % 5 < 3
ORDER = Order(pool=torch.arange(40), length=40, seed=5)
T = 3.0
ALL = Branches(taps=["first", "second"], feature_weight=0.4, features="second")


class Vectors(Maps):
    """The same of flat images."""

    def __init__(self, first, second):
        super().__init__(first, second)
        self.first = torch.nn.Linear(36, first)
        self.second = torch.nn.Linear(first, second)

    def forward(self, x):
        return self.head(self.second(self.first(x.flatten(1)).tanh()).tanh())


def samples_for(kind, labelled=SHOWN):
    texts = {"input_ids": IDS, "attention_mask": KEPT.long()}
    inputs = texts if kind is Tokens else IMAGES
    return ArraySamples(inputs, {"label": LABELS}, labelled=labelled)


def terms_for(net, branches, heads=(LABEL,)):
    return branch_terms(branches, heads, net, batch_for(net, [0, 1, 2]), seed=7)


def learner(net, branches=ALL, **how):
    objective = supervised([LABEL], weight=0.5) + terms_for(net, branches)
    return Learner(name="student", model=net, objective=objective, **how)


def train(who, kind=Maps, labelled=SHOWN, *, checkpoint=None, **how):
    return fit(
        [who],
        samples_for(kind, labelled),
        settings(**{"epochs": 2} | how),
        heads=[LABEL],
        seed=5,
        order=ORDER,
        checkpoint=checkpoint,
    ).histories["student"]


def inside(net, index):
    """What the modules first and second give, and the answer, by hand."""
    if isinstance(net, Tokens):
        one = net.first(IDS[index])
        two = net.second(one.tanh())
        counts = KEPT[index][..., None].float()
        return one, two, net.head((two.tanh() * counts).sum(1) / counts.sum(1))
    if isinstance(net, Vectors):
        one = net.first(IMAGES[index].flatten(1))
        two = net.second(one.tanh())
        return one, two, net.head(two.tanh())
    one = net.first(IMAGES[index])
    two = net.second(F.avg_pool2d(one.tanh(), 2))
    return one, two, net.head(two.tanh().mean((2, 3)))


def pooled(features, index):
    if features.dim() == 4:
        return features.mean((2, 3))
    if features.dim() == 3:
        counts = KEPT[index][..., None].float()
        return (features * counts).sum(1) / counts.sum(1)
    return features


def normed(x, weight, bias):
    axes = (1, 2, 3) if x.dim() == 4 else (-1,)
    gap = x - x.mean(axes, keepdim=True)
    shape = (-1, 1, 1) if x.dim() == 4 else (-1,)
    x = gap / (gap.square().mean(axes, keepdim=True) + 1e-5).sqrt()
    return (x * weight.view(shape) + bias.view(shape)).relu()


def branch_by_hand(features, weights, index):
    """Logits, and features to compare; weights in the order of the branch's own."""
    w = list(weights)
    if features.dim() == 4:
        x = normed(F.conv2d(features, w[0], w[1]), w[2], w[3])
        x = normed(F.conv2d(x, w[4], w[5], stride=2, padding=1), w[6], w[7])
        x = normed(F.conv2d(x, w[8], w[9]), w[10], w[11])
        w = w[12:]
    else:
        x = normed(features @ w[0].T + w[1], w[2], w[3])
        x = normed(x @ w[4].T + w[5], w[6], w[7])
        w = w[8:]
    x = pooled(x, index)
    return x @ w[0].T + w[1], (x @ w[2].T + w[3] if len(w) > 2 else None)


def losses_by_hand(net, weights, index, labelled=SHOWN):
    """The student's own loss, and labels, last answer and deepest features of both branches."""
    one, two, logits = inside(net, index)
    shown = labelled[index]
    hard = F.cross_entropy(logits[shown], LABELS[index][shown])
    p = torch.softmax(logits.detach() / T, -1)
    sums = [0.0, 0.0, 0.0]
    for features, own in zip((one, two), weights, strict=True):
        said, near = branch_by_hand(features, own, index)
        sums[0] += F.cross_entropy(said[shown], LABELS[index][shown])
        sums[1] += T**2 * (p * (p.log() - F.log_softmax(said / T, -1))).sum(-1).mean()
        sums[2] += (near - pooled(two, index).detach()).square().mean()
    return hard, *sums


def weights_of(who):
    (branches,) = who.beside
    return [list(copy.deepcopy(one).parameters()) for one in branches.each]


@pytest.mark.parametrize("kind", [Maps, Tokens, Vectors])
def test_it_is_a_loop_by_hand(kind):
    ours, theirs = made(kind, 3, 4), made(kind, 3, 4)
    who = learner(ours)
    weights, history = weights_of(who), []
    optimizer = torch.optim.SGD([*theirs.parameters(), *weights[0], *weights[1]], lr=0.1)
    for epoch in range(2):
        for index in ORDER.epoch(epoch).split(8):
            losses = losses_by_hand(theirs, weights, index)
            loss = sum(w * x for w, x in zip((0.5, 0.7, 0.033, 0.4), losses, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append([float(one.detach()) for one in losses])

    found = train(who, kind)
    assert furthest(ours, theirs) < 1e-5
    for mine, own in zip(who.beside[0].each, weights, strict=True):
        for one, other in zip(mine.parameters(), own, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    means = torch.tensor(history).view(2, 5, 4).mean(1).T
    names = ["hard", "branches hard", "branches soft", "branches feature"]
    assert list(found.terms) == names
    for name, mean in zip(names, means.tolist(), strict=True):
        assert found.terms[name] == pytest.approx(mean, rel=1e-3)
    plain = made(kind, 3, 4)
    train(Learner(name="student", model=plain, objective=supervised([LABEL], weight=0.5)), kind)
    assert furthest(ours, plain) > 1e-3


def means_of(net, terms, batch, heads=(LABEL,)):
    """Of a batch, with the gradients still there."""
    with tapped(net, ["first", "second"], who="it") as seen:
        said = net(**batch.inputs) if isinstance(batch.inputs, dict) else net(batch.inputs)
    answers = said if isinstance(said, dict) else {heads[0].name: said}
    answers |= {tap_name(path): tensor for path, tensor in seen.items()}
    return mean_terms(terms, answers, None, batch)


def value(mean):
    return mean.item()


def slopes(mean, module):
    return torch.autograd.grad(
        mean, list(module.parameters()), retain_graph=True, allow_unused=True
    )


@pytest.mark.parametrize("kind", ["branches hard", "branches soft", "branches feature"])
def test_no_gradient_reaches_the_last_answer_and_each_reaches_the_layers_below(kind):
    net = made(Maps, 3, 4)
    shallow = ALL.model_copy(update={"taps": ["first"]})
    mean = means_of(net, terms_for(net, shallow), batch_for(net, range(8)))[kind]
    assert slopes(mean, net.head) == (None, None)
    assert slopes(mean, net.second) == (None, None)  # its features are the deepest, and given
    assert all(slope.abs().max() > 0 for slope in slopes(mean, net.first))


def test_by_default_they_pull_as_hard_as_in_the_authors_code():
    net, index = made(Maps, 3, 4), torch.arange(8)
    terms = terms_for(net, Branches(taps=["first"]))
    means = means_of(net, terms, batch_for(net, index))
    ours = sum(term.weight * means[term.name] for term in terms)
    one, _, logits = inside(net, index)
    said, _ = branch_by_hand(one, terms[0].module.each[0].parameters(), index)
    # train.py: CrossEntropy(outputs[i], teacher_output) * 0.3 + criterion(...) * 0.7, no T squared
    p, q = (F.softmax(logits.detach() / 3, dim=1), F.log_softmax(said / 3, dim=1))
    theirs = -0.3 * (p * q).sum(dim=1).mean() + 0.7 * F.cross_entropy(said, LABELS[index])
    for one, other in zip(slopes(ours, net.first), slopes(theirs, net.first), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3 * float(other.abs().max()))


def test_a_bottleneck_is_as_wide_as_the_widest_module_and_a_quarter_of_that_inside():
    for asked, width in ((ALL, 80), (Branches(taps=["first"]), 20)):
        for branch in terms_for(made(Maps, 20, 80), asked)[0].module.each:
            convolutions = [part for part in branch.bottleneck if isinstance(part, torch.nn.Conv2d)]
            narrow = max(16, width // 4)
            assert [part.out_channels for part in convolutions] == [narrow, narrow, width]
            assert branch.classifiers[0].in_features == width


def test_beside_a_student_of_float64_they_are_too():
    net = made(Maps, 3, 4).double()
    batch = replace(batch_for(net, range(8)), inputs=IMAGES[:8].double())
    terms = branch_terms(ALL, [LABEL], net, batch, seed=7)
    assert {part.dtype for part in terms[0].module.parameters()} == {torch.float64}
    assert {mean.dtype for mean in means_of(net, terms, batch).values()} == {torch.float64}


def test_each_weight_is_named_by_its_key_in_a_recipe():
    found = {term.name: term.weighed_by for term in terms_for(made(Maps, 3, 4), ALL)}
    assert found == {
        "branches hard": "distil.branches.hard_weight",
        "branches soft": "distil.branches.soft_weight",
        "branches feature": "distil.branches.feature_weight",
    }


def test_samples_without_labels_teach_by_the_answer_and_the_features_alone():
    net = made(Maps, 3, 4)
    terms, shown = terms_for(net, ALL), torch.tensor([True, False, False, True])
    some = means_of(net, terms, batch_for(net, range(4), labelled=shown))
    those = means_of(net, terms, batch_for(net, [0, 3]))
    every = means_of(net, terms, batch_for(net, range(4)))
    assert value(some["branches hard"]) == pytest.approx(value(those["branches hard"]), rel=1e-5)
    for name in ("branches soft", "branches feature"):
        assert value(some[name]) == pytest.approx(value(every[name]), rel=1e-5)
        assert value(some[name]) != pytest.approx(value(those[name]), rel=1e-3)
    none = means_of(net, terms, batch_for(net, range(4), labelled=torch.zeros(4).bool()))
    assert value(none["branches hard"]) == 0.0


def test_what_weighs_nothing_is_not_asked_for():
    net = made(Maps, 3, 4)

    def names(**weights):
        return [term.name for term in terms_for(net, Branches(taps=["first"], **weights))]

    assert names() == ["branches hard", "branches soft"]
    assert names(hard_weight=0) == ["branches soft"]
    assert names(soft_weight=0) == ["branches hard"]
    compared = {"feature_weight": 1.0, "features": "second"}
    assert names(hard_weight=0, soft_weight=0, **compared) == ["branches feature"]


def test_what_is_left_is_the_student_and_its_first_weights_are_not_moved_by_making_branches():
    net, untouched = made(Maps, 3, 4), made(Maps, 3, 4)
    state = torch.get_rng_state()
    who = learner(net)
    assert same_weights(net, untouched)
    assert torch.equal(torch.get_rng_state(), state)
    assert who.taps == ["first", "second"]
    assert len(who.beside) == 1  # one module, whatever the number of terms
    names = list(net.state_dict())
    train(who)
    assert list(net.state_dict()) == names
    assert not net.training


def test_of_one_seed_branches_begin_alike_and_of_another_otherwise():
    net = made(Maps, 3, 4)
    one, again = (terms_for(net, ALL)[0].module for _ in range(2))
    other = branch_terms(ALL, [LABEL], net, batch_for(net, [0]), seed=8)[0].module
    assert same_weights(one, again)
    assert not same_weights(one, other)


@pytest.mark.parametrize("kind", [Maps, Tokens])
def test_micro_batches_give_the_same_weights_up_to_rounding(kind):
    whole, parts = made(kind, 3, 4), made(kind, 3, 4)
    for net, accumulate in ((whole, 1), (parts, 3)):
        train(learner(net), kind, accumulate=accumulate)
    assert furthest(whole, parts) < 5e-6
    assert furthest(whole, made(kind, 3, 4)) > 1e-2


def test_it_goes_on_after_a_kill_to_the_same_weights(tmp_path, monkeypatch):
    stop_after = stopper(monkeypatch)
    stop_after(NEVER)
    unbroken, again = made(Maps, 3, 4), made(Maps, 3, 4, seed=3)
    adam = {"optimizer": "AdamW", "learning_rate": 1e-2}
    whole = train(learner(unbroken), **adam)
    stop_after(7)
    with pytest.raises(Interrupted):
        train(learner(made(Maps, 3, 4)), checkpoint=tmp_path / "state", **adam)
    stop_after(NEVER)
    rest = train(learner(again), checkpoint=tmp_path / "state", **adam)
    assert same_weights(again, unbroken)
    assert rest == whole


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_branches_are_learned_in_full(precision):
    net = made(Maps, 3, 4)
    who = learner(net)
    found = train(who, precision=precision)
    assert all(part.dtype == torch.float32 for part in who.beside.parameters())
    assert all(0 < values[-1] < 10 for values in found.terms.values())


def test_a_student_that_answers_probabilities_is_learned_from_by_their_logarithms():
    plain = made(Maps, 3, 4)
    probable = copy.deepcopy(plain)
    probable.head = torch.nn.Sequential(probable.head, torch.nn.Softmax(-1))
    for net, outputs in ((plain, "logits"), (probable, "probabilities")):
        train(learner(net, outputs=outputs))
    for one, other in zip(plain.parameters(), probable.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Several(Maps):
    """Answers three heads."""

    def forward(self, x):
        said = super().forward(x)
        return {"label": said, "tags": said[:, :2] * 2, "price": said[:, 2:]}


HEADS = [LABEL, Head(name="tags", space="binary", size=2), Head(name="price", space="real", size=1)]


def test_each_head_has_a_classifier_of_its_own_and_the_losses_of_its_space():
    net = made(Several, 3, 4)
    batch = batch_for(net, range(6))
    tags, price = torch.ones(6, 2), torch.arange(6.0)[:, None]
    batch.labels.update(tags=tags, price=price)
    terms = terms_for(net, Branches(taps=["first", "second"], temperature=T), HEADS)
    means = means_of(net, terms, batch, HEADS)
    (branches,) = {term.module for term in terms}
    found = dict.fromkeys(means, 0.0)
    index = torch.arange(6)
    one, two, logits = inside(net, index)
    own = {"tags": torch.sigmoid(2 * logits[:, :2] / T), "price": logits[:, 2:]}
    p = torch.softmax(logits / T, -1)
    for features, branch in zip((one, two), branches.each, strict=True):
        *rest, wl, bl, wt, bt, wp, bp = branch.parameters()
        said = {
            name: branch_by_hand(features, [*rest, *pair], index)[0]
            for name, pair in (("label", (wl, bl)), ("tags", (wt, bt)), ("price", (wp, bp)))
        }
        found["branches hard label"] += F.cross_entropy(said["label"], LABELS[index])
        towards = p * (p.log() - F.log_softmax(said["label"] / T, -1))
        found["branches soft label"] += T**2 * towards.sum(-1).mean()
        bits = F.binary_cross_entropy_with_logits(said["tags"], tags, reduction="none")
        found["branches hard tags"] += bits.sum(-1).mean()
        q, r = own["tags"], torch.sigmoid(said["tags"] / T)
        yes_or_no = q * (q / r).log() + (1 - q) * ((1 - q) / (1 - r)).log()
        found["branches soft tags"] += T**2 * yes_or_no.sum(-1).mean()
        found["branches hard price"] += (said["price"] - price).square().mean()
        found["branches soft price"] += (said["price"] - own["price"]).square().mean()
    for name, mean in means.items():
        assert value(mean) == pytest.approx(value(found[name]), rel=1e-4), name
    weights = {term.name: term.weight for term in terms}
    assert weights == {name: 0.7 if "hard" in name else 0.033 for name in found}


class Tagger(Tokens):
    """Answers a row for each token."""

    def forward(self, input_ids, attention_mask):
        return self.head(self.second(self.first(input_ids).tanh()).tanh())


def test_rows_of_tokens_are_answered_by_a_branch_of_tokens_where_the_mask_says():
    net, index = made(Tagger, 3, 4), torch.arange(6)
    batch = batch_for(net, index, mask=KEPT[:6])
    batch.labels["label"] = IDS[:6] % 3
    settings = Branches(taps=["first", "second"], feature_weight=0.4, features="second")
    terms = terms_for(net, settings)
    means = means_of(net, terms, batch)
    hard = soft = 0.0
    one = net.first(IDS[:6])
    two = net.second(one.tanh())
    p = torch.softmax(net.head(two.tanh()) / T, -1)
    for features, branch in zip((one, two), terms[0].module.each, strict=True):
        w = list(branch.parameters())
        x = normed(features @ w[0].T + w[1], w[2], w[3])
        x = normed(x @ w[4].T + w[5], w[6], w[7])
        said = x @ w[8].T + w[9]
        hard += F.cross_entropy(said[KEPT[:6]], batch.labels["label"][KEPT[:6]])
        towards = T**2 * (p * (p.log() - F.log_softmax(said / T, -1))).sum(-1)
        soft += towards[KEPT[:6]].mean()
    assert value(means["branches hard"]) == pytest.approx(value(hard), rel=1e-4)
    assert value(means["branches soft"]) == pytest.approx(value(soft), rel=1e-4)
    assert 0 < value(means["branches feature"]) < 10


def test_what_is_padding_moves_nothing():
    net, ids = made(Tokens, 3, 4), IDS.clone()
    terms = terms_for(net, ALL)
    ids[~KEPT] = 0
    padded = batch_for(net, range(8))
    padded.inputs["input_ids"] = ids[:8]
    plain = means_of(net, terms, batch_for(net, range(8)))
    for name, mean in means_of(net, terms, padded).items():
        assert value(mean) == pytest.approx(value(plain[name]), rel=1e-6)


def test_a_process_without_a_sample_gives_0_and_a_gradient_of_0():
    net = made(Maps, 3, 4)
    terms = terms_for(net, ALL)
    means = means_of(net, terms, batch_for(net, torch.arange(0)))
    for mean in means.values():
        assert value(mean) == 0.0
    total = sum(means.values())
    total.backward()
    assert all(float(part.grad.abs().max()) == 0 for part in net.first.parameters())


class Volumes(Maps):
    """Gives volumes on its way."""

    def forward(self, x):
        return self.head(self.pooled(self.first(x)[..., None]).mean((2, 3, 4)))


class Averaged(Tagger):
    """Answers every token from the mean of all."""

    def __init__(self, first, second):
        super().__init__(first, second)
        self.mean = torch.nn.Identity()

    def forward(self, input_ids, attention_mask):
        mean = self.mean(self.first(input_ids).mean(1))
        return self.head(self.second(mean)[:, None].expand(-1, 5, -1))


@pytest.mark.parametrize(
    ("net", "path", "said"),
    [
        (made(Volumes, 3, 3), "pooled", r"maps .*, and the module 'pooled' of the student gives"),
        (
            made(Averaged, 3, 4),
            "mean",
            r"the student answers head label for each of 5 tokens, and its module 'mean' gives "
            r"\(3, 3\), from which a branch cannot",
        ),
    ],
)
def test_features_that_no_branch_can_answer_from_are_refused(net, path, said):
    with pytest.raises(ShapeError, match=said):
        terms_for(net, Branches(taps=[path]))
