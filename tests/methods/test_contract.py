"""What every method keeps to, whatever it computes."""

import pytest
import torch

from limbeck._errors import Interrupted
from limbeck.doctor._findings import Findings
from limbeck.doctor._proofs import look_at_proofs
from limbeck.losses import soft_targets
from limbeck.methods import METHODS, objective
from limbeck.methods._terms import TRUE_TO_SIZE
from limbeck.proofs import prove_rows
from limbeck.signals import Dense
from tests.methods.problem import (
    CASES,
    HEADS,
    batch_of,
    draw,
    gradient,
    labels_of,
    method_alone,
    rows_of,
    value,
)
from tests.train import problem

EVERY = pytest.mark.parametrize("name", METHODS)
EVERY_CASE = pytest.mark.parametrize(("name", "space"), CASES)
WHOLE_BATCH = {
    "dist": {"intra_class_weight": 0.0},
    "mlkd": {"class_weight": 0.0, "batch_weight": 0.0},
}
"""Methods that compare the rows of a batch, and the options by which they do not."""


def cut(rows, part):
    return rows.select(torch.arange(len(part))[part] if part.dtype == torch.bool else part)


# ---- training -----------------------------------------------------------------------------------


def learn(trained, name, **how):
    """Two epochs of seven batches by one method."""
    terms = objective(name, [problem.LABEL], temperature=2.0, hard_weight=0.0, soft_weight=1.0)
    how = {"learning_rate": 0.01, "epochs": 2} | how
    return problem.train(trained, terms=terms, teach=problem.teach, **how)


@EVERY
def test_it_trains(name):
    trained = problem.model()
    fitted = learn(trained, name, batch_size=25, epochs=1)  # two steps
    assert 0 < problem.furthest(trained, problem.model()) < 1
    assert torch.isfinite(torch.tensor(fitted.histories["student"].loss)).all()


@EVERY
def test_it_resumes_to_the_same_weights(name, monkeypatch, tmp_path):
    stop_after = problem.stopper(monkeypatch)
    stop_after(problem.NEVER)
    unbroken, again = problem.model(), problem.model(3)
    learn(unbroken, name)
    stop_after(9)
    with pytest.raises(Interrupted):
        learn(problem.model(), name, checkpoint=tmp_path / "state")
    stop_after(problem.NEVER)
    learn(again, name, checkpoint=tmp_path / "state")
    assert problem.same_weights(again, unbroken)


@EVERY
def test_micro_batches_change_it_by_rounding_unless_it_compares_rows(name):
    whole, in_parts = problem.model(), problem.model()
    learn(whole, name)
    learn(in_parts, name, accumulate=3)
    assert METHODS[name].whole_batch == (name in WHOLE_BATCH)
    assert (problem.furthest(whole, in_parts) < 1e-5) == (name not in WHOLE_BATCH)


@pytest.mark.parametrize("name", WHOLE_BATCH)
def test_the_options_of_its_card_leave_the_comparison_out(name):
    terms = method_alone(name, **WHOLE_BATCH[name])
    student, teacher, labels = draw(6, 5), draw(6, 5, seed=1), labels_of(6)
    (rows,) = rows_of(name, "categorical", teacher)
    parts = [torch.arange(2), torch.arange(2, 6)]
    found = sum(
        len(part) / 6 * value(terms, student[part], rows.select(part), batch_of(labels[part]))
        for part in parts
    )
    torch.testing.assert_close(found, value(terms, student, rows, batch_of(labels)))


# ---- rows ---------------------------------------------------------------------------------------


@EVERY_CASE
def test_no_gradient_reaches_the_teacher(name, space):
    student, teacher = draw(4, 5).requires_grad_(), draw(4, 5, seed=1).requires_grad_()
    for rows in rows_of(name, space, teacher):
        found = value(method_alone(name, space), student, rows, batch_of(labels_of(4)))
        found.backward()
        assert teacher.grad is None or not teacher.grad.any()
        assert student.grad.any()


@EVERY_CASE
def test_the_order_of_a_batch_is_nothing_to_it(name, space):
    terms, shuffled = method_alone(name, space), torch.tensor([3, 0, 4, 1, 2])
    student, teacher, labels = draw(5, 5), draw(5, 5, seed=1), labels_of(5)
    for rows in rows_of(name, space, teacher):
        ours = student, rows, batch_of(labels)
        theirs = student[shuffled], rows.select(shuffled), batch_of(labels[shuffled])
        torch.testing.assert_close(value(terms, *theirs), value(terms, *ours))
        torch.testing.assert_close(gradient(terms, *theirs), gradient(terms, *ours)[shuffled])


