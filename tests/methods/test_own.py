"""A loss of the user's own is a method, called as its parameters' names say."""

import sys
from types import ModuleType

import pytest
import torch

from limbeck._errors import LimbeckError, OptionError, TargetsError
from limbeck.methods import (
    check_rows,
    find_method,
    fitting_methods,
    mean_terms,
    method_code,
    method_name,
    read_options,
)
from limbeck.recipe import Recipe
from limbeck.signals import Dense
from tests.methods import own_losses
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
)

FILE = "tests.methods.own_losses"


def values(name, student, teacher, batch, space="categorical", **options):
    """Of the rows of a batch, by the loss of that name."""
    (term,) = method_alone(name, space, **options)
    return term.values({"it": student}, {"it": teacher}, batch)


@pytest.mark.parametrize("own", ["kd", "teacher_first", "by_place", "module", "bound", "with_t"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_soft_targets_written_again_are_soft_targets_in_value_and_gradient(own, shape):
    found = []
    for name in ("soft_targets", f"{FILE}:{own}"):
        student, teacher = draw(*shape, 5).requires_grad_(), stored(draw(*shape, 5, seed=1))
        said = values(name, student, teacher, batch_of(labels_of(*shape)))
        assert said.shape == shape
        said.sum().backward()
        found.append((said.detach(), student.grad))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1])


def test_options_are_parameters_that_have_no_role():
    student, teacher, batch = draw(6, 5), stored(draw(6, 5, seed=1)), batch_of(labels_of(6))
    once, twice = (values(f"{FILE}:kd", student, teacher, batch, alpha=a) for a in (1, 2.0))
    assert torch.allclose(twice, 2 * once)
    assert set(find_method(f"{FILE}:noted").options.model_fields) == {"label_smoothing"}
    assert find_method(f"{FILE}:weighed").option_rows == [("gamma", "", ""), ("power", "2", "")]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("kd", {"alpa": 1.0}, "no key alpa. Did you mean alpha"),
        ("kd", {"alpha": "much"}, "alpha: input should be a valid number, got 'much'"),
        ("kd", {"temp": 2.0}, "no key temp"),
        ("kd", {"temperature": 2.0}, r"a method's temperature is distil\.temperature"),
        ("weighed", {}, "gamma is missing"),
        ("weighed", {"gamma": 1.0, "power": 1.5}, "power: input should be a valid integer"),
        ("squares", {"alpha": 1.0}, "has no options, got alpha"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, said):
    with pytest.raises(OptionError, match=said):
        read_options(f"{FILE}:{name}", options)


@pytest.mark.parametrize("own", ["noted", "from_labels"])
def test_rows_that_do_not_count_never_reach_it(own):
    labels = torch.tensor([3, 1, -100, 0, -100, 2])
    labelled = labels >= 0
    batch = batch_of(labels, labelled=labelled)
    student = draw(6, 5).requires_grad_()
    found = values(f"{FILE}:{own}", student, stored(draw(6, 5, seed=1)), batch)
    seen = own_losses.SEEN[-1]
    assert torch.equal(seen[0], student[labelled])
    assert torch.equal(seen[-1], labels[labelled])
    assert (found == 0).equal(~labelled)
    found.sum().backward()
    assert torch.equal(student.grad.abs().sum(-1) > 0, labelled)


def test_of_no_rows_it_is_not_asked_and_the_gradient_is_there():
    student = torch.zeros(0, 5, requires_grad=True)
    teacher = Dense(values=torch.zeros(0, 5), temperature=TEMPERATURE)
    found = values(f"{FILE}:noted", student, teacher, batch_of(torch.zeros(0, dtype=torch.long)))
    assert found.shape == (0,)
    assert found.requires_grad
    assert all(len(each[0]) for each in own_losses.SEEN)


def test_it_is_asked_in_float32_where_models_say_less():
    student = draw(6, 5).bfloat16()
    teacher = Dense(values=torch.log_softmax(draw(6, 5).bfloat16(), -1), temperature=1.0)
    found = values(f"{FILE}:squares", student, teacher, batch_of(labels_of(6)))
    assert found.dtype == torch.float32


def test_names_that_speak_of_numbers_are_options():
    method = find_method(f"{FILE}:numbers")
    asked = {"num_classes", "hard_weight", "label_smoothing", "teacher_weight"}
    assert set(method.options.model_fields) == asked
    assert not method.with_labels
    options = dict.fromkeys(asked, 2.0)
    student, teacher = draw(6, 5), stored(draw(6, 5, seed=1))
    found = values(f"{FILE}:numbers", student, teacher, batch_of(labels_of(6)), **options)
    assert torch.allclose(found, 16 * own_losses.squares(student, teacher.logits))


