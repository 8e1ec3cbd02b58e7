"""What docs/adding-a-method.md says to do makes a method."""

import re
from pathlib import Path

import torch

from limbeck import losses
from limbeck.methods import METHODS
from limbeck.methods.features import FEATURE_METHODS
from limbeck.proofs import prove
from tests.methods.features.problem import learner, student, teacher, train
from tests.methods.problem import batch_of, draw, labels_of, method_alone, stored, value

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
OWN, FILE, LINE, *TESTS, FEATURES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_page_begins_with_a_loss_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    rows, batch = stored(draw(6, 5, seed=1)), batch_of(labels_of(6))
    own = value(method_alone("my_losses:kd", sharpness=2.0), draw(6, 5), rows, batch)
    soft = value(method_alone("soft_targets"), draw(6, 5), rows, batch)
    torch.testing.assert_close(own, 2 * soft)
    assert prove("my_losses:kd").holds


def test_the_page_ends_in_a_method_that_passes_its_test(monkeypatch):
    said = {}
    exec(FILE, said)
    monkeypatch.setitem(METHODS, "squares", eval(f"{{{LINE}}}", said)["squares"])
    expected, otherwise = (eval(f"{{{text}}}", {"losses": losses})["squares"] for text in TESTS)

    def found(**options):
        terms = method_alone("squares", **options)
        return value(terms, draw(6, 5), stored(draw(6, 5, seed=1)), batch_of(labels_of(6)))

    want = expected(draw(6, 5), draw(6, 5, seed=1), labels_of(6)).mean()
    torch.testing.assert_close(found(), want)
    assert abs(float(found(**otherwise) - want)) > 1e-3


def test_the_page_ends_in_a_method_of_features_that_learns(monkeypatch):
    said = {}
    exec(FEATURES, said)
    monkeypatch.setitem(FEATURE_METHODS, "sizes", said["sizes"])
    who, whose = student(), teacher()
    one = learner("sizes", who, whose)
    first, *_, last = train([one], whose, epochs=8).histories["student"].terms["features"]
    assert last < first
