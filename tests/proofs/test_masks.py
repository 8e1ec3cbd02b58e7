"""Rows that are masked are as if they were not there, and what is no padding is no fault."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import limbeck
from limbeck import losses
from tests.proofs import broken
from tests.proofs.test_prove import run

NAME = "counts no masked row"


def numbers_in(text):
    return [float(number) for number in re.findall(r"tensor\((-?[\d.e+-]+)", text)]


def kl(student, teacher):
    return losses.soft_targets(student, teacher)


def found(loss, **options):
    """The property, or None where it is not asked."""
    facts = [f for f in limbeck.prove(loss, **options).properties if f.name == NAME]
    return facts[0] if facts else None


def weighted(student, teacher, mask):
    return (kl(student, teacher) * mask).sum() / mask.sum()


def indexed(student, teacher, mask):
    return kl(student, teacher)[mask].mean()


def zeros(student, teacher, mask):
    return kl(student, teacher) * mask


def absent(student, teacher, mask):
    return kl(student, teacher)[mask]


def by_labels(student, teacher, labels):
    return weighted(student, teacher, labels != -100)


def labels_that_pull(student, teacher, labels):
    hard = F.cross_entropy(student, labels)
    return hard + weighted(student, teacher, labels != -100)


def mask_and_labels(student, teacher, labels, mask):
    return F.cross_entropy(student, labels) + weighted(student, teacher, mask)


def mask_and_labels_that_index(student, teacher, labels, mask):
    hard = -student.log_softmax(-1)[torch.arange(len(student)), labels]
    return ((kl(student, teacher) + hard) * mask).sum() / mask.sum()


def optional(student, teacher, labels=None, mask=None):
    rows = kl(student, teacher)
    return rows.mean() if mask is None else rows[mask].mean()


def optional_labels(student, teacher, labels=None):
    rows = kl(student, teacher)
    return rows.mean() if labels is None else rows[labels != -100].mean()


def no_teacher(student, labels):
    return F.cross_entropy(student, labels)


RIGHT = [
    weighted,
    indexed,
    zeros,
    absent,
    by_labels,
    labels_that_pull,
    mask_and_labels,
    mask_and_labels_that_index,
    optional,
    optional_labels,
    no_teacher,
    losses.word_level,
    losses.interpolated_word_level,
]


@pytest.mark.parametrize("loss", RIGHT)
def test_a_loss_that_leaves_masked_rows_out_holds(loss):
    proof = limbeck.prove(loss)
    assert proof.holds, proof.breaks
    assert NAME in {fact.name for fact in proof.properties if fact.holds}


def constant_in_masked_rows(student, teacher, mask):
    return torch.where(mask, kl(student, teacher), 1.0)


def taught_all_the_same(student, teacher, mask):
    rows = kl(student, teacher)
    return torch.where(mask, rows, rows - rows.detach())


def counted_twice(student, teacher, labels):
    mask = labels != -100
    hard = F.cross_entropy(student, labels)
    return hard + (kl(student, teacher) * mask).mean()


def other_rows(student, teacher, mask):
    return kl(student, teacher)[: int(mask.sum())].mean()


def scaled(student, teacher, mask):
    return kl(student, teacher)[mask].mean() * mask.sum() / len(mask)


def optional_and_ignored(student, teacher, labels=None):
    rows = kl(student, teacher)
    return rows.mean() if labels is None else (rows * (labels != -100)).mean()


@pytest.mark.parametrize(
    "loss",
    [
        constant_in_masked_rows,
        taught_all_the_same,
        counted_twice,
        other_rows,
        scaled,
        optional_and_ignored,
    ],
    ids=lambda loss: loss.__name__,
)
def test_what_masked_rows_change_breaks(loss):
    assert {fact.name for fact in limbeck.prove(loss).breaks} == {NAME}


def test_what_is_the_matter_is_told():
    assert "is mask used?" in found(broken.mask_unused).otherwise
    assert found(broken.mean_over_padding).otherwise.endswith("mask.sum().")
    assert found(broken.mean_over_ignored_labels).otherwise.endswith("(labels != -100).sum().")


def test_a_counterexample_has_its_mask_or_labels_and_the_losss_own_call():
    for name in ("mask_unused", "mean_over_padding", "mean_over_ignored_labels"):
        proof = limbeck.prove(getattr(broken, name), name=f"{broken.__name__}:{name}")
        code = f"{proof.definition}\n\n{found(getattr(broken, name)).counterexample}"
        assert ("labels = torch.tensor([0, -100])" in code) == (name == "mean_over_ignored_labels")
        assert ("mask = torch.tensor([True, False])" in code) == ("labels" not in name)
        said = [float(number) for number in re.findall(r"-?\d\.\d+", run(code))]
        if name == "mask_unused":
            assert said[2:] != [0.0, 0.0]  # the gradient in the second row
        else:
            assert said[0] == pytest.approx(said[1] / 2, rel=1e-3)


def test_a_counterexample_is_the_roundest_of_its_shape():
    (student, teacher) = re.findall(
        r"tensor\(\[(.*)\], dtype", found(broken.mask_unused).counterexample
    )
    # Two rows on each side, in none a number twice: 4 rows of 0 and 1 would be the same two.
    assert sum(abs(float(number)) for number in re.findall(r"[\d.]+", student + teacher)) <= 7


def test_a_modules_mask_is_asked_for_too():
    class Masked(nn.Module):
        def forward(self, student, teacher, mask=None):
            return broken.mean_over_padding(student, teacher, mask)

    assert found(Masked).breaks


def both(student, teacher, labels):
    return F.cross_entropy(student, labels) + kl(student, teacher).mean()


def labels_unused(student, teacher, labels):
    return kl(student, teacher).mean()


@pytest.mark.parametrize("loss", [both, labels_unused])
def test_a_teacher_that_teaches_rows_without_a_label_gets_a_note(loss):
    proof = limbeck.prove(loss)
    assert proof.holds
    assert found(loss).of_its_kind
    assert "right where such a row only has no label" in found(loss).otherwise


def test_labels_that_index_are_not_asked_for_padding():
    def loss(student, teacher, labels):
        return kl(student, teacher) - student.log_softmax(-1)[torch.arange(len(student)), labels]

    assert found(loss) is None


def test_a_mask_of_another_kind_that_may_be_left_out_is_left_out():
    def of_classes(student, teacher, mask=None):
        keep = 1.0 if mask is None else mask.expand_as(student)
        return (kl(student * keep, teacher * keep)).mean()

    assert found(of_classes) is None


def turned_round(student, teacher, mask):
    return (kl(student, teacher) * ~mask).sum() / (~mask).sum()


def turned_round_by_name(student, teacher, ignore_mask=None):
    rows = kl(student, teacher)
    return rows.mean() if ignore_mask is None else rows[~ignore_mask].mean()


def padding_taught(student, teacher, padding_mask):
    return (kl(student, teacher) * padding_mask).sum() / padding_mask.sum().clamp_min(1)


def padding_divides(student, teacher, padding_mask):
    return (kl(student, teacher) * ~padding_mask).mean()


def of_sequences(student_logits, teacher_logits, attention_mask):
    batch, length, _ = student_logits.shape
    rows = kl(student_logits, teacher_logits).reshape(batch, length) * attention_mask
    return rows.sum() / attention_mask.sum()


def of_tokens(student_logits, teacher_logits, labels):
    """One value for each token; labels of -100 are no tokens."""
    batch, length, _ = student_logits.shape
    return kl(student_logits, teacher_logits) * (labels != -100).reshape(batch, length)


def of_sequences_padded(student_logits, teacher_logits, attention_mask):
    return of_sequences(student_logits, teacher_logits, torch.ones_like(attention_mask))


@pytest.mark.parametrize(
    ("loss", "call"),
    [
        (
            of_sequences,
            "of_sequences(student[:, None], teacher[:, None], "
            "torch.ones(len(student), dtype=torch.bool)[:, None]).squeeze(-1)",
        ),
        (of_tokens, "of_tokens(student[:, None], teacher[:, None], labels[:, None]).squeeze(-1)"),
    ],
)
def test_sequences_are_given_as_such_of_one_token_each(loss, call):
    proof = limbeck.prove(loss)
    assert proof.call == call
    assert proof.holds, proof.breaks
    assert "forward KL" in proof.kind
    assert found(loss).holds
    assert "each row is given as one of a single token" in proof.notes[0]


def test_a_counterexample_of_sequences_runs():
    proof = limbeck.prove(of_sequences_padded, name="tests.proofs.test_masks:of_sequences_padded")
    (fact,) = proof.breaks
    assert fact.name == NAME
    assert "tensor" in run(f"{proof.definition}\n\n{fact.counterexample}\n")


@pytest.mark.parametrize(
    ("loss", "why"),
    [(turned_round, "only rows of False learn"), (turned_round_by_name, "its name says so")],
)
def test_a_mask_whose_true_means_padding_is_given_so_and_that_is_told(loss, why):
    fact, proof = found(loss), limbeck.prove(loss)
    assert fact is not None
    assert proof.holds, proof.breaks
    assert proof.notes[0].endswith(f"whose True means padding, for {why}.")
    assert not any("padding" in note for note in limbeck.prove(weighted).notes)


def test_what_is_wrong_with_a_padding_mask_is_caught_and_its_code_runs():
    assert found(padding_divides).breaks
    assert not limbeck.prove(padding_taught).holds
    proof = limbeck.prove(padding_divides, name="tests.proofs.test_masks:padding_divides")
    (fact,) = [fact for fact in proof.breaks if fact.name == NAME]
    said = numbers_in(run(f"{proof.definition}\n\n{fact.counterexample}\n"))
    assert said[0] == pytest.approx(said[1] / 2, rel=1e-3)


def test_labels_that_choose_what_is_taught_are_no_masks():
    def where_the_teacher_is_right(student, teacher, labels):
        right = teacher.argmax(-1) == labels
        return (kl(student, teacher) * right).mean() + F.cross_entropy(student, labels)

    fact = found(where_the_teacher_is_right)
    assert not fact.breaks
    assert "right where such a row only has no label" in fact.otherwise


def test_without_mask_and_labels_nothing_is_asked():
    assert found(kl) is None
