import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import attention_relations, attention_scores, value_relations
from tests.losses.features.plain import by_rows, dot, flat, kl, maps, mean, rotated, softmax


def case(student_width=4, teacher_width=6):
    """Queries and keys of 3 rows, 2 heads and 5 tokens."""
    widths = (student_width, student_width, teacher_width, teacher_width)
    return [torch.randn(3, 2, 5, width, dtype=torch.float64) for width in widths]


def relations(queries, keys, seen):
    """Of one head: where each token attends, among those that are seen."""
    scale = math.sqrt(len(queries[0]))
    return [
        softmax([dot(q, k) / scale for k, s in zip(keys, seen, strict=True) if s]) for q in queries
    ]


def plain(seen):
    def of_row(*sides):
        heads = [
            [kl(t, s) for s, t in zip(relations(q, k, seen), relations(u, v, seen), strict=True)]
            for q, k, u, v in zip(*sides, strict=True)
        ]
        return [mean(head[token] for head in heads) * seen[token] for token in range(5)]

    return of_row


def test_is_each_tokens_mean_over_heads_of_the_kl_between_attentions():
    tensors = case()
    want = by_rows(plain([True] * 5), *tensors)
    torch.testing.assert_close(attention_relations(*tensors), want)


def test_value_relations_are_those_of_the_values_with_themselves():
    student, _, teacher, _ = case()
    want = by_rows(plain([True] * 5), student, student, teacher, teacher)
    torch.testing.assert_close(value_relations(student, teacher), want)


def test_tokens_that_do_not_count_are_neither_scored_nor_attended_to():
    tensors, seen = case(), [True, True, False, True, False]
    mask = torch.tensor(seen).expand(3, 5)
    found = attention_relations(*tensors, mask=mask)
    torch.testing.assert_close(found, by_rows(plain(seen), *tensors))
    assert torch.equal(found[:, [2, 4]], torch.zeros(3, 2, dtype=torch.float64))


@pytest.mark.parametrize("loss", ["attention", "values"])
def test_padding_adds_exactly_nothing(loss):
    def call(tensors, mask=None):
        if loss == "attention":
            return attention_relations(*tensors, mask=mask)
        return value_relations(*tensors[::2], mask=mask)

    tensors = [tensor.requires_grad_() for tensor in case()]
    padded = [torch.cat([x.detach(), 1e3 * torch.randn(3, 2, 4, x.shape[3])], 2) for x in tensors]
    padded = [tensor.requires_grad_() for tensor in padded]
    value = call(tensors)
    value.sum().backward()
    with_padding = call(padded, (torch.arange(9) < 5).expand(3, 9))
    with_padding.sum().backward()
    torch.testing.assert_close(with_padding[:, :5], value)
    assert torch.equal(with_padding[:, 5:], torch.zeros(3, 4, dtype=torch.float64))
    torch.testing.assert_close(padded[0].grad[:, :, :5], tensors[0].grad)
    assert float(padded[0].grad[:, :, 5:].abs().max()) == 0.0
    assert padded[2].grad is None


def test_a_row_without_any_token_that_counts_is_0_and_has_no_gradient():
    student, _, teacher, _ = case()
    mask = torch.tensor([[True] * 5, [False] * 5, [True] * 5])
    found = value_relations(student.requires_grad_(), teacher, mask=mask)
    found.sum().backward()
    assert torch.equal(found[1], torch.zeros(5, dtype=torch.float64))
    assert float(student.grad[1].abs().max()) == 0.0
    assert float(student.grad[0].abs().max()) > 0.0


def test_no_gradient_reaches_the_teachers_queries_or_keys():
    tensors = [tensor.requires_grad_() for tensor in case()]
    attention_relations(*tensors).sum().backward()
    assert [tensor.grad is None for tensor in tensors] == [False, False, True, True]


