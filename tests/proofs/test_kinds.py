"""What a right loss need not have, for its kind: a note; what its sibling must have breaks."""

import pytest
import torch
import torch.nn.functional as F

import limbeck
from limbeck import losses
from tests.proofs import broken
from tests.proofs.test_prove import breaks, said

CONTRADICTION = "pulls where both contradict each other"
EVERY_ROW = "a gradient to every row"
WHICH_CLASS = "sees which class is which"


def notes(loss, **options):
    """Names of what does not hold, and need not."""
    return {fact.name for fact in limbeck.prove(loss, **options).properties if fact.of_its_kind}


# ---- hard distillation ---------------------------------------------------------------------------


def hard(student, teacher):
    return F.cross_entropy(student, teacher.argmax(-1))


def hard_and_labels(student, teacher, labels):
    return 0.5 * hard(student, teacher) + 0.5 * F.cross_entropy(student, labels)


def hard_at_a_temperature(student, teacher, temperature=4.0):
    return hard(student / temperature, teacher) * temperature**2


@pytest.mark.parametrize("loss", [hard, hard_and_labels, hard_at_a_temperature])
def test_hard_distillation_holds_and_is_recognised(loss):
    proof = limbeck.prove(loss)
    assert proof.holds, proof.breaks
    assert "is hard distillation: of the teacher it hears the likeliest class alone" in proof.kind
    assert not any("cannot be told" in note for note in proof.notes)


def test_that_hard_distillation_pulls_at_equality_is_a_note():
    assert notes(hard) == {"zero at equality", "stationary at equality"}
    assert said(hard, "zero at equality").startswith("Of the teacher it hears the likeliest class")
    assert "no T² belongs to it" in said(hard_at_a_temperature, "T² is right")


def test_neither_soft_targets_nor_an_unused_teacher_are_hard_distillation():
    for loss in (losses.soft_targets, losses.soft_cross_entropy, lambda s, t: s.square().mean()):
        assert "hard distillation" not in limbeck.prove(loss).kind


# ---- classes that are sorted ---------------------------------------------------------------------


def own_uld(student, teacher):
    student, teacher = (
        side.softmax(-1).sort(-1, descending=True).values for side in (student, teacher.detach())
    )
    return (student - teacher).abs().sum(-1).mean()


def of_two_vocabularies(student, teacher):
    """Squared, so that no known loss has its gradient; only its padding says what it is for."""
    count = max(student.shape[-1], teacher.shape[-1])
    student, teacher = (
        F.pad(side.softmax(-1).sort(-1, descending=True).values, (0, count - side.shape[-1]))
        for side in (student, teacher.detach())
    )
    return (student - teacher).square().sum(-1).mean()


@pytest.mark.parametrize("loss", [own_uld, of_two_vocabularies, losses.universal_logit_distance])
def test_a_distance_between_vocabularies_sorts_by_its_nature(loss):
    assert limbeck.prove(loss).holds
    assert said(loss, WHICH_CLASS).startswith("It is for vocabularies that differ")


def test_the_universal_logit_distance_is_recognised():
    assert "the universal logit distance" in limbeck.prove(own_uld).kind


def test_a_relation_between_rows_need_not_know_a_class():
    def rkd(student, teacher):
        distances = [
            (side[:, None] - side).square().sum(-1).add(1e-12).sqrt()
            for side in (student, teacher.detach())
        ]
        student, teacher = (each / each.mean().clamp_min(1e-6) for each in distances)
        return F.smooth_l1_loss(student, teacher)

    assert limbeck.prove(rkd).holds
    assert said(rkd, WHICH_CLASS).startswith("It compares which rows are alike")
    assert not {EVERY_ROW, CONTRADICTION} & notes(rkd)


# ---- rows that learn -----------------------------------------------------------------------------


def kl(student, teacher, temperature=4.0):
    return losses.soft_targets(student, teacher, temperature=temperature)


def unsure_rows(student, teacher):
    """MLKD's mask: the half of the rows of which the teacher is less sure."""
    sure = teacher.softmax(-1).amax(-1)
    return (kl(student, teacher) * (sure <= sure.median())).mean()


