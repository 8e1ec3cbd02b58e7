"""A student is trained in Python with branches of its own."""

import pytest

from limbeck import distil
from limbeck._errors import DataError, Interrupted, ModelError, OptionError
from limbeck.recipe import Branches
from tests.train.problem import (
    INPUTS,
    LABELS,
    NEVER,
    furthest,
    model,
    same_weights,
    settings,
    stopper,
)

OWN = {"branches hard", "branches soft"}


def test_branches_teach_beside_the_targets_and_without(targets):
    plain, beside, alone = (model() for _ in range(3))
    branches = Branches(taps=["0"])
    distil(plain, (INPUTS, LABELS), targets, settings())
    history = distil(beside, (INPUTS, LABELS), targets, settings(), branches=branches)
    assert set(history.terms) == {"soft"} | OWN
    weights = {"hard_weight": 1.0, "soft_weight": 0.0}
    history = distil(alone, (INPUTS, LABELS), targets, settings(), branches=branches, **weights)
    assert set(history.terms) == {"hard"} | OWN
    assert furthest(plain, beside) > 1e-3
    assert furthest(plain, alone) > 1e-3
    assert list(beside.state_dict()) == list(plain.state_dict())


def test_other_students_have_branches_of_their_own(targets):
    student, peer = model(), model(1)
    weights = {"mutual_weight": 1.0, "hard_weight": 1.0, "soft_weight": 0.0}
    how = {**weights, "peers": [peer], "branches": Branches(taps=["0"])}
    history = distil(student, (INPUTS, LABELS), targets, settings(), **how)
    assert set(history.terms) == {"hard", "mutual"} | OWN


def test_labels_are_needed_where_branches_learn_from_them_and_only_there(targets):
    with pytest.raises(DataError, match="labels"):
        distil(model(), INPUTS, targets, settings(), branches=Branches(taps=["0"]))
    distil(model(), INPUTS, targets, settings(), branches=Branches(taps=["0"], hard_weight=0))


def test_what_does_not_fit_is_refused_before_training(targets):
    student = model()
    with pytest.raises(ModelError, match="the student has no module '9' to tap"):
        distil(student, (INPUTS, LABELS), targets, settings(), branches=Branches(taps=["9"]))
    with pytest.raises(OptionError, match=r"Branches: .*are all 0: they learn nothing"):
        Branches(taps=["0"], hard_weight=0, soft_weight=0)
    weights = {"hard_weight": 0.0, "soft_weight": 0.0}
    with pytest.raises(OptionError, match="one of them above 0"):
        distil(student, INPUTS, targets, settings(), branches=Branches(taps=["0"]), **weights)
    assert same_weights(student, model())


def test_a_checkpoint_is_not_gone_on_from_by_branches_of_another_temperature(
    targets, tmp_path, monkeypatch
):
    stop_after = stopper(monkeypatch)
    trained = {}
    for path in (None, tmp_path / "state"):
        if path is not None:
            stop_after(10)
            with pytest.raises(Interrupted):
                distil(
                    model(),
                    (INPUTS, LABELS),
                    targets,
                    settings(),
                    branches=Branches(taps=["0"]),
                    checkpoint=path,
                )
        stop_after(NEVER)
        trained[path] = model()
        other = Branches(taps=["0"], temperature=1.0)
        distil(
            trained[path],
            (INPUTS, LABELS),
            targets,
            settings(),
            branches=other,
            checkpoint=path,
        )
    one, again = trained.values()
    assert same_weights(one, again)