def test_values_may_be_rotated_within_a_head():
    student, _, teacher, _ = case()
    found = value_relations(student, teacher)
    torch.testing.assert_close(value_relations(rotated(student), teacher), found)
    torch.testing.assert_close(value_relations(student, rotated(teacher)), found)


def test_the_scale_is_each_sides_own_width():
    student, _, _, _ = case()
    wider = torch.cat([student, torch.zeros_like(student)], dim=3) * 2**0.25
    found = value_relations(student, wider)
    torch.testing.assert_close(found, torch.zeros(3, 5, dtype=torch.float64))


def test_attention_scores_are_the_mean_squared_error_of_the_scores():
    student, teacher = maps(3, 2, 5, 5)

    def plain(s, t):
        return mean((a - b) ** 2 for a, b in zip(flat(s), flat(t), strict=True))

    found = attention_scores(student, teacher)
    torch.testing.assert_close(found, by_rows(plain, student, teacher))


@pytest.mark.parametrize("low", [-100.0, -1e4, -math.inf])
def test_a_score_of_a_masks_counts_as_0(low):
    student, teacher = maps(3, 2, 5, 5)
    student[..., 3:] = low
    teacher[..., 3:] = low
    student.requires_grad_()
    found = attention_scores(student, teacher)
    found.sum().backward()
    want = attention_scores(student.detach()[..., :3], teacher[..., :3]) * 3 / 5
    torch.testing.assert_close(found.detach(), want)
    assert float(student.grad[..., 3:].abs().max()) == 0.0
    assert bool(torch.isfinite(student.grad).all())


def test_a_score_that_only_one_side_masks_is_compared_with_0():
    student, teacher = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), -1e4)
    assert float(attention_scores(student, teacher)) == 9.0
    assert float(attention_scores(teacher, student)) == 9.0


def test_what_counts_as_a_masks_score_can_be_set():
    student, teacher = torch.full((1, 1, 1, 1), -200.0), torch.full((1, 1, 1, 1), 0.0)
    assert float(attention_scores(student, teacher)) == 0.0
    assert float(attention_scores(student, teacher, lowest=-math.inf)) == 200.0**2
    infinite = torch.full((1, 1, 1, 1), -math.inf)
    assert float(attention_scores(infinite, teacher, lowest=-math.inf)) == 0.0


def test_shapes_that_do_not_fit_are_refused():
    student_queries, student_keys, teacher_queries, teacher_keys = case()
    with pytest.raises(ShapeError) as error:
        attention_relations(
            student_queries[:, :1], student_keys[:, :1], teacher_queries, teacher_keys
        )
    assert str(error.value) == (
        "these must have one batch, number of heads and number of tokens: student_queries "
        "(3, 1, 5, 4), teacher_queries (3, 2, 5, 6)."
    )
    with pytest.raises(ShapeError, match=r"^these must have one shape: student_queries .*_keys"):
        attention_relations(student_queries, teacher_keys, teacher_queries, teacher_keys)
    with pytest.raises(ShapeError, match=r"^these must have one shape: teacher_queries .*_keys"):
        attention_relations(student_queries, student_keys, teacher_queries, student_keys)
    with pytest.raises(ShapeError, match=r"^student_queries must be \(batch, heads, tokens, width"):
        value_relations(student_queries[0], teacher_queries)
    with pytest.raises(ShapeError) as error:
        value_relations(student_queries, teacher_queries, mask=torch.ones(3, 4, dtype=torch.bool))
    assert str(error.value) == "mask must be (batch, tokens), expected (3, 5), got (3, 4)."
    with pytest.raises(ShapeError, match=r"^student must be \(batch, heads, tokens, tokens\), got"):
        attention_scores(torch.zeros(3, 5, 5), torch.zeros(3, 5, 5))
    with pytest.raises(ShapeError, match=r"^these must have one shape: student .*, teacher "):
        attention_scores(torch.zeros(3, 2, 5, 5), torch.zeros(3, 4, 5, 5))