def test_a_loss_that_chooses_half_of_the_rows_gets_a_note():
    assert limbeck.prove(unsure_rows).holds
    assert said(unsure_rows, EVERY_ROW).startswith(
        "It chooses among the rows of a batch: of 16 8 learn nothing"
    )


def test_a_loss_that_chooses_fewer_breaks():
    assert breaks(lambda s, t: kl(s, t).topk(-(-len(s) // 4)).values.mean()) == {EVERY_ROW}


def test_rows_that_learn_nothing_alone_either_are_not_missed():
    def confident(student, teacher):
        return kl(student, teacher) * (teacher.softmax(-1).amax(-1) > 0.9)

    assert EVERY_ROW not in notes(confident) | breaks(confident)


def test_a_row_that_labels_alone_teach_is_missed():
    def loss(student, teacher, labels):
        return F.cross_entropy(student, labels) + kl(student, teacher).max()

    assert EVERY_ROW in breaks(loss)


# ---- where both contradict each other ------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        losses.reverse_kl,
        losses.jensen_shannon,
        losses.total_variation,
        losses.skew_kl,
        losses.universal_logit_distance,
        lambda s, t: (s.softmax(-1) - t.detach().softmax(-1)).square().sum(-1),
    ],
)
def test_that_a_bounded_loss_hardly_pulls_there_is_a_note(loss):
    assert limbeck.prove(loss, name="loss").holds
    assert CONTRADICTION in notes(loss)
    assert "gradient" in said(loss, CONTRADICTION)


def gated(student, teacher, labels):
    """Only where the teacher is right."""
    right = teacher.argmax(-1) == labels
    return F.cross_entropy(student, labels) + (kl(student, teacher) * right).mean()


def of_unsure_teachers(student, teacher):
    return kl(student, teacher) * (teacher.softmax(-1).amax(-1) < 0.9999)


def standardised(student, teacher):
    return kl(losses.standardised(student), losses.standardised(teacher))


@pytest.mark.parametrize(
    "loss",
    [
        losses.soft_targets,
        losses.soft_cross_entropy,
        losses.logit_regression,
        gated,
        of_unsure_teachers,
        standardised,
        lambda s, t: 1 - F.cosine_similarity(s, t.detach(), dim=-1),
        lambda s, t: F.smooth_l1_loss(s, t.detach()),
        lambda s, t: kl(s.float(), t.float()),
    ],
)
def test_a_loss_that_pulls_there_holds(loss):
    assert CONTRADICTION not in notes(loss) | breaks(loss)


def test_a_clamp_is_found_at_a_temperature_that_cannot_be_set():
    for loss in (broken.clamped_loss, broken.clamped_probability):
        assert CONTRADICTION in breaks(lambda student, teacher, loss=loss: loss(student, teacher))


def test_a_clamp_is_found_beside_labels():
    def loss(student, teacher, labels):
        return F.cross_entropy(student, labels) + broken.clamped_probability(student, teacher)

    assert breaks(loss) == {CONTRADICTION}


def test_a_small_number_before_the_logarithm_is_a_clamp():
    def loss(student, teacher, epsilon=1e-12):
        p = teacher.detach().softmax(-1)
        return F.kl_div((student.softmax(-1) + epsilon).log(), p, reduction="batchmean")

    assert CONTRADICTION in breaks(loss)
    assert CONTRADICTION not in breaks(loss, options={"epsilon": 1e-30})


# ---- what is looked at in more than the first case -----------------------------------------------


def test_a_gradient_to_the_teacher_in_larger_batches_alone_is_seen():
    def loss(student, teacher):
        teacher = teacher.detach() if len(teacher) == 1 else teacher
        return F.kl_div(
            student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean"
        )

    assert breaks(loss) == {"no gradient to the teacher"}


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_constant_is_added_to_either_side(side):
    def loss(student, teacher):
        sides = {"student": student, "teacher": teacher.detach()}
        return kl(**sides) + 1e-3 * sides[side].sum(-1).square()

    assert f"all of the {side}'s logits" in said(loss, "unmoved by a constant in a row")


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_large_logits_of_several_classes_are_tried_on_either_side(side):
    def loss(student, teacher):
        sides = {"student": student, "teacher": teacher.detach()}
        if student.shape[-1] == 5:  # overflows there alone
            sides[side] = sides[side].exp().log()
        return kl(**sides).mean()

    assert "finite at logits of 1000" in breaks(loss)


# ---- what is not seen ----------------------------------------------------------------------------


def test_what_is_not_judged_of_a_loss_with_labels_is_said():
    def inside(student, teacher, labels):
        return 16 * F.cross_entropy(student, labels) + kl(student, teacher, 4.0)

    proof = limbeck.prove(inside)
    assert proof.holds
    assert "Whether T² multiplies the part towards the labels too cannot be told" in proof.notes[0]
    assert limbeck.prove(losses.soft_targets).notes == ()
    one = limbeck.prove(lambda student, teacher, labels: inside(student, teacher / 4, labels))
    assert not one.holds  # the teacher's side is softened twice


# ---- labels beside a teacher ---------------------------------------------------------------------

STATIONARY = "stationary at equality"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize(
    "divergence", [losses.soft_targets, losses.reverse_kl, losses.total_variation]
)
def test_any_cross_entropy_beside_a_right_divergence_holds(divergence, by_row, smoothing):
    def loss(student, teacher, labels, temperature=2.0):
        how = {"label_smoothing": smoothing, "reduction": "none"}
        hard = F.cross_entropy(student, labels, **how)
        rows = 0.3 * hard + 0.7 * divergence(student, teacher, temperature=temperature)
        return rows if by_row else rows.mean()

    proof = limbeck.prove(loss)
    assert proof.holds, proof.breaks
    held = {fact.name for fact in proof.properties if fact.holds}
    assert held >= {
        STATIONARY,
        "labels pull towards their class",
        "pulls towards the teacher",
        "T² spares the labels",
    }


def test_a_wrong_teachers_part_is_told_beside_labels_that_are_smoothed():
    def loss(student, teacher, labels):
        hard = F.cross_entropy(student, labels, label_smoothing=0.1)
        return hard + kl(student, teacher.roll(1, 0)).mean()

    assert STATIONARY in breaks(loss)


def test_a_pull_away_from_all_classes_alike_is_no_smoothing():
    def loss(student, teacher, labels):
        towards_all = -student.log_softmax(-1).mean(-1)
        hard = F.cross_entropy(student, labels)
        return hard + (kl(student, teacher) - 0.05 * towards_all).mean()

    assert STATIONARY in breaks(loss)


def test_labels_that_are_no_cross_entropy_leave_it_open_and_that_is_told():
    def focal(student, teacher, labels):
        chance = student.softmax(-1).gather(1, labels[:, None])[:, 0]
        return (-((1 - chance) ** 2) * chance.log()).mean() + kl(student, teacher).mean()

    assert "and not as a cross-entropy does" in said(focal, STATIONARY)
    assert "labels pull towards their class" not in breaks(focal)


def test_labels_that_only_split_the_teachers_part_are_no_pull():
    proof = limbeck.prove(losses.decoupled_soft_targets)
    facts = {fact.name: fact for fact in proof.properties}
    assert facts[STATIONARY].holds
    assert facts["labels pull towards their class"].holds


def test_a_comparison_of_rows_is_told_by_other_rows_and_not_by_their_number():
    def alone(student, teacher, labels):  # each row by itself, and weighed by how many there are
        rows = kl(student, teacher)
        return (rows * torch.arange(1.0, len(rows) + 1)).sum() + F.cross_entropy(student, labels)

    assert "not scaled by the batch" in breaks(alone)
    assert "not scaled by the batch" in notes(losses.batch_consistency)


# ---- temperatures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("power", "told"), [(0, "T² is missing"), (1, "T once"), (3, "T³"), (4, "T⁴")]
)
@pytest.mark.parametrize("temperature", [3.0, 5.0])
def test_another_power_of_a_temperature_inside_is_told(power, temperature, told):
    def loss(student, teacher):
        return temperature ** (power - 2) * kl(student, teacher, temperature)

    assert told in said(loss, "T² is right")