def test_a_temperature_of_none_is_filled_in():
    student, teacher, batch = draw(6, 5), stored(draw(6, 5, seed=1)), batch_of(labels_of(6))
    found = values(f"{FILE}:mean_of_kd", student, teacher, batch)
    assert torch.allclose(found, values(f"{FILE}:kd", student, teacher, batch).mean())


@pytest.mark.parametrize("own", ["kd", "mean_of_kd", "mean", "noted", "from_labels", "half"])
def test_a_loss_of_single_rows_needs_no_whole_batch(own):
    assert not find_method(f"{FILE}:{own}").whole_batch


@pytest.mark.parametrize("own", ["relations", "relations_in_all"])
def test_a_loss_that_compares_rows_is_known_as_such(own):
    assert "whole batches" in find_method(f"{FILE}:{own}").needs


def test_a_loss_with_a_temperature_is_for_no_head_of_numbers():
    assert find_method(f"{FILE}:kd").spaces == ("categorical", "binary")
    with pytest.raises(OptionError, match="is for heads that are categorical or binary"):
        values(f"{FILE}:kd", draw(6, 5), Dense(values=draw(6, 5)), batch_of(labels_of(6)), "real")


def test_hints_that_say_nothing_and_defaults_that_are_no_json_are_shown_as_they_are():
    rows = find_method(f"{FILE}:hinted").option_rows
    assert rows == [("alpha", "1.0", ""), ("shape", '"torch.float32"', "")]


@pytest.mark.parametrize("space", HEADS)
def test_it_is_for_heads_of_any_space(space):
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    rows = stored(teacher) if space == "categorical" else Dense(values=teacher, temperature=1.0)
    said = values(f"{FILE}:squares", student, rows, batch_of(labels_of(6)), space)
    expected = rows.values if space == "real" else rows.logits
    assert torch.allclose(said, (student - expected).square().sum(-1))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Module", r"is a class, and a loss is a function.* loss = Module\(\.\.\.\)"),
        ("learning", "has parameters, which nothing would train"),
        ("unnamed", r"must take student_logits and teacher_logits, got \(a, b\)\. Name them so"),
        ("targets", r"got \(student_logits, target\)\. Name them so"),
        ("soft", r"got \(student_logits, soft_targets\)\. Name them so"),
        ("keras", r"got \(y_true, y_pred\)\. Name them so"),
        ("of_probabilities", r"\(student_log_probs, teacher_probs\), and is given logits"),
        ("logs", r"\(log_student, log_teacher\), and is given logits"),
        ("masked", "needs mask. Give it a default of None"),
        ("lonely", r"must take student_logits and teacher_logits, got \(student_logits\)"),
        (
            "two_temperatures",
            "student_temperature and teacher_temperature are both its temperature",
        ),
        ("hidden", "needs _scale, and no option can be called so"),
        ("total", "gives the sum over rows, which a larger batch makes larger"),
        ("anything", "takes anything by name"),
        ("SEEN", "SEEN is list, and no function"),
        ("kdd", "has no function 'kdd'. Did you mean kd"),
    ],
)
def test_what_cannot_be_called_is_refused(name, said):
    with pytest.raises(OptionError, match=said):
        find_method(f"{FILE}:{name}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "by_class",
            r"one value for each row, \(6,\), or one for all, .* got \(6, 5\) .*Sum over classes",
        ),
        ("of_limbeck", "^(?!method)"),  # as the library says it, and not as a fault of the loss
        ("wide", r"got \(6, 1\)\. Take the last axis away: squeeze"),
        ("number", r"must return a tensor, got float\. Return the loss alone"),
        ("right", r"floating-point numbers, got torch\.bool"),
        (
            "lost",
            r"one value for each row, .* got \(5,\) for logits of \(6, 5\)\.$",
        ),
        (
            "failing",
            r"raised ValueError at own_losses.py, line \d+ for student_logits \(6, 5\), "
            r"teacher_logits \(6, 5\): expected five classes",
        ),
    ],
)
def test_what_gives_no_value_for_each_row_is_refused(name, said):
    with pytest.raises(LimbeckError, match=said):
        values(f"{FILE}:{name}", draw(6, 5), stored(draw(6, 5)), batch_of(labels_of(6)))


