"""Each wrong loss is caught in what is wrong with it, and each of ours passes."""

import contextlib
import functools
import io
import re

import pytest
import torch
import torch.nn.functional as F

import limbeck
from limbeck import losses
from tests.losses.test_contract import named
from tests.proofs import broken

pytestmark = pytest.mark.no_cover  # counting the same lines again would take as long as testing

CAUGHT = {
    "keras_default": {
        "never negative",
        "stationary at equality",
        "T² is right",
        "unmoved by a constant in a row",
    },
    "kd_lib_vanilla": {
        "never negative",
        "zero at equality",
        "stationary at equality",
        "not scaled by the classes",
        "T² is right",
        "finite at logits of 1000",
    },
    "default_mean": {"not scaled by the classes"},
    "no_t_squared": {"T² is right"},
    "no_t_squared_inside": {"T² is right"},
    "t_once": {"T² is right"},
    "t_once_and_a_weight": {"T² is right"},
    "swapped": {"a gradient to the student", "no gradient to the teacher"},
    "forward_kl_swapped": {
        "is the forward KL",
        "not scaled by the classes",
        "finite at logits of 1000",
    },
    "softmax_of_probabilities": {
        "zero at equality",
        "stationary at equality",
        "not scaled by the classes",
    },
    "softmax_of_both_probabilities": {"not scaled by the classes"},
    "mlkd": {"not scaled by the batch"},
    "tiny_bert": {"not scaled by the classes", "T² is right"},
    "forward_kl": {"zero at equality"},
    "forward_kl_without_labels": {"zero at equality"},
    "log_of_softmax": {"not scaled by the classes", "finite at logits of 1000"},
    "not_detached": {"no gradient to the teacher"},
    "tf_kd_self": {"not scaled by the classes"},
    "tf_kd_regularization": {"not scaled by the classes"},
    "mask_unused": {"counts no masked row"},
    "mean_over_padding": {"counts no masked row"},
    "mean_over_ignored_labels": {"counts no masked row"},
    "sorted_both": {"sees which class is which"},
    "clamped_loss": {"pulls where both contradict each other"},
    "clamped_probability": {"pulls where both contradict each other"},
    "hardest_row": {"a gradient to every row"},
    "median_row": {"a gradient to every row"},
    "summed": {"not scaled by the batch"},
    "wrong_dimension": {"unmoved by a constant in a row"},
    "temperature_of_teacher_alone": {
        "zero at equality",
        "stationary at equality",
        "T² is right",
    },
    "temperature_unused": {"the temperature counts"},
    "mean_teacher": {"zero at equality", "stationary at equality"},
    "itself": {"a gradient to the student", "sees which row is whose"},
    "detached_student": {"a gradient to the student"},
    "neighbours": {"unmoved by the batch's order", "not scaled by the batch"},
    "writes": {"leaves its inputs as they are"},
    "Remembers": {"the same when asked again"},
    "rows_off_by_one": {"stationary at equality"},
    "softmax_twice_beside_labels": {"stationary at equality", "not scaled by the classes"},
    "detached_beside_labels": {"a gradient to the student"},
    "pushes_away": {"pulls towards the teacher"},
    "labels_off_by_one": {"labels pull towards their class"},
    "labels_times_t_squared": {"T² spares the labels"},
    "labels_softened": {"T² spares the labels", "stationary at equality"},
    "sum_beside_mean": {"not scaled by the batch"},
    "mean_beside_sum": {"not scaled by the batch"},
    "without_the_first_class": {"a gradient to every class"},
    "t_cubed_inside": {"T² is right"},
    "highest_two": {"sees which class is which"},
}
"""What breaks of each wrong loss, and nothing else of it."""


@functools.cache
def proof_of(name: str):
    """The proof of a wrong loss."""
    return limbeck.prove(getattr(broken, name), name=f"{broken.__name__}:{name}")


def breaks(loss, **options):
    """Names of what breaks."""
    return {fact.name for fact in limbeck.prove(loss, **options).breaks}


