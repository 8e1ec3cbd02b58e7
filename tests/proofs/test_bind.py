"""What users write is called as they mean it, and what cannot be is refused in a sentence."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import limbeck
from limbeck._errors import LossError, OptionError
from limbeck.losses import soft_targets


def kd(student, teacher, temperature=4.0):
    return soft_targets(student, teacher, temperature=temperature).mean()


class Loss(nn.Module):
    def __init__(self, T=4.0, weight=1.0):  # noqa: N803
        super().__init__()
        self.temperature, self.weight = T, weight

    def forward(self, logits_student, logits_teacher):
        return self.weight * kd(logits_student, logits_teacher, self.temperature)


class Plain(nn.Module):
    def forward(self, student, teacher):
        return kd(student, teacher)


def make(tau=4.0):
    return lambda student, teacher: kd(student, teacher, tau)


def teacher_first(teacher_logits, student_logits):
    return kd(student_logits, teacher_logits)


def keras_order(y_true, y_pred):
    return kd(y_pred, y_true)


def labels_between(outputs, labels, teacher_outputs, T=3.0, *, alpha=0.5):  # noqa: N803
    soft = kd(outputs, teacher_outputs, T)
    return alpha * soft + (1 - alpha) * F.cross_entropy(outputs, labels)


def optional_labels(student, teacher, labels=None, temperature=2.0):
    hard = 0.0 if labels is None else F.cross_entropy(student, labels)
    return kd(student, teacher, temperature) + hard


def needed_labels(student, teacher, labels=None):
    return kd(student, teacher) + F.cross_entropy(student, labels)


def masked(student, teacher, mask):
    return soft_targets(student, teacher)[mask].mean()


def float32_only(student, teacher):
    if student.dtype == torch.float64:
        raise TypeError("float64 is not for me")
    return kd(student, teacher)


def required_temperature(student, teacher, tau):
    return kd(student, teacher, tau)


def of_log_probabilities(student_log_probs, teacher_log_probs):
    return F.kl_div(
        student_log_probs, teacher_log_probs.detach(), log_target=True, reduction="batchmean"
    )


def of_probabilities(student_logprobs, teacher_probs):
    return F.kl_div(student_logprobs, teacher_probs.detach(), reduction="batchmean")


def of_teachers_probabilities(student_logits, teacher_probs):
    return F.cross_entropy(student_logits, teacher_probs.detach())


def temperature_between(student, temperature, teacher):
    return kd(student, teacher, temperature)


def labels_behind_a_gap(student, teacher, weight=1.0, labels=None):
    return kd(student, teacher) + weight * F.cross_entropy(student, labels)


def upper_case(logits_S, logits_T, tau=4.0):  # noqa: N803
    return kd(logits_S, logits_T, tau)


def of_kl_div(log_pred_student, pred_teacher):
    return F.kl_div(log_pred_student, pred_teacher.detach(), reduction="batchmean")


def of_letters(log_q, p):
    return F.kl_div(log_q, p.detach(), reduction="batchmean")


def of_log_p_and_logits(log_p_s, logits_t):
    return F.kl_div(log_p_s, logits_t.detach().softmax(-1), reduction="batchmean")


def of_soft_labels(student_logits, soft_labels):
    return F.cross_entropy(student_logits, soft_labels.detach())


def of_padding(student, teacher, key_padding_mask):
    rows = soft_targets(student, teacher) * ~key_padding_mask
    return rows.sum() / (~key_padding_mask).sum()


@pytest.mark.parametrize(
    ("loss", "call"),
    [
        (kd, "kd(student, teacher, temperature=4.0)"),
        (upper_case, "upper_case(student, teacher, tau=4.0)"),
        (of_kl_div, "of_kl_div(student.log_softmax(-1), teacher.softmax(-1))"),
        (of_letters, "of_letters(student.log_softmax(-1), teacher.softmax(-1))"),
        (of_log_p_and_logits, "of_log_p_and_logits(student.log_softmax(-1), teacher)"),
        (of_soft_labels, "of_soft_labels(student, teacher.softmax(-1))"),
        (of_padding, "of_padding(student, teacher, torch.zeros(len(student), dtype=torch.bool))"),
        (Loss, "Loss()(student, teacher)"),
        (Loss(), "Loss(student, teacher)"),
        (Plain, "Plain()(student, teacher)"),
        (make, "make()(student, teacher)"),
        (teacher_first, "teacher_first(teacher, student)"),
        (keras_order, "keras_order(teacher, student)"),
        (labels_between, "labels_between(student, labels, teacher, T=3.0)"),
        (optional_labels, "optional_labels(student, teacher, temperature=2.0)"),
        (needed_labels, "needed_labels(student, teacher, labels)"),
        (masked, "masked(student, teacher, torch.ones(len(student), dtype=torch.bool))"),
        (float32_only, "float32_only(student, teacher)"),
        (
            of_log_probabilities,
            "of_log_probabilities(student.log_softmax(-1), teacher.log_softmax(-1))",
        ),
        (of_probabilities, "of_probabilities(student.log_softmax(-1), teacher.softmax(-1))"),
        (
            of_teachers_probabilities,
            "of_teachers_probabilities(student, teacher.softmax(-1))",
        ),
        (
            temperature_between,
            "temperature_between(student, teacher=teacher, temperature=4.0)",
        ),
        (labels_behind_a_gap, "labels_behind_a_gap(student, teacher, labels=labels)"),
        (required_temperature, "required_temperature(student, teacher, tau=4.0)"),
    ],
)
def test_a_loss_is_called_as_its_names_say(loss, call):
    proof = limbeck.prove(loss)
    assert proof.call == call
    assert proof.holds, proof.breaks


def test_probabilities_are_those_of_their_space():
    def binary(student_log_probs, teacher_probs):
        other = (-student_log_probs.expm1()).log()
        each = teacher_probs * student_log_probs + (1 - teacher_probs) * other
        return -each.sum(-1).mean()

    proof = limbeck.prove(binary, space="binary")
    assert proof.call.endswith("(torch.nn.functional.logsigmoid(student), teacher.sigmoid())")
    assert proof.kind.startswith("It is a cross-entropy of yes or no for each class")
    proof = limbeck.prove(lambda s_probs, t_probs: ((s_probs - t_probs) ** 2).mean(), space="real")
    assert proof.call.endswith("(student, teacher)")


def test_nothing_is_said_of_writing_into_probabilities_that_were_made_for_it():
    names = {fact.name for fact in limbeck.prove(of_probabilities).properties}
    assert "leaves its inputs as they are" not in names
    assert "leaves its inputs as they are" in {f.name for f in limbeck.prove(kd).properties}


@pytest.mark.parametrize(
    ("loss", "options", "call"),
    [
        (kd, {"temperature": 2}, "kd(student, teacher, temperature=2.0)"),
        (Loss, {"temperature": 2, "weight": 0.5}, "Loss(weight=0.5, T=2)(student, teacher)"),
        (make, {"temperature": 2}, "make(tau=2)(student, teacher)"),
        (
            labels_between,
            {"T": 2, "alpha": 1.0},
            "labels_between(student, labels, teacher, T=2.0, alpha=1.0)",
        ),
    ],
)
def test_options_reach_the_loss_or_its_maker_and_a_temperature_by_any_name(loss, options, call):
    proof = limbeck.prove(loss, options=options)
    assert proof.call == call
    assert "at T = 2" in proof.kind


def test_the_temperature_of_a_class_is_tried_too():
    names = [fact.name for fact in limbeck.prove(Loss).properties]
    assert "the temperature counts" in names


def test_an_order_that_no_name_says_is_told_from_the_gradient_and_noted():
    proof = limbeck.prove(lambda a, b: kd(a, b), name="mine")
    assert proof.call == "mine(student, teacher)"
    assert "taken for the student's, for nothing says otherwise" in proof.notes[0]
    proof = limbeck.prove(lambda a, b: kd(b, a), name="mine")
    assert proof.call == "mine(teacher, student)"
    assert "only its second argument gets a gradient" in proof.notes[0]
    assert proof.holds


def test_the_order_can_be_said():
    proof = limbeck.prove(lambda a, b: kd(b, a), teacher_first=True)
    assert proof.holds
    assert proof.notes == ()
    assert not limbeck.prove(lambda a, b: kd(b, a), teacher_first=False).holds


def raises(student, teacher):
    return student @ teacher[:, :3]


@pytest.mark.parametrize(
    ("loss", "options", "error", "message"),
    [
        (raises, {}, LossError, "raises raised RuntimeError at test_bind.py, line "),
        (raises, {}, LossError, "It was given student (4, 5), teacher (4, 5), float64."),
        (kd, {"temprature": 2}, OptionError, "no option 'temprature'. Did you mean temperature?"),
        (lambda s, t, alpha: s, {}, OptionError, "needs alpha. Give --set alpha=VALUE"),
        (lambda s, t: F.kl_div(s, t, reduction="none"), {}, LossError, "Sum over classes."),
        (lambda s, t: 1.0, {}, LossError, "must return a tensor, got float"),
        (lambda s, t: (s.sum(), t.sum()), {}, LossError, "must return a tensor, got tuple"),
        (lambda logits: logits.sum(), {}, LossError, "must take student_logits and teacher_logits"),
        (lambda: 3, {}, LossError, "must be a loss, or make one, got int"),
        (kd, {"temperature": 0}, LossError, "temperature must be above 0"),
        (
            lambda student_logits, teacher_probs, temperature: kd(student_logits, teacher_probs),
            {},
            LossError,
            "takes teacher_probs beside a temperature: expected logits, or no temperature",
        ),
    ],
)
def test_what_cannot_be_called_is_refused_in_a_sentence(loss, options, error, message):
    with pytest.raises(error) as found:
        limbeck.prove(loss, options=options)
    assert message in str(found.value)


def test_an_error_of_what_has_no_lines_names_none_of_ours():
    with pytest.raises(LossError, match=r"matmul raised RuntimeError: mat1"):
        limbeck.prove(torch.matmul)


class Weighs(nn.Module):
    """Has a parameter, and counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))
        self.asked = 0

    def forward(self, student, teacher):
        self.asked += 1
        return kd(F.linear(student[..., None], self.weight)[..., 0], teacher)