def test_a_mean_over_the_rows_that_count_is_as_good_as_one_value_for_each():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    batch, student = batch_of(labels_of(2, 3), mask=mask), draw(2, 3, 5).requires_grad_()
    found = []
    for name in ("squares", "mean"):
        terms = method_alone(f"{FILE}:{name}")
        means = mean_terms(terms, {"it": student}, {"it": stored(draw(2, 3, 5, seed=1))}, batch)
        found.append(
            torch.cat(
                [means["soft"][None], *torch.autograd.grad(means["soft"], student)[0].flatten(0, 1)]
            )
        )
    assert torch.allclose(*found)
    assert found[0].abs().sum() > 0


def test_sparse_rows_are_refused_by_name():
    rows = {"it": two_classes_named(draw(6, 5))}
    with pytest.raises(TargetsError, match=f"method {FILE}:kd needs every class of a row"):
        check_rows(f"{FILE}:kd", rows, stored="codec topk")


def test_a_card_says_what_is_known_of_it():
    facts = find_method(f"{FILE}:kd").facts
    assert find_method(f"{FILE}:kd").card.line == "Soft targets."
    assert facts["formula"] == f"{FILE}:kd(student_logits, teacher_logits, temp=T)"
    assert facts["when"].startswith(f"`limbeck prove {FILE}:kd` says")
    assert facts["needs"] == "dense rows"
    assert find_method(f"{FILE}:noted").needs == ("dense rows", "labels")
    assert find_method(f"{FILE}:from_labels").needs == ("labels",)
    assert find_method(f"{FILE}:squares").card.line == "A loss of your own."


def test_a_search_tries_it_where_the_recipe_names_it():
    of = {
        "name": "own",
        "data": {"source": "digits"},
        "teacher": {"model": "mlp"},
        "students": {"small": {"model": "mlp"}},
    }
    own = Recipe.model_validate(of | {"distil": {"method": f"{FILE}:kd"}})
    rows = {"it": stored(draw(6, 5))}
    assert f"{FILE}:kd" in fitting_methods(own, [LABEL], rows)
    assert f"{FILE}:kd" not in fitting_methods(Recipe.model_validate(of), [LABEL], rows)
    assert f"{FILE}:kd" not in fitting_methods(own, [LABEL], {"it": two_classes_named(draw(6, 5))})


def test_a_function_is_found_again_by_its_name():
    assert method_name(own_losses.kd) == f"{FILE}:kd"
    for lost in (lambda student, teacher: 0, own_losses.Module.forward, own_losses.module):
        with pytest.raises(OptionError, match="must be a function at the top level of a module"):
            method_name(lost)


def test_the_code_of_a_method_changes_with_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "loss_with_code.py"
    file.write_text("def kd(student_logits, teacher_logits):\n    return 0\n")
    first = method_code("loss_with_code:kd")
    assert first == method_code("loss_with_code:kd")
    file.write_text(file.read_text() + "\n# changed\n")
    with pytest.raises(OptionError, match=r"changed after it was imported.* Start Python again"):
        method_code("loss_with_code:kd")
    monkeypatch.delitem(sys.modules, "loss_with_code")
    assert method_code("loss_with_code:kd") not in ([], first)
    assert method_code("soft_targets") == []


def test_the_code_of_what_another_module_only_hands_on_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    made = tmp_path / "loss_that_is_made.py"
    made.write_text("def kd(student_logits, teacher_logits):\n    return 0\n")
    (tmp_path / "loss_that_is_handed_on.py").write_text("from loss_that_is_made import kd\n")
    first = method_code("loss_that_is_handed_on:kd")
    made.write_text(made.read_text() + "\n# changed\n")
    monkeypatch.delitem(sys.modules, "loss_that_is_made")
    monkeypatch.delitem(sys.modules, "loss_that_is_handed_on")
    assert method_code("loss_that_is_handed_on:kd") != first


def test_the_code_of_what_is_in_no_file_is_its_own(monkeypatch):
    module = ModuleType("typed_in")
    exec("def kd(student_logits, teacher_logits):\n    return 0\n", vars(module))
    monkeypatch.setitem(sys.modules, "typed_in", module)
    assert method_code("typed_in:kd") == ["typed_in:kd"]


def test_padding_counts_for_nothing_in_its_mean():
    student, teacher = draw(2, 3, 5), stored(draw(2, 3, 5, seed=1))
    mask = torch.tensor([[True, True, False], [True, False, False]])
    terms = method_alone(f"{FILE}:kd")
    batch = batch_of(labels_of(2, 3), mask=mask)
    found = mean_terms(terms, {"it": student}, {"it": teacher}, batch)["soft"]
    plain = own_losses.kd(student, teacher.logits, TEMPERATURE)
    assert torch.allclose(found, plain[mask].mean())
