import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses.features import contrastive_log_normaliser, contrastive_representation
from tests.losses.features.plain import by_rows, dot, mean, rotated, unit


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def case(batch=4, negatives=6, features=5):
    return draw(batch, features), draw(batch, features), draw(batch, negatives, features)


def plain(log_normaliser, num_memory, temperature):
    def of_row(v, t, others):
        def h(x):
            return math.exp(dot(unit(v), unit(x)) / temperature) / math.exp(log_normaliser)

        c = len(others) / num_memory
        negative = sum(math.log(c / (h(x) + c)) for x in others)
        return -math.log(h(t) / (h(t) + c)) - negative

    return of_row


@pytest.mark.parametrize("options", [(2.0, 50, 0.5), (-1.0, 7, 0.07), (20.0, 50_000, 0.07)])
def test_is_noise_contrastive_estimation(options):
    tensors, (log_normaliser, num_memory, temperature) = case(), options
    found = contrastive_representation(
        *tensors, log_normaliser=log_normaliser, num_memory=num_memory, temperature=temperature
    )
    torch.testing.assert_close(found, by_rows(plain(*options), *tensors))


def test_the_temperature_is_the_papers_if_left_out():
    tensors, options = case(), {"log_normaliser": 2.0, "num_memory": 50}
    found = contrastive_representation(*tensors, **options)
    assert torch.equal(found, contrastive_representation(*tensors, **options, temperature=0.07))
    first = contrastive_log_normaliser(*tensors, num_memory=50)
    assert torch.equal(first, contrastive_log_normaliser(*tensors, num_memory=50, temperature=0.07))


def test_sees_directions_only_and_no_common_rotation():
    student, teacher, negatives = case()
    options = {"log_normaliser": 2.0, "num_memory": 50}
    found = contrastive_representation(student, teacher, negatives, **options)
    scaled = contrastive_representation(3 * student, 0.1 * teacher, 7 * negatives, **options)
    torch.testing.assert_close(scaled, found)
    together = rotated(torch.cat([student[:, None], teacher[:, None], negatives], dim=1))
    turned = contrastive_representation(together[:, 0], together[:, 1], together[:, 2:], **options)
    torch.testing.assert_close(turned, found)


def test_the_order_of_the_negatives_does_not_matter():
    student, teacher, negatives = case()
    options = {"log_normaliser": 2.0, "num_memory": 50}
    found = contrastive_representation(student, teacher, negatives, **options)
    moved = contrastive_representation(student, teacher, negatives.flip(1), **options)
    torch.testing.assert_close(moved, found)


def test_with_the_roles_changed_the_same_formula_trains_the_teachers_embedding():
    student, teacher, negatives = case()
    teacher.requires_grad_()
    options = {"log_normaliser": 2.0, "num_memory": 50}
    found = contrastive_representation(teacher, student, negatives, **options)
    found.sum().backward()
    assert float(teacher.grad.abs().min()) > 0
    swapped = by_rows(plain(2.0, 50, 0.07), teacher.detach(), student, negatives)
    torch.testing.assert_close(found.detach(), swapped)


def test_it_pulls_towards_the_teacher_and_away_from_the_negatives():
    student, teacher, negatives = case(negatives=1)
    student.requires_grad_()
    contrastive_representation(
        student, teacher, negatives, log_normaliser=0.0, num_memory=10, temperature=1.0
    ).sum().backward()
    step = student.detach() - 1e-4 * student.grad

    def cosine(a, b):
        return torch.cosine_similarity(a, b, dim=-1)

    ahead = cosine(step, teacher) - cosine(step, negatives[:, 0])
    before = cosine(student, teacher) - cosine(student, negatives[:, 0])
    assert bool((ahead > before).all())


