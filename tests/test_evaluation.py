import math

import pytest
import torch
from torch import nn

from limbeck._errors import ModelError, TrainingError
from limbeck.data import ArraySamples
from limbeck.evaluation import (
    Answers,
    answer_all,
    as_answerer,
    calibration_error,
    cost,
    evaluate,
    flops,
    median_latency_ms,
    nearness,
)
from limbeck.signals import Head
from limbeck.teachers import Teacher

HEAD = Head(space="categorical", size=3)
NUMBERS = Head(space="real", size=1)


class Fixed(nn.Module):
    """Answers its own input."""

    def forward(self, inputs):
        return inputs


def asked(rows, labels, mask=None):
    samples = ArraySamples(torch.tensor(rows), {"label": torch.tensor(labels)}, mask=mask)
    return answer_all(as_answerer(Fixed(), (HEAD,)), samples, HEAD)


def test_answers_keep_the_order_of_the_samples_over_batches():
    inputs = torch.randn(1300, 3)
    labels = torch.arange(1300) % 3
    samples = ArraySamples(inputs, {"label": labels})
    got = answer_all(as_answerer(Fixed(), (HEAD,)), samples, HEAD)
    assert torch.equal(got.rows, inputs)
    assert torch.equal(got.labels, labels)


def test_rows_that_do_not_count_are_gone():
    mask = torch.tensor([[True, False], [True, True]])
    rows = [[[1.0, 0, 0], [9.0, 9, 9]], [[0, 1.0, 0], [0, 0, 1.0]]]
    got = asked(rows, [[0, 0], [1, 2]], mask)
    assert got.rows.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert got.labels.tolist() == [0, 1, 2]


def test_a_model_that_raises_at_some_sample_is_named_with_its_inputs():
    class Fails(nn.Module):
        def forward(self, inputs):
            raise KeyError("no such token")

    answer = as_answerer(Fails(), (HEAD,))
    with pytest.raises(ModelError, match=r"the model cannot be called with the inputs .* KeyError"):
        answer(torch.zeros(3, 2))


def test_an_answer_that_is_not_finite_is_refused():
    with pytest.raises(TrainingError, match="answers for head label are not finite"):
        asked([[1.0, math.nan, 0]], [0])


def test_probabilities_are_scored_as_their_logarithms():
    answer = as_answerer(Fixed(), (HEAD,), outputs="probabilities")
    got = answer(torch.tensor([[0.5, 0.25, 0.25]]))["label"]
    torch.testing.assert_close(got.exp(), torch.tensor([[0.5, 0.25, 0.25]]))


def test_nearness_counts_agreement_also_where_the_teacher_is_wrong():
    labels = torch.tensor([0, 1, 2, 0])
    teacher = Answers(rows=torch.eye(3)[[0, 1, 0, 1]], labels=labels)  # wrong on the last two
    student = Answers(rows=torch.eye(3)[[0, 2, 0, 0]], labels=labels)
    got = nearness(student, teacher, HEAD)
    assert got.agreement == 0.5
    assert got.agreement_when_teacher_wrong == 0.5


def test_a_model_is_as_near_as_can_be_to_itself():
    answers = Answers(rows=torch.randn(50, 3), labels=torch.zeros(50, dtype=torch.long))
    got = nearness(answers, answers, HEAD)
    assert got.agreement == 1
    assert got.kl == pytest.approx(0, abs=1e-12)


def test_numbers_have_no_agreement_and_no_calibration():
    answers = Answers(rows=torch.randn(5, 1), labels=torch.randn(5, 1))
    assert nearness(answers, answers, NUMBERS).agreement is None
    assert calibration_error(answers, NUMBERS) is None


def test_flops_of_a_linear_layer_are_two_for_each_weight_and_sample():
    assert flops(nn.Linear(7, 5, bias=False), torch.randn(3, 7)) == 2 * 7 * 5 * 3


