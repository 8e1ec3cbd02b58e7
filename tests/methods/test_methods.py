"""Each method is the loss that its card names, with the paper's defaults; options are checked."""

import math

import pytest
import torch

from limbeck import losses
from limbeck._errors import OptionError, TargetsError
from limbeck.losses import standardised
from limbeck.methods import METHODS, check_rows, objective, read_options
from limbeck.signals import Dense, Head, Sparse
from tests.methods.problem import (
    HEADS,
    LABEL,
    TEMPERATURE,
    batch_of,
    draw,
    labels_of,
    method_alone,
    stored,
    two_classes_named,
    value,
)

T = {"temperature": TEMPERATURE}


def centred(logits):
    return logits - logits.mean(-1, keepdim=True)


DENSE = {
    "soft_targets": lambda s, t, y: losses.soft_targets(s, t, **T),
    "dkd": lambda s, t, y: losses.decoupled_soft_targets(
        s, t, y, target_weight=1.0, others_weight=8.0, **T
    ),
    "nkd": lambda s, t, y: losses.normalised_soft_targets(s, t, y, others_weight=1.5, **T),
    "lskd": lambda s, t, y: losses.soft_targets(standardised(s), standardised(t), **T),
    "lskd_dkd": lambda s, t, y: losses.decoupled_soft_targets(
        standardised(s), standardised(t), y, target_weight=1.0, others_weight=8.0, **T
    ),
    "dist": lambda s, t, y: losses.correlation_distance(
        s, t, inter_class_weight=1.0, intra_class_weight=1.0, **T
    ),
    "ctkd": lambda s, t, y: losses.soft_targets(s, t, temperature=1 + 20 / (1 + math.exp(-1))),
    "wsld": lambda s, t, y: losses.weighted_soft_targets(s, t, y, **T),
    "ofa": lambda s, t, y: losses.enhanced_soft_cross_entropy(s, t, y, exponent=1.0, **T),
    "mlkd": lambda s, t, y: losses.multi_level_soft_targets(
        s, t, temperatures=(2.0, 3.0, 4.0, 5.0, 6.0), class_weight=1.0, batch_weight=1.0
    ),
    "logit_regression": lambda s, t, y: (centred(s) - centred(t)).square().sum(-1) / 2,
    "reverse_kl": lambda s, t, y: losses.reverse_kl(s, t, **T),
    "jensen_shannon": lambda s, t, y: losses.jensen_shannon(s, t, teacher_share=0.5, **T),
    "skew_kl": lambda s, t, y: losses.skew_kl(s, t, skew=0.1, **T),
    "skew_reverse_kl": lambda s, t, y: losses.skew_reverse_kl(s, t, skew=0.1, **T),
    "total_variation": lambda s, t, y: losses.total_variation(s, t, **T),
    "alpha_beta": lambda s, t, y: losses.alpha_beta(
        s, t, teacher_power=0.8, student_power=0.3, **T
    ),
    "teacher_free": lambda s, t, y: losses.teacher_free_soft_targets(
        s, y, target_probability=0.99, **T
    ),
    "label_smoothing": lambda s, t, y: losses.label_smoothing(s, y, smoothing=0.1),
}
SPARSE = {
    "soft_targets": lambda s, rows, y: losses.sparse_soft_targets(s, rows),
    "dkd": losses.sparse_decoupled_soft_targets,
    "reverse_kl": lambda s, rows, y: losses.sparse_reverse_kl(s, rows),
    "jensen_shannon": lambda s, rows, y: losses.sparse_jensen_shannon(s, rows),
    "skew_kl": lambda s, rows, y: losses.sparse_skew_kl(s, rows),
    "skew_reverse_kl": lambda s, rows, y: losses.sparse_skew_reverse_kl(s, rows),
    "total_variation": lambda s, rows, y: losses.sparse_total_variation(s, rows),
    "alpha_beta": lambda s, rows, y: losses.sparse_alpha_beta(s, rows),
}
OTHERWISE = {
    "dkd": {"target_weight": 0.5, "others_weight": 2.0},
    "nkd": {"others_weight": 3.5},
    "ctkd": {"span": 3.0},
    "dist": {"inter_class_weight": 2.0, "intra_class_weight": 0.3},
    "ofa": {"exponent": 1.5},
    "mlkd": {"temperatures": [1.0, 8.0], "class_weight": 0.2, "batch_weight": 3.0},
    "jensen_shannon": {"teacher_share": 0.9},
    "skew_kl": {"skew": 0.4},
    "skew_reverse_kl": {"skew": 0.4},
    "alpha_beta": {"teacher_power": 0.5, "student_power": 0.0},
    "teacher_free": {"target_probability": 0.7},
    "label_smoothing": {"smoothing": 0.4},
}
"""Options that are not the default."""
STUDENT, TEACHER, LABELS = draw(6, 5), draw(6, 5, seed=1), labels_of(6)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_loss_of_its_card_with_the_papers_defaults(name):
    found = value(method_alone(name), STUDENT, stored(TEACHER), batch_of(LABELS))
    torch.testing.assert_close(found, DENSE[name](STUDENT, TEACHER, LABELS).mean())


