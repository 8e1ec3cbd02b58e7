import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck import losses
from limbeck._errors import OptionError, TargetsError
from limbeck.methods import (
    SUPERVISED,
    every_method,
    mean_terms,
    objective,
    only_from_labels,
    supervised,
)
from limbeck.signals import Batch, Dense, Head, Sparse

LABEL = Head(space="categorical", size=4)
TAGS = Head(name="tags", space="binary", size=3)
PRICE = Head(name="price", space="real", size=2)
ANSWER = {"label": torch.tensor([[0.5, 1.0, -1.0, 0.0], [2.0, 0.0, 0.0, 1.0]])}


def make(heads, **options):
    return objective(
        "soft_targets",
        heads,
        **{"temperature": 2.0, "hard_weight": 0.3, "soft_weight": 0.7} | options,
    )


def batch(labels=None, **options):
    labels = labels if labels is not None else {"label": torch.tensor([1, 0])}
    size = len(next(iter(labels.values())))
    return Batch(inputs=torch.zeros(size, 1), labels=labels, index=torch.arange(size), **options)


def terms_of(head, student, teacher, labels):
    """Both terms of a one-head objective."""
    return mean_terms(
        make([head]), {head.name: student}, {head.name: teacher}, batch({head.name: labels})
    )


def test_a_head_of_classes_learns_softened_probabilities_and_labels():
    teacher, labels = torch.randn(2, 4), torch.tensor([1, 0])
    means = terms_of(LABEL, ANSWER["label"], Dense(values=teacher), labels)
    soft = losses.soft_targets(ANSWER["label"], teacher, temperature=2.0).mean()
    hard = losses.cross_entropy(ANSWER["label"], labels).mean()
    torch.testing.assert_close(means, {"soft": soft, "hard": hard})


def test_a_head_of_tags_learns_yes_or_no_probabilities():
    student, teacher = torch.randn(2, 2, 3).unbind()
    labels = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    means = terms_of(TAGS, student, Dense(values=teacher), labels)
    soft = losses.soft_binary_targets(student, teacher, temperature=2.0).mean()
    hard = losses.binary_cross_entropy(student, labels).mean()
    torch.testing.assert_close(means, {"soft": soft, "hard": hard})


def test_a_head_of_numbers_learns_the_teachers_numbers_at_any_temperature():
    student, teacher, labels = torch.randn(3, 2, 2).unbind()
    means = terms_of(PRICE, student, Dense(values=teacher, temperature=9.0), labels)
    soft = losses.squared_error(student, teacher).mean()
    hard = losses.squared_error(student, labels).mean()
    torch.testing.assert_close(means, {"soft": soft, "hard": hard})


def test_rows_stored_at_another_temperature_teach_the_same():
    logits = torch.randn(2, 4)
    stored = Dense(values=torch.log_softmax(logits / 8.0, -1), temperature=8.0)
    live, kept = (
        terms_of(LABEL, ANSWER["label"], rows, torch.tensor([1, 0]))["soft"]
        for rows in (Dense(values=logits), stored)
    )
    torch.testing.assert_close(kept, live)


def test_sparse_rows_teach_by_the_sparse_loss():
    rows = Sparse(
        ids=torch.tensor([[1], [0]]),
        probabilities=torch.tensor([[0.6], [0.9]]),
        tail=torch.tensor([0.4, 0.1]),
        temperature=2.0,
    )
    means = terms_of(LABEL, ANSWER["label"], rows, torch.tensor([1, 0]))
    want = losses.sparse_soft_targets(ANSWER["label"], rows)
    torch.testing.assert_close(means["soft"], want.mean())


def test_sparse_rows_of_another_temperature_are_refused():
    rows = Sparse(
        ids=torch.tensor([[1]]),
        probabilities=torch.tensor([[0.6]]),
        tail=torch.tensor([0.4]),
        temperature=4.0,
    )
    with pytest.raises(TargetsError) as error:
        terms_of(LABEL, ANSWER["label"][:1], rows, torch.tensor([1]))
    assert str(error.value) == (
        "these rows name some classes at temperature 4, and cannot be moved to 2. Set "
        "distil.temperature to one of theirs, or store them again."
    )


def test_several_heads_have_a_term_each_by_name():
    terms = make([LABEL, TAGS])
    assert [term.name for term in terms] == ["soft label", "soft tags", "hard label", "hard tags"]
    assert [term.weight for term in terms] == [0.7, 0.7, 0.3, 0.3]
    assert [term.with_labels for term in terms] == [False, False, True, True]
    assert [term.from_teacher for term in terms] == [True, True, False, False]