@pytest.mark.parametrize("temperature", [0.25, 0.5])
def test_t_squared_that_is_missing_below_1_is_told(temperature):
    def loss(student, teacher):
        return kl(student, teacher, temperature) / temperature**2

    assert breaks(loss) == {"T² is right"}
    assert breaks(lambda student, teacher: kl(student, teacher, temperature)) == set()


def test_a_temperature_that_is_refused_leaves_t_squared_open():
    def loss(student, teacher, temperature=4.0):
        if temperature > 20:
            raise ValueError("too warm")
        return kl(student, teacher, temperature)

    proof = limbeck.prove(loss)
    assert proof.holds, proof.breaks
    assert "At T = 128 it does not answer: whether T² is right is not told." in proof.notes


# ---- names ---------------------------------------------------------------------------------------


def test_forward_in_the_name_of_what_is_no_divergence_asks_for_none():
    def forward_hint(student, teacher):
        return F.mse_loss(student, teacher.detach())

    assert breaks(forward_hint) == set()


def test_yes_and_no_may_be_a_mean_over_the_classes():
    def loss(student, teacher):
        return F.binary_cross_entropy_with_logits(student, teacher.detach().sigmoid())

    assert limbeck.prove(loss, space="binary").holds
    assert "as usual for yes or no" in said(loss, "not scaled by the classes", space="binary")