def test_of_lskd_each_row_has_a_temperature_of_its_own_by_the_size_of_its_logits():
    wide = STUDENT * torch.arange(1.0, len(STUDENT) + 1)[:, None]
    own, theirs = (TEMPERATURE * side.std(-1, keepdim=True) for side in (wide, TEACHER))
    assert float(own.max() / own.min()) > 2
    p, q = (wide / own).log_softmax(-1), (TEACHER / theirs).log_softmax(-1)
    want = TEMPERATURE**2 * (q.exp() * (q - p)).sum(-1).mean()
    found = value(method_alone("lskd"), wide, stored(TEACHER), batch_of(LABELS))
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].sparse])
def test_of_sparse_rows_it_is_the_sparse_loss(name):
    rows = two_classes_named(TEACHER)
    found = value(method_alone(name), STUDENT, rows, batch_of(LABELS))
    torch.testing.assert_close(found, SPARSE[name](STUDENT, rows, LABELS).mean())


@pytest.mark.parametrize("name", [name for name in SPARSE if name != "soft_targets"])
def test_what_was_drawn_goes_into_the_tail_where_a_loss_is_not_linear(name):
    rows = two_classes_named(TEACHER)
    drawn = torch.zeros_like(rows.ids, dtype=torch.bool)
    drawn[:, 1] = True
    sampled = Sparse(
        ids=rows.ids,
        probabilities=rows.probabilities,
        tail=rows.tail,
        temperature=TEMPERATURE,
        drawn=drawn,
    )
    found, want = (
        value(method_alone(name), STUDENT, it, batch_of(LABELS))
        for it in (sampled, sampled.density)
    )
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("name", OTHERWISE)
def test_each_option_moves_the_loss(name):
    rows, batch = stored(TEACHER), batch_of(LABELS)
    default = value(method_alone(name), STUDENT, rows, batch)
    for option, changed in OTHERWISE[name].items():
        found = value(method_alone(name, **{option: changed}), STUDENT, rows, batch)
        assert float((found - default).detach().abs()) > 1e-3, option


@pytest.mark.parametrize("name", sorted(OTHERWISE.keys() & SPARSE.keys()))
def test_each_option_moves_the_sparse_loss(name):
    rows, batch = two_classes_named(TEACHER), batch_of(LABELS)
    default = value(method_alone(name), STUDENT, rows, batch)
    for option, changed in OTHERWISE[name].items():
        found = value(method_alone(name, **{option: changed}), STUDENT, rows, batch)
        assert float((found - default).detach().abs()) > 1e-3, option


def test_every_option_of_every_method_is_tried():
    of_methods = {
        name: set(method.options.model_fields)
        for name, method in METHODS.items()
        if method.options.model_fields
    }
    of_methods["ctkd"] -= {"lowest", "first", "loops", "strength"}  # test_ctkd.py
    shared = {"lskd_dkd": of_methods.pop("lskd_dkd")}  # those of dkd
    assert of_methods == {name: set(options) for name, options in OTHERWISE.items()}
    assert shared["lskd_dkd"] == of_methods["dkd"]


# ---- other heads --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in METHODS if "binary" in METHODS[name].spaces and name in SPARSE]
)
def test_a_binary_head_is_a_distribution_over_yes_and_no_for_each_class(name):
    rows = Dense(values=TEACHER)
    found = value(method_alone(name, "binary"), STUDENT, rows, batch_of(LABELS))
    want = 0.0
    for one in range(5):
        student, teacher = (
            torch.stack(
                [torch.sigmoid(it[:, one] / TEMPERATURE), torch.sigmoid(-it[:, one] / TEMPERATURE)],
                -1,
            ).log()
            * TEMPERATURE
            for it in (STUDENT, TEACHER)
        )
        want = want + DENSE[name](student, teacher, LABELS).mean()
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("space", ["binary", "real"])
def test_logit_regression_compares_log_odds_and_numbers_as_they_are(space):
    rows = Dense(values=TEACHER)
    found = value(method_alone("logit_regression", space), STUDENT, rows, batch_of(LABELS))
    torch.testing.assert_close(found, (STUDENT - TEACHER).square().sum(-1).mean() / 2)