def run(code: str) -> str:
    """What Python prints for it."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    return said.getvalue()


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", text)]


def test_a_loss_is_found_by_where_it_is_as_on_the_command_line():
    proof = limbeck.prove("tests.proofs.broken:no_t_squared")
    assert {fact.name for fact in proof.breaks} == {"T² is right"}
    assert "from tests.proofs.broken import no_t_squared" in proof.definition


def test_every_wrong_loss_is_listed():
    ours = {
        name
        for name, value in vars(broken).items()
        if callable(value) and value.__module__ == broken.__name__ and not name.startswith("_")
    }
    assert ours == set(CAUGHT)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_wrong_loss_breaks_in_what_is_wrong_with_it_alone(name):
    proof = proof_of(name)
    assert not proof.holds
    assert {fact.name for fact in proof.breaks} == CAUGHT[name], proof


@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.filterwarnings("ignore:reduction")
def test_each_counterexample_is_small_and_runs_and_prints_what_it_says(name):
    proof = proof_of(name)
    for fact in proof.breaks:
        if fact.name == "is the forward KL":
            continue
        code = f"{proof.definition}\n\n{fact.counterexample}\n"
        rows = re.search(r"student = torch.tensor\(\[(.*)\], dtype", code)[1]
        assert rows.count("[") <= 3, rows
        assert rows.count(",") < 12, rows
        said = run(code)
        assert said.strip(), code
        got = re.search(r"  # (.*); expected", code)[1]
        if fact.name in ("zero at equality", "never negative"):
            assert numbers(got)[0] == pytest.approx(numbers(said)[0], rel=1e-2)
        elif fact.name == "finite at logits of 1000":
            assert "nan" in said or "inf" in said
        elif got == "another gradient with padding":
            assert len(re.findall(r"tensor\(", said)) == 3  # both values, and the gradient


def test_a_counterexample_that_is_not_round_has_four_places():
    def loss(student, teacher):
        return losses.soft_targets(student, teacher) - 100.0 * (teacher.shape[-1] == 10)

    (fact,) = [f for f in limbeck.prove(loss).breaks if f.name == "never negative"]
    assert re.search(r"student = torch.tensor\(\[\[-?\d+\.\d{3,4},", fact.counterexample)


def forward(student_logits, teacher_logits, temperature=4.0):
    log_q = F.log_softmax(student_logits / temperature, -1)
    p = F.softmax(teacher_logits.detach() / temperature, -1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_textbooks_loss_holds_and_is_recognised(temperature):
    proof = limbeck.prove(forward, options={"temperature": temperature})
    assert proof.holds
    assert proof.kind == (
        "It is the forward KL divergence, KL(teacher || student): Hinton's soft targets, at T = "
        f"{temperature:g}."
    )
    assert proof.returns == "one value for all rows"
    assert limbeck.prove(losses.soft_targets).returns == "one value for each row"


def test_masked_classes_that_are_not_a_number_are_told_and_no_fault():
    (fact,) = [fact for fact in limbeck.prove(forward).properties if not fact.holds]
    assert fact.name == "unchanged by classes of -inf"
    assert fact.of_its_kind
    assert "give -1e4 instead" in fact.otherwise


OWN = {
    name: getattr(losses, name)
    for name in (
        "alpha_beta",
        "batch_consistency",
        "class_consistency",
        "correlation_distance",
        "cross_entropy",
        "decoupled_soft_targets",
        "enhanced_soft_cross_entropy",
        "interpolated_word_level",
        "jensen_shannon",
        "label_smoothing",
        "logit_regression",
        "multi_level_soft_targets",
        "normalised_soft_targets",
        "reverse_kl",
        "sequence_level",
        "skew_kl",
        "skew_reverse_kl",
        "soft_cross_entropy",
        "soft_targets",
        "teacher_free_soft_targets",
        "total_variation",
        "universal_logit_distance",
        "weighted_soft_targets",
        "word_level",
    )
} | {
    "standardised": lambda student, teacher, temperature=2.0: losses.soft_targets(
        losses.standardised(student), losses.standardised(teacher), temperature=temperature
    ),
    "by_chunks_of_both": lambda student, teacher: losses.by_chunks_of_both(
        losses.soft_targets,
        student,
        torch.eye(student.shape[-1], dtype=student.dtype),
        teacher,
        torch.eye(teacher.shape[-1], dtype=teacher.dtype),
    ),
}
OF_NUMBERS = {
    "squared_error": losses.squared_error,
    "margin_squared_error": losses.margin_squared_error,
    "gaussian_kl": lambda student, teacher: losses.gaussian_kl(
        student, student.flip(-1).clamp(-0.5, 0.5), teacher, teacher.flip(-1).clamp(-0.5, 0.5)
    ),
}
OF_YES_AND_NO = {"soft_binary_targets": losses.soft_binary_targets}
FROM_ROWS = [name for name in losses.__all__ if name.startswith("sparse_")]
NOT_PROVED = {  # no teacher's logits, or not as many numbers as they have
    "binary_cross_entropy",
    "by_chunks",
    "gaussian_nll",
    "pinball",
    "weighted_mean",
}


def test_no_loss_of_ours_is_left_out():
    proved = {*OWN, *OF_NUMBERS, *OF_YES_AND_NO, *FROM_ROWS}
    assert proved | NOT_PROVED == set(losses.__all__)


@pytest.mark.parametrize("name", OWN)
def test_each_of_our_losses_holds(name):
    proof = limbeck.prove(OWN[name], name=f"limbeck.losses:{name}")
    assert proof.holds, proof.breaks
    infinite = [f for f in proof.properties if f.name == "unchanged by classes of -inf"]
    assert all(fact.holds for fact in infinite) or name == "by_chunks_of_both"


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_each_of_our_losses_of_numbers_holds(name):
    assert limbeck.prove(OF_NUMBERS[name], space="real").holds


@pytest.mark.parametrize("name", OF_YES_AND_NO)
def test_each_of_our_losses_of_yes_and_no_holds(name):
    proof = limbeck.prove(OF_YES_AND_NO[name], space="binary")
    assert proof.holds
    assert proof.kind == "It is a KL divergence of yes or no for each class, at T = 4."


@pytest.mark.parametrize("name", FROM_ROWS)
def test_each_of_our_losses_from_sparse_rows_is_above_its_lowest_and_finite(name):
    def loss(student, teacher, labels):
        extra = [labels] if "decoupled" in name else []
        return getattr(losses, name)(student, named(teacher), *extra)

    found = {fact.name: fact for fact in limbeck.prove(loss, name=name).properties}
    for fact in (
        "a gradient to the student",
        "never negative",
        "stationary at equality",
        "no gradient to the teacher",
        "not scaled by the batch",
        "unmoved by a constant in a row",
        "finite at logits of 1000",
        "finite in bfloat16",
        "unmoved by the batch's order",
        "sees which row is whose",
    ):
        assert not found[fact].breaks, found[fact]


def said(loss, name, **options):
    """What is told of a property that does not hold."""
    proof = limbeck.prove(loss, **options)
    return next(fact.otherwise for fact in proof.properties if fact.name == name)


def test_what_is_a_matter_of_kind_is_explained_in_a_sentence():
    assert said(losses.soft_cross_entropy, "zero at equality") == (
        "This is a cross-entropy: its minimum is the teacher's entropy, not 0."
    )
    assert said(losses.logit_regression, "unmoved by a constant in a row").startswith(
        "It compares the logits as numbers"
    )
    assert said(losses.total_variation, "T² is right").startswith("It is of first order")
    assert said(losses.batch_consistency, "not scaled by the batch").startswith(
        "It compares the rows of a batch with each other"
    )
    assert said(losses.class_consistency, "sees which row is whose").startswith(
        "It compares classes over the whole batch"
    )


def test_what_is_missing_is_named_and_measured():
    assert "At twice the temperature the gradient is 0.25 times" in said(
        broken.no_t_squared, "T² is right"
    )
    assert "T² is missing, beside a weight of 0.9" in said(
        broken.t_once_and_a_weight, "T² is right"
    )
    assert "It is a mean over classes" in said(broken.default_mean, "not scaled by the classes")
    assert "It is a sum over the batch" in said(broken.summed, "not scaled by the batch")
    assert "a sum of the teacher's part over" in said(
        broken.sum_beside_mean, "not scaled by the batch"
    )
    assert "a sum of the labels' part over" in said(
        broken.mean_beside_sum, "not scaled by the batch"
    )
    assert "every row's gradient is 0.5 times" in said(broken.mlkd, "not scaled by the batch")


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (losses.reverse_kl, "the reverse KL divergence, KL(student || teacher), at T = 1"),
        (losses.jensen_shannon, "the Jensen-Shannon divergence"),
        (lambda s, t: 0.3 * losses.soft_targets(s, t), "at T = 4, times 0.3"),
        (lambda s, t: ((s - t.detach()) ** 2).mean(), "a squared error of the logits"),
        (
            lambda s, t: ((s.softmax(-1) - t.detach().softmax(-1)) ** 2).sum(-1),
            "a squared error of the probabilities, at T = 1",
        ),
    ],
)
def test_a_loss_is_recognised_by_its_gradient(loss, kind):
    assert kind in limbeck.prove(loss).kind


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_a_distance_of_numbers_may_be_a_mean_over_them(loss):
    def towards(student, teacher):
        return loss(student, teacher.detach())

    assert limbeck.prove(towards).holds
    told = {fact.name for fact in limbeck.prove(towards).properties if not fact.holds}
    assert told >= {"not scaled by the classes", "unmoved by a constant in a row"}


def test_a_standardised_loss_counts_impossible_classes():
    def standardised(logits):
        return (logits - logits.mean(-1, keepdim=True)) / (1e-7 + logits.std(-1, keepdim=True))

    def loss(student, teacher, temperature=2.0):
        return forward(standardised(student), standardised(teacher), temperature)

    assert limbeck.prove(loss).holds
    assert said(loss, "not scaled by the classes").startswith("It standardises each row")


def test_labels_beside_a_teacher_leave_the_teachers_part_to_be_told():
    def both(logits, labels, teacher_logits, temperature=4.0):
        soft = forward(logits, teacher_logits, temperature)
        return 0.9 * soft + 0.1 * F.cross_entropy(logits, labels)

    proof = limbeck.prove(both)
    assert proof.holds
    assert proof.kind.startswith("Its teacher's part is the forward KL divergence")
    assert proof.kind.endswith("at T = 4, times 0.9.")


def test_a_weight_is_no_missing_t_squared():
    assert limbeck.prove(lambda s, t: 0.3 * losses.soft_targets(s, t)).holds


def test_a_direction_may_be_expected():
    assert limbeck.prove(losses.soft_targets, expect="forward").holds
    assert breaks(losses.soft_targets, expect="reverse") == {"is the reverse KL"}
    assert breaks(losses.skew_kl, expect="forward") == {"is the forward KL"}


def test_the_reverse_kl_is_told_to_whom_did_not_ask_for_it():
    (note,) = limbeck.prove(lambda s, t: losses.reverse_kl(s, t)).notes
    assert "If Hinton's soft targets were meant, its arguments are swapped" in note
    assert limbeck.prove(losses.reverse_kl).notes == ()


def test_labels_that_only_mask_are_no_labels():
    assert "cross-entropy" in limbeck.prove(broken.forward_kl).kind


def test_the_random_state_is_left_alone():
    before = torch.get_rng_state()
    limbeck.prove(losses.soft_targets)
    assert torch.equal(before, torch.get_rng_state())