def test_a_hard_weight_of_0_asks_for_no_labels():
    assert [term.name for term in make([LABEL], hard_weight=0.0)] == ["soft"]


def test_a_control_learns_from_labels_alone():
    assert [(term.name, term.weight) for term in supervised([LABEL])] == [("hard", 1.0)]
    assert set(SUPERVISED) == {"categorical", "binary", "real"}
    assert only_from_labels(supervised([LABEL]))
    assert not only_from_labels(make([LABEL]))


def test_an_unknown_method_is_refused_with_the_nearest_one():
    with pytest.raises(OptionError) as error:
        objective("soft_target", [LABEL], temperature=1.0, hard_weight=0.0, soft_weight=1.0)
    assert str(error.value) == (
        "no method is called 'soft_target'. Did you mean soft_targets? There are "
        f"{', '.join(every_method())}; `limbeck methods` lists them. A loss of your own is "
        '"package.module:function".'
    )


def test_masked_rows_add_exactly_nothing_even_when_infinite():
    student = torch.randn(2, 3, 4)
    student[0, 2, 0] = student[1, 1, 1] = float("-inf")
    student.requires_grad_()
    labels = torch.tensor([[1, 2, 0], [3, 1, 2]])
    mask = torch.tensor([[True, True, False], [True, False, True]])
    whole = mean_terms(
        supervised([LABEL]), {"label": student}, None, batch({"label": labels}, mask=mask)
    )
    want = losses.cross_entropy(student[mask], labels[mask]).mean()
    torch.testing.assert_close(whole["hard"], want)
    (found,) = torch.autograd.grad(whole["hard"], student)
    (wanted,) = torch.autograd.grad(want, student)
    torch.testing.assert_close(found, wanted)
    assert torch.equal(found[~mask], torch.zeros(2, 4))


def test_only_labelled_samples_count_for_labels_and_all_for_the_teacher():
    student, teacher = torch.randn(2, 5, 4).unbind()
    labels = torch.tensor([0, 1, 2, 3, 0])
    labelled = torch.tensor([True, False, False, True, False])
    means = mean_terms(
        make([LABEL]),
        {"label": student},
        {"label": Dense(values=teacher)},
        batch({"label": labels}, labelled=labelled),
    )
    hard = losses.cross_entropy(student[labelled], labels[labelled]).mean()
    soft = losses.soft_targets(student, teacher, temperature=2.0).mean()
    torch.testing.assert_close(means, {"soft": soft, "hard": hard})


def test_all_rows_of_a_labelled_sample_count():
    student, labels = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2], [3, 0, 1]])
    labelled = torch.tensor([False, True])
    means = mean_terms(
        supervised([LABEL]), {"label": student}, None, batch({"label": labels}, labelled=labelled)
    )
    torch.testing.assert_close(means["hard"], losses.cross_entropy(student[1], labels[1]).mean())


def test_a_term_without_rows_that_count_is_0():
    none = torch.tensor([False, False])
    means = mean_terms(supervised([LABEL]), ANSWER, None, batch(labelled=none))
    assert float(means["hard"]) == 0
    empty = batch({"label": torch.zeros(0, dtype=torch.long)})
    means = mean_terms(supervised([LABEL]), {"label": torch.zeros(0, 4)}, None, empty)
    assert float(means["hard"]) == 0


@given(
    seed=st.integers(0, 1000),
    cut=st.integers(1, 5),
    rows=st.sampled_from([(), (3,)]),
    masked=st.booleans(),
    labelled=st.booleans(),
)
def test_shares_of_micro_batches_sum_to_the_mean_of_the_whole_batch(
    seed, cut, rows, masked, labelled
):
    generator = torch.Generator().manual_seed(seed)
    shape = (6, *rows)
    student, teacher = torch.randn(2, *shape, 4, generator=generator, dtype=torch.double).unbind()
    some = torch.rand(shape, generator=generator) > 0.5
    whole = batch(
        {"label": torch.randint(4, shape, generator=generator)},
        mask=some if masked and rows else None,
        labelled=torch.rand(6, generator=generator) > 0.5 if labelled else None,
    )
    terms = make([LABEL])

    def means(part):
        rows = {"label": Dense(values=teacher[part.index])}
        return mean_terms(terms, {"label": student[part.index]}, rows, part)

    want = means(whole)
    for term in terms:
        total = whole.count(with_labels=term.with_labels)
        found = sum(
            micro.count(with_labels=term.with_labels) / max(total, 1) * means(micro)[term.name]
            for micro in (whole.slice(0, cut), whole.slice(cut, 6))
        )
        torch.testing.assert_close(found, want[term.name])