def test_a_modules_parameters_are_of_the_precision_it_is_asked_in():
    proof = limbeck.prove(Weighs)
    assert proof.holds, proof.breaks


def test_a_module_that_is_given_is_left_as_it_is():
    module = Weighs()
    limbeck.prove(module)
    assert module.asked == 0
    assert module.weight.dtype == torch.float32


def test_chance_is_the_same_each_time():
    def by_chance(student, teacher):
        return kd(student, teacher) * (0.5 + torch.rand(()))

    assert "the same when asked again" not in {f.name for f in limbeck.prove(by_chance).breaks}


def test_unknown_words_are_refused():
    with pytest.raises(OptionError, match="space must be one of categorical, binary, real"):
        limbeck.prove(kd, space="categoric")
    with pytest.raises(OptionError, match="expect must be one of forward, reverse"):
        limbeck.prove(kd, expect="backward")


def one_row_breaks(student, teacher):
    if len(student) == 1:
        raise IndexError("too few rows")
    return kd(student, teacher)


def test_a_loss_that_needs_several_rows_is_asked_about_several_and_that_is_told():
    proof = limbeck.prove(one_row_breaks)
    assert proof.holds, proof.breaks
    assert "one alone, as the last batch of an epoch may have, raises" in proof.notes[0]
    assert "one alone" not in str(limbeck.prove(kd))