@pytest.mark.parametrize("name", METHODS)
def test_a_head_that_a_method_is_not_for_is_refused_with_methods_that_are(name):
    for space in HEADS.keys() - set(METHODS[name].spaces):
        with pytest.raises(OptionError) as error:
            method_alone(name, space)
        said = str(error.value)
        assert said.startswith(f"method {name} is for heads that are categorical")
        assert f"and head it is {space}. For these heads there are soft_targets" in said


def test_methods_for_all_heads_at_once_are_named():
    with pytest.raises(OptionError, match=r"are soft_targets, logit_regression.$"):
        objective(
            "dkd",
            [LABEL, Head(name="price", space="real", size=1)],
            temperature=1.0,
            hard_weight=0.0,
            soft_weight=1.0,
        )


# ---- what is refused ----------------------------------------------------------------------------


def refused(name, **options):
    with pytest.raises(OptionError) as error:
        read_options(name, options)
    return str(error.value)


def test_an_unknown_option_is_refused_with_the_nearest_one():
    assert refused("dkd", other_weight=2.0) == (
        "distil.options of dkd: there is no key other_weight. Did you mean others_weight? Known "
        "here: target_weight, others_weight."
    )
    assert refused("lskd", others_weight=2.0) == (
        "method lskd has no options, got others_weight. Take distil.options out."
    )
    assert refused("lskd", temperature=2.0) == (
        "a method's temperature is distil.temperature, and no option of lskd. Set that, and take "
        "distil.options.temperature out."
    )


@pytest.mark.parametrize(
    ("name", "option", "wrong"),
    [
        *(
            (name, option, wrong)
            for name, options in OTHERWISE.items()
            for option in options
            for wrong in (-0.1, float("nan"), "1")
        ),
        ("ctkd", "lowest", 0.0),
        ("ctkd", "loops", -1.0),
        ("ctkd", "strength", -1.0),
        ("ofa", "exponent", 0.9),
        ("mlkd", "temperatures", []),
        ("mlkd", "temperatures", [4.0, 0.0]),
        ("jensen_shannon", "teacher_share", 0.0),
        ("jensen_shannon", "teacher_share", 1.0),
        ("skew_kl", "skew", 1.0),
        ("skew_reverse_kl", "skew", 1.0),
        ("teacher_free", "target_probability", 0.0),
        ("teacher_free", "target_probability", 1.1),
        ("label_smoothing", "smoothing", 1.1),
    ],
)
def test_an_option_out_of_its_range_is_refused(name, option, wrong):
    assert refused(name, **{option: wrong}).startswith(f"distil.options of {name}: {option}")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dkd", ("target_weight", "others_weight")),
        ("dist", ("inter_class_weight", "intra_class_weight")),
        ("alpha_beta", ("teacher_power", "student_power")),
    ],
)
def test_weights_that_leave_nothing_are_refused(name, options):
    said = refused(name, **dict.fromkeys(options, 0.0))
    assert said == f"distil.options of {name}: {' or '.join(options)} must be above 0."


def test_a_whole_number_is_a_number():
    assert read_options("dkd", {"others_weight": 2}).others_weight == 2.0


@pytest.mark.parametrize("name", METHODS)
def test_sparse_rows_are_refused_by_name_where_every_class_is_needed(name):
    rows = {"it": two_classes_named(TEACHER)}
    check_rows(name, {"it": stored(TEACHER)}, stored="codec dense16")
    if "dense rows" not in METHODS[name].needs:
        check_rows(name, rows, stored="codec topk")
        return
    with pytest.raises(TargetsError) as error:
        check_rows(name, rows, stored="codec topk")
    assert str(error.value) == (
        f"method {name} needs every class of a row, and codec topk names only some of head it. "
        'Store them with targets.codec = "dense16" or another codec that keeps every class, set '
        "distil.live = true, or take a method that reads such rows: soft_targets, dkd, "
        "reverse_kl, jensen_shannon, skew_kl, skew_reverse_kl, total_variation, alpha_beta."
    )


# ---- cards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_a_card_says_all_that_one_chooses_by(name):
    method = METHODS[name]
    card = method.card
    assert card.paper.link.startswith("https://")
    assert 1900 < card.paper.year < 2100
    assert card.line.endswith(".")
    assert len(card.line) < 90
    assert card.when.endswith(".")
    assert card.setting.endswith(".")
    assert card.formula.isascii()
    assert method.needs
    for option, default, text in method.option_rows:
        assert default != "null", option
        assert text.endswith("."), option