def test_cost_counts_parameters_and_bytes_of_buffers_too():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
    samples = ArraySamples(torch.randn(9, 4), {"label": torch.zeros(9, dtype=torch.long)})
    got = cost(model, samples)
    assert got.parameters == 4 * 3 + 3 + 3 + 3
    # 21 float32 parameters, 2 x 3 float32 running numbers, one int64 count
    assert got.bytes == 21 * 4 + 6 * 4 + 8
    assert got.latency_ms.batch_1 > 0
    assert got.latency_ms.batch_256 > 0


def test_latency_is_of_one_sample_and_of_256(monkeypatch):
    timed = []

    def median(model, inputs):
        timed.append(len(inputs))
        return float(len(inputs))

    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", median)
    samples = ArraySamples(torch.randn(9, 4), {"label": torch.zeros(9, dtype=torch.long)})
    got = cost(nn.Linear(4, 3), samples).latency_ms
    assert (got.batch_1, got.batch_256) == (1.0, 256.0)
    assert timed == [1, 256]


def test_what_is_no_module_has_no_cost():
    samples = ArraySamples(torch.randn(2, 4), {"label": torch.zeros(2, dtype=torch.long)})
    got = cost(lambda inputs: inputs, samples)
    assert (got.parameters, got.bytes, got.flops_per_example, got.latency_ms) == (None,) * 4


def test_latency_is_the_median_of_what_the_clock_says(monkeypatch):
    ticks = iter([0.0, *(t for i in range(40) for t in (i * 1.0, i * 1.0 + 0.004, i * 1.0))])
    monkeypatch.setattr("limbeck.evaluation.time.perf_counter", lambda: next(ticks))
    assert median_latency_ms(Fixed(), torch.zeros(1)) == pytest.approx(4.0)


def test_evaluate_measures_score_and_nearness_to_the_teacher():
    inputs = 2 * torch.eye(3)[[0, 1, 2, 0]]
    samples = ArraySamples(inputs, {"label": torch.tensor([0, 1, 2, 1])})
    teacher = Teacher(Fixed(), (HEAD,))
    got = evaluate(Fixed(), samples, (HEAD,), teacher=teacher)
    assert (got.metric, got.score) == ("accuracy", 0.75)
    assert got.nearness.agreement == 1
    assert evaluate(Fixed(), samples, (HEAD,)).nearness is None


PRODUCTS = {  # by hand: 2 for each multiplication and the addition that follows
    "encoder": (
        lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        (10, 32),
        10 * 2 * (32 * 96 + 32 * 32 + 32 * 64 + 64 * 32) + 2 * (2 * 10 * 10 * 32),
    ),
    "lstm": (lambda: First(nn.LSTM(16, 32, batch_first=True)), (10, 16), 10 * 4 * 2 * 32 * 48),
    "gru": (lambda: First(nn.GRU(16, 32, batch_first=True)), (10, 16), 10 * 3 * 2 * 32 * 48),
    "convolution": (lambda: nn.Conv2d(3, 8, 3, padding=1), (3, 8, 8), 2 * 3 * 8 * 9 * 64),
}


class First(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@pytest.mark.parametrize("kind", PRODUCTS)
def test_flops_of_fused_layers_are_counted_as_those_of_their_products(kind):
    make, shape, by_hand = PRODUCTS[kind]
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    assert flops(make().eval(), torch.randn(1, *shape)) == by_hand
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_flops_of_a_transformer_do_not_depend_on_how_attention_is_computed(attention):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=50,
        attn_implementation=attention,
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    layer = 12 * 2 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * (2 * 12 * 12 * 32)
    assert flops(model, torch.arange(12)[None]) == layer


def test_a_model_of_which_nothing_is_counted_has_no_flops_rather_than_0():
    samples = ArraySamples(torch.eye(3) * 2, {"label": torch.arange(3)})
    assert evaluate(Fixed(), samples, (HEAD,)).cost.flops_per_example is None
