"""Each property is measured in all of its cases, in value and in gradient, and by its own bound."""

import pytest
import torch
import torch.nn.functional as F

import limbeck
from limbeck import losses
from limbeck.proofs._case import fractions, random_case, round_cases
from tests.proofs import broken
from tests.proofs.test_prove import breaks


def kl(student, teacher, temperature=1.0):
    return losses.soft_targets(student, teacher, temperature=temperature)


def with_gradient_of(rows, other):
    """Some rows' values, with the gradient of other ones beside their own."""
    return rows + other - other.detach()


def test_a_gradient_that_a_constant_moves_is_seen_where_no_value_is():
    def loss(student, teacher):
        return with_gradient_of(kl(student, teacher), student.square().sum(-1))

    assert "unmoved by a constant in a row" in breaks(loss)


def test_a_gradient_that_classes_scale_is_seen_where_no_value_is():
    def loss(student, teacher):
        rows = kl(student, teacher)
        return with_gradient_of(rows, rows / student.shape[-1])

    assert breaks(loss) == {"not scaled by the classes"}


def test_a_gradient_to_impossible_classes_is_seen():
    def loss(student, teacher):
        impossible = student.detach() < -1e3
        return with_gradient_of(kl(student, teacher), (student * impossible).sum(-1))

    assert "not scaled by the classes" in breaks(loss)


def test_what_is_zero_of_two_classes_alone_is_not_zero():
    proof = limbeck.prove(lambda s, t: kl(s, t) + float(s.shape[-1] > 2))
    assert "zero at equality" in {fact.name for fact in proof.properties if not fact.holds}


def test_rows_that_cancel_each_other_are_not_zero():
    def loss(student, teacher):
        signs = torch.ones(len(student)).cumsum(0) % 2 * 2 - 1
        return kl(student, teacher) + 0.01 * (signs - signs.mean())

    facts = {fact.name: fact for fact in limbeck.prove(loss).properties}
    assert not facts["zero at equality"].holds


def test_a_root_of_the_temperature_is_no_t_squared():
    def loss(student, teacher, temperature=4.0):
        return kl(student, teacher, temperature) * temperature**0.5

    assert breaks(loss) == {"T² is right"}


def test_what_is_only_near_a_known_loss_is_none():
    def loss(student, teacher):
        return kl(student, teacher) + 0.001 * (student - teacher.detach()).square().sum(-1)

    assert "none of the losses" in limbeck.prove(loss).kind


def test_labels_are_inputs_too():
    def loss(student, teacher, labels):
        rows = kl(student, teacher).mean() + F.cross_entropy(student, labels.clone())
        labels += 1
        return rows

    assert "leaves its inputs as they are" in breaks(loss)


def test_no_kind_excuses_an_error():
    def loss(student, teacher):
        if torch.equal(student, teacher):
            raise ValueError("nothing to learn")
        return F.cross_entropy(student, teacher.argmax(-1))

    assert breaks(loss) >= {"zero at equality", "stationary at equality"}


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda s, t: broken.default_mean(s, t, 2.0), "not scaled by the classes"),
        (lambda s, t: broken.default_mean(s, t, 5 / 3), "not scaled by the classes"),
        (lambda s, t: kl(s, t, 12.0).sum(), "not scaled by the batch"),  # 12 rows tell its kind
    ],
)
def test_of_a_temperature_inside_the_classes_and_the_batch_are_told_apart(loss, told):
    assert breaks(loss) == {told}


class Changes:
    """Another answer each time, but for the first case."""

    def __init__(self):
        self.asked = 0

    def __call__(self, student, teacher):
        self.asked += 1
        return kl(student, teacher) * (1 + self.asked * (student.shape[-1] > 2))


def test_every_case_is_asked_again():
    assert "the same when asked again" in breaks(Changes())


def test_every_case_is_asked_in_half_precision():
    def loss(student, teacher):
        if student.dtype == torch.bfloat16 and student.shape[-1] > 2:
            raise TypeError("no halves")
        return kl(student, teacher)

    assert breaks(loss) == {"finite in bfloat16"}


def test_labels_that_are_softened_twice_are_scaled_by_the_classes():
    def loss(student, teacher, labels):
        return kl(student, teacher).mean() + F.cross_entropy(student.softmax(-1), labels)

    assert breaks(loss) == {"not scaled by the classes"}


def test_no_row_that_is_asked_about_has_a_number_twice():
    # Of two classes that are alike a loss may choose one: argmax, sort and topk do.
    for case in [*round_cases(), fractions(), random_case()]:
        for rows in (case.student, case.teacher):
            assert float(rows.sort(-1).values.diff(dim=-1).min()) > 0


def test_a_mean_over_the_classes_that_are_finite_is_one_over_classes():
    def loss(student, teacher):
        some = teacher.isfinite() & student.isfinite()
        log_p, log_q = teacher.detach().log_softmax(-1), student.log_softmax(-1)
        terms = torch.where(some, log_p.exp() * (log_p - log_q), 0.0)
        return terms.sum(-1) / some.sum(-1)

    assert "not scaled by the classes" in breaks(loss)