@EVERY_CASE
def test_many_rows_a_sample_are_as_many_samples(name, space):
    terms = method_alone(name, space)
    student, teacher, labels = draw(6, 5), draw(6, 5, seed=1), labels_of(6)
    for rows in rows_of(name, space, teacher):
        grouped = student.reshape(2, 3, 5), rows.of_samples(3), batch_of(labels.reshape(2, 3))
        flat = value(terms, student, rows, batch_of(labels))
        torch.testing.assert_close(value(terms, *grouped), flat)


@EVERY_CASE
def test_padding_adds_exactly_nothing(name, space):
    terms, counts = method_alone(name, space), torch.tensor([[True, True, False], [True] * 3])
    student, teacher, labels = draw(6, 5), draw(6, 5, seed=1), labels_of(6)
    flat = counts.flatten()
    for rows in rows_of(name, space, teacher):
        batch = batch_of(labels.reshape(2, 3), mask=counts)
        padded = student.reshape(2, 3, 5), rows.of_samples(3), batch
        kept = student[flat], rows.select(flat), batch_of(labels[flat])
        torch.testing.assert_close(value(terms, *padded), value(terms, *kept))
        found = gradient(terms, *padded)
        torch.testing.assert_close(found[counts], gradient(terms, *kept))
        assert not found[~counts].any()


@EVERY_CASE
def test_the_labels_of_unlabelled_samples_are_not_looked_at(name, space):
    terms, shown = method_alone(name, space), torch.tensor([True, False, True, False])
    student, teacher, labels = draw(4, 5), draw(4, 5, seed=1), labels_of(4)
    lies = torch.where(shown, labels, (labels + 1) % 5)
    for rows in rows_of(name, space, teacher):
        honest, lied_to = (
            gradient(terms, student, rows, batch_of(told, labelled=shown))
            for told in (labels, lies)
        )
        assert torch.equal(honest, lied_to)
        # Whether they teach at all is what the card says.
        assert bool(honest[~shown].any()) != METHODS[name].with_labels
        assert honest[shown].any()


@EVERY_CASE
def test_a_process_without_samples_adds_0_and_a_gradient(name, space):
    terms, none = method_alone(name, space), torch.zeros(0, 5)
    for rows in rows_of(name, space, none):
        student = none.clone().requires_grad_()
        found = value(terms, student, rows, batch_of(torch.zeros(0, dtype=torch.long)))
        assert float(found.detach()) == 0
        found.backward()


@EVERY
def test_dense_rows_of_another_temperature_teach_the_same(name):
    terms, (student, teacher) = method_alone(name), (draw(4, 5), draw(4, 5, seed=1))
    hot, cold = (
        Dense(values=torch.log_softmax(teacher / t, -1), temperature=t) for t in (1.0, 7.0)
    )
    ours, theirs = (value(terms, student, rows, batch_of(labels_of(4))) for rows in (hot, cold))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", [name for name in METHODS if "rows" in METHODS[name].needs])
def test_sparse_rows_that_name_every_class_teach_what_dense_ones_do(name):
    terms, student = method_alone(name), draw(4, 5)
    dense, named, _ = rows_of(name, "categorical", draw(4, 5, seed=1))
    ours, theirs = (value(terms, student, it, batch_of(labels_of(4))) for it in (named, dense))
    torch.testing.assert_close(ours, theirs)


# ---- what doctor proves -------------------------------------------------------------------------


@EVERY_CASE
def test_its_loss_is_what_it_promises(name, space):
    for rows in rows_of(name, space, draw(4, 5)):
        found = Findings()
        look_at_proofs(method_alone(name, space), [HEADS[space]], {"it": rows}, found)
        assert found.faults == []
        proven = {row[1] for _, _, table in found.tables for row in table}
        promised = METHODS[name].promises if METHODS[name].from_teacher else set()
        only_of_classes = {"unchanged by classes of -inf"} if space != "categorical" else set()
        assert proven == promised - only_of_classes


def test_what_can_be_promised_is_what_doctor_measures():
    assert {fact.name for fact in prove_rows(soft_targets)} == TRUE_TO_SIZE