def test_numbers_between_0_and_1_are_asked_about_too():
    def raw(student, teacher):  # as if both were probabilities
        student, teacher = student.clamp(1e-7, 1), teacher.detach().clamp(1e-7, 1)
        return (teacher * (teacher / student).log()).sum(-1)

    assert "never negative" in breaks(raw)


# ---- kinks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2, 1e-1])
def test_a_loss_that_falls_below_its_value_at_equality_has_no_kink_there(epsilon):
    def loss(student, teacher):
        p, q = teacher.detach().softmax(-1), student.softmax(-1)
        return (p * ((p + epsilon).log() - (q + epsilon).log())).sum(-1)

    assert "stationary at equality" in breaks(loss)


# ---- what its name says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "loss", "said"),
    [
        ("js", losses.soft_targets, "Jensen-Shannon"),
        ("generalised_jsd", losses.reverse_kl, "Jensen-Shannon"),
        ("jensen_shannon_divergence", losses.total_variation, "Jensen-Shannon"),
        ("kl", losses.jensen_shannon, "says KL"),
        ("kd_kl_div", losses.total_variation, "says KL"),
        ("tvd", losses.jensen_shannon, "says total variation"),
        ("KLLoss", losses.jensen_shannon, "says KL"),
        ("JSLoss", losses.soft_targets, "Jensen-Shannon"),
        ("TVLoss", losses.jensen_shannon, "says total variation"),
        ("mine:DistillKL", losses.total_variation, "says KL"),
        ("KLDivLoss", losses.soft_targets, None),
        ("js", losses.jensen_shannon, None),
        ("kl_loss", losses.soft_targets, None),
        ("kl_div", losses.reverse_kl, None),
        ("tv", losses.total_variation, None),
        ("json_loss", losses.soft_targets, None),
        ("distance", losses.total_variation, None),
    ],
)
def test_a_name_of_another_loss_than_it_is_gets_a_note(name, loss, said):
    notes_of_name = [note for note in limbeck.prove(loss, name=name).notes if "Its name" in note]
    assert len(notes_of_name) == (said is not None)
    assert said is None or said in notes_of_name[0]


def correlation(rows, other, floor=1e-8):
    rows, other = rows - rows.mean(-1, keepdim=True), other - other.mean(-1, keepdim=True)
    return (rows * other).sum(-1) / (rows.norm(dim=-1) * other.norm(dim=-1) + floor)


def dist(student, teacher, twice=1):
    """As its authors have it: of one row the classes have no correlation."""
    p, q = teacher.detach().softmax(-1), (twice * student).softmax(-1)
    return 2 - correlation(q, p).mean() - correlation(q.t(), p.t()).mean()


def test_a_relation_may_have_nothing_to_compare_in_few_rows():
    assert "equality" not in " ".join(breaks(dist))


def test_a_relation_that_is_wrong_in_many_rows_is_no_distance():
    def wrong(student, teacher):
        return dist(student, teacher, twice=2)

    assert {"zero at equality", "stationary at equality"} <= breaks(wrong)