@pytest.mark.parametrize("batch", [0, 1, 4, 6])
def test_negatives_of_all_rows_are_those_of_each(batch):
    student, teacher, _ = case(batch)
    shared = 3 * draw(6, 5)  # as many as rows, too: they stay negatives
    shared[2] = 0.0
    each = shared.expand(batch, -1, -1)
    student.requires_grad_()
    found, want = (
        contrastive_representation(student, teacher, negatives, log_normaliser=2.0, num_memory=50)
        for negatives in (shared, each)
    )
    torch.testing.assert_close(found, want)
    slopes = [torch.autograd.grad(loss.sum(), student)[0] for loss in (found, want)]
    torch.testing.assert_close(*slopes)
    if batch:
        starts = [
            contrastive_log_normaliser(student, teacher, negatives, num_memory=50)
            for negatives in (shared, each)
        ]
        torch.testing.assert_close(*starts)


def test_no_gradient_reaches_the_negatives():
    student, teacher, negatives = case()
    contrastive_representation(
        student.requires_grad_(),
        teacher,
        negatives.requires_grad_(),
        log_normaliser=0.0,
        num_memory=10,
    ).sum().backward()
    assert negatives.grad is None


def test_a_small_temperature_gives_finite_values():
    """Where the exponentials of the official code are infinite."""
    student, teacher, negatives = (tensor.float() for tensor in case())
    options = {"num_memory": 50, "temperature": 1e-3}
    start = contrastive_log_normaliser(student, teacher, negatives, **options)
    found = contrastive_representation(student, teacher, negatives, log_normaliser=start, **options)
    assert bool(torch.isfinite(start))
    assert bool(torch.isfinite(found).all())


def test_the_normaliser_is_the_memorys_size_times_the_mean():
    student, teacher, negatives = case()
    similar = [
        math.exp(dot(unit(v), unit(x)) / 0.07)
        for v, t, others in zip(student.tolist(), teacher.tolist(), negatives.tolist(), strict=True)
        for x in (t, *others)
    ]
    found = contrastive_log_normaliser(student.requires_grad_(), teacher, negatives, num_memory=50)
    assert float(found) == pytest.approx(math.log(50 * mean(similar)))
    assert not found.requires_grad


@pytest.mark.parametrize("loss", [contrastive_representation, contrastive_log_normaliser])
def test_options_and_shapes_that_are_wrong_are_refused(loss):
    student, teacher, negatives = case()
    options = {} if loss is contrastive_log_normaliser else {"log_normaliser": 0.0}
    with pytest.raises(OptionError, match=r"^num_memory must be 1 or more, got 0\.$"):
        loss(student, teacher, negatives, num_memory=0, **options)
    options["num_memory"] = 50
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        loss(student, teacher, negatives, temperature=0, **options)
    with pytest.raises(
        ShapeError, match=r"^student must be \(batch, features\), got shape \(4, 6,"
    ):
        loss(negatives, teacher, negatives, **options)
    with pytest.raises(ShapeError, match=r"^these must have one shape: student \(4, 5\), teacher"):
        loss(student, teacher[:3], negatives, **options)
    with pytest.raises(ShapeError, match=r"^negatives must be \(batch, negatives, features\), got"):
        loss(student, teacher, teacher[0], **options)
    with pytest.raises(ShapeError) as error:
        loss(student, teacher, negatives[..., :3], **options)
    assert str(error.value) == (
        "negatives must be (batch, negatives, features) with the student's batch and features, or "
        "(negatives, features), the same for every row: student (4, 5), negatives (4, 6, 3)."
    )
    for negatives in (draw(6, 3), draw(3, 6, 5)):
        with pytest.raises(
            ShapeError, match=r"^negatives must be \(batch, negatives, features\) w"
        ):
            loss(student, teacher, negatives, **options)


def test_a_normaliser_of_no_row_is_refused():
    with pytest.raises(ShapeError, match=r"^the normaliser is of a batch's mean: give at least on"):
        contrastive_log_normaliser(*case(batch=0), num_memory=50)


def test_no_negatives_are_refused():
    student, teacher, negatives = case()
    with pytest.raises(ShapeError, match=r"^there must be negatives: negatives \(4, 0, 5\)\.$"):
        contrastive_representation(
            student, teacher, negatives[:, :0], log_normaliser=0.0, num_memory=50
        )