def test_statistics_of_the_batch_are_not_of_one_row():
    def standardised(rows):
        return (rows - rows.mean(0)) / (rows.std(0) + 1e-6)  # of one row it is not a number

    def loss(student_features, teacher_features):
        return F.mse_loss(standardised(student_features), standardised(teacher_features.detach()))

    proof = limbeck.prove(loss, space="real")
    assert proof.holds, proof.breaks


def test_an_error_in_a_later_case_is_what_breaks():
    def three_classes_break(student, teacher):
        if student.shape[-1] == 3:
            raise IndexError("three is too many")
        return kd(student, teacher)

    proof = limbeck.prove(three_classes_break)
    assert any("three is too many" in fact.otherwise for fact in proof.breaks)


def test_a_backward_pass_that_raises_is_said_in_a_sentence():
    class Raises(torch.autograd.Function):
        @staticmethod
        def forward(ctx, rows):
            return rows.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("no way back")

    with pytest.raises(LossError, match="the loss's backward pass raised ValueError"):
        limbeck.prove(lambda student, teacher: kd(Raises.apply(student), teacher))


def test_what_a_loss_prints_is_not_shown_and_no_exit_ends_the_proof(capsys):
    def loud(student, teacher):
        sys.stdout.write("loud")
        return kd(student, teacher)

    def leaves(student, teacher):
        raise SystemExit(3)

    assert limbeck.prove(loud).holds
    assert capsys.readouterr().out == ""
    with pytest.raises(LossError, match="raised SystemExit"):
        limbeck.prove(leaves)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda student, teacher: (student > teacher).sum(), "floating-point numbers, got torch.i"),
        (lambda student, teacher: kd(student, teacher).reshape(1), r"got \(1,\)\. Take the last"),
        (
            lambda student, teacher: soft_targets(student, teacher)[:, None],
            r"got \(4, 1\)\. Take t",
        ),
    ],
)
def test_what_is_no_loss_is_refused_with_the_way_out(loss, message):
    with pytest.raises(LossError, match=message):
        limbeck.prove(loss)


def test_a_proof_is_printed_as_it_is_read():
    said = str(limbeck.prove(kd))
    assert said.startswith("kd(student, teacher, temperature=4.0): one value for all rows.\nIt is ")
    assert "\nholds   zero at equality\n" in said
    assert said.endswith("\nEverything holds that should.")
    broken = str(limbeck.prove(lambda student, teacher: soft_targets(student, teacher).sum()))
    assert "\nBREAKS  not scaled by the batch: It is a sum over the batch" in broken
    assert broken.endswith("\n1 property breaks.")


def test_notes_are_counted_where_nothing_breaks():
    def own(student, teacher):
        return F.kl_div(
            student.log_softmax(-1), teacher.detach().softmax(-1), reduction="batchmean"
        )

    proof = limbeck.prove(own)
    assert [fact.name for fact in proof.properties if not fact.holds] == [
        "unchanged by classes of -inf"
    ]
    assert proof.verdict == "Nothing breaks that could be asked; 1 note."
    labels = limbeck.prove(
        lambda student, teacher, labels: F.cross_entropy(student, labels) + own(student, teacher)
    )
    assert labels.verdict == "Nothing breaks that could be asked; 3 notes."


def test_half_precision_that_raises_breaks():
    def numpy_inside(student, teacher):
        teacher.numpy()
        return kd(student, teacher)

    assert {fact.name for fact in limbeck.prove(numpy_inside).breaks} >= {"finite in bfloat16"}
