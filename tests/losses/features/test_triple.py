import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import cross_entropy, soft_targets
from limbeck.losses.features import cosine_distance, distilbert_triple
from tests.losses.features.plain import dot, kl, softmax, unit

NAMES = ["soft_weight", "hard_weight", "cosine_weight"]


def case(rows=8, classes=5, features=6):
    logits = torch.randn(2, rows, classes, dtype=torch.float64).unbind()
    hidden = torch.randn(2, rows, features, dtype=torch.float64).unbind()
    labels = torch.randint(classes, (rows,))
    labelled = torch.arange(rows) % 4 == 1
    return [*logits, labels.masked_fill(~labelled, -100), labelled, *hidden]


def test_the_mean_is_that_of_the_three_parts_with_the_official_weights():
    """Each part has the mean over its own rows: two of eight are labelled."""
    logits, teacher, labels, labelled, hidden, teacher_hidden = case()
    soft = [
        4 * kl(softmax(t, 2.0), softmax(s, 2.0))
        for s, t in zip(logits.tolist(), teacher.tolist(), strict=True)
    ]
    hard = cross_entropy(logits[labelled], labels[labelled])
    cosine = [
        1 - dot(unit(s), unit(t))
        for s, t in zip(hidden.tolist(), teacher_hidden.tolist(), strict=True)
    ]
    want = 5 * sum(soft) / 8 + 2 * float(hard.mean()) + sum(cosine) / 8
    found = distilbert_triple(logits, teacher, labels, labelled, hidden, teacher_hidden)
    assert found.shape == (8,)
    assert float(found.mean()) == pytest.approx(want)


@pytest.mark.parametrize("kept", NAMES)
def test_a_weight_of_0_leaves_its_part_out(kept):
    tensors = case()
    weights = {name: float(name == kept) for name in NAMES}
    logits, teacher, labels, labelled, hidden, teacher_hidden = tensors
    want = {
        "soft_weight": soft_targets(logits, teacher, temperature=2.0),
        "hard_weight": 4 * labelled * cross_entropy(logits, labels.clamp_min(0)),
        "cosine_weight": cosine_distance(hidden, teacher_hidden),
    }
    torch.testing.assert_close(distilbert_triple(*tensors, **weights), want[kept])


def test_is_linear_in_the_weights_and_takes_the_temperature():
    logits, teacher, labels, labelled, hidden, teacher_hidden = tensors = case()
    found = distilbert_triple(
        *tensors, soft_weight=3.0, hard_weight=0.5, cosine_weight=7.0, temperature=1.0
    )
    want = (
        3 * soft_targets(logits, teacher, temperature=1.0)
        + 0.5 * 4 * labelled * cross_entropy(logits, labels.clamp_min(0))
        + 7 * cosine_distance(hidden, teacher_hidden)
    )
    torch.testing.assert_close(found, want)


def test_takes_any_leading_shape():
    tensors = case()
    folded = [tensor.unflatten(0, (2, 4)) for tensor in tensors]
    torch.testing.assert_close(
        distilbert_triple(*folded), distilbert_triple(*tensors).unflatten(0, (2, 4))
    )


def test_rows_without_any_label_have_no_hard_part():
    logits, teacher, labels, labelled, *hidden = case()
    options = {"soft_weight": 0.0, "cosine_weight": 0.0}
    none = torch.zeros_like(labelled)
    found = distilbert_triple(logits, teacher, labels, none, *hidden, **options)
    assert torch.equal(found, torch.zeros(8, dtype=torch.float64))


def test_no_gradient_reaches_the_teachers_logits_or_states():
    logits, teacher, labels, labelled, hidden, teacher_hidden = case()
    for tensor in (logits, teacher, hidden, teacher_hidden):
        tensor.requires_grad_()
    distilbert_triple(logits, teacher, labels, labelled, hidden, teacher_hidden).sum().backward()
    assert logits.grad is not None
    assert hidden.grad is not None
    assert teacher.grad is None
    assert teacher_hidden.grad is None


def test_options_and_shapes_that_are_wrong_are_refused():
    logits, teacher, labels, labelled, hidden, teacher_hidden = case()
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        distilbert_triple(logits, teacher, labels, labelled, hidden, teacher_hidden, temperature=0)
    with pytest.raises(ShapeError) as error:
        distilbert_triple(logits, teacher, labels, labelled[:4], hidden, teacher_hidden)
    assert str(error.value) == (
        "labelled must have the shape of student_logits without its last axis (classes): expected "
        "(8,), got (4,)."
    )
    with pytest.raises(ShapeError, match=r"^labels must have the shape of student_hidden without"):
        distilbert_triple(logits, teacher, labels, labelled, hidden[:4], teacher_hidden)
    with pytest.raises(ShapeError, match=r"^these must have one shape: student \(8, 6\), teacher"):
        distilbert_triple(logits, teacher, labels, labelled, hidden, teacher_hidden[:4])
    with pytest.raises(ShapeError, match=r"^these must have one shape: student_logits"):
        distilbert_triple(logits, teacher[:, :3], labels, labelled, hidden, teacher_hidden)
