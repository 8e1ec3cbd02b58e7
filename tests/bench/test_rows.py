"""The rows that the benchmark of transfer sets is measured on."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `bench`, whose modules import each other as scripts do."""
    monkeypatch.syspath_prepend(str(BENCH))

    def import_script(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(name)

    return import_script


@pytest.fixture
def teachers(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The digits teacher alone, of one epoch."""
    module = script("_teachers")
    quick = module.Settings(hidden=16, dropout=0.0, epochs=1, batch_size=64, learning_rate=2e-3)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "TEACHERS", {"digits": quick})
    return module


def test_rows_are_what_the_teacher_answers(teachers: ModuleType) -> None:
    rows, model = teachers.rows("digits", "test"), teachers.teacher("digits")
    images, labels = teachers.data("digits")["test"]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(rows.logits()), model(images))
    assert rows.labels.tolist() == labels.tolist()


def test_batches_go_over_the_rows_in_order(teachers: ModuleType) -> None:
    rows = teachers.rows("digits", "test")
    parts = list(rows.batches(size=64, limit=200))
    assert [len(labels) for _, labels in parts] == [64, 64, 64, 8]
    np.testing.assert_allclose(
        np.concatenate([logits for logits, _ in parts]), rows.logits(0, 200), atol=1e-5
    )


def test_a_teacher_is_trained_once(teachers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers.rows("digits", "train")
    monkeypatch.setattr(teachers, "_fit", lambda *given: pytest.fail("trained again"))
    teachers.rows("digits", "test")


def test_a_word_model_sees_no_word_that_is_yet_to_come(script) -> None:
    words = script("_words")
    model = words.WordModel(20, 20, width=8, dropout=0.0).eval()
    ids = torch.arange(12).view(1, 12)
    changed = ids.clone()
    changed[0, 7] = 19
    with torch.no_grad():
        before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7], after[:, 7])


def test_a_word_is_asked_for_where_the_next_one_is_common(script, tmp_path: Path) -> None:
    words = script("_words")
    (tmp_path / "valid.txt").write_text("a a b\n" * 32 + "a c a", encoding="utf-8")
    (tmp_path / "test.txt").write_text("d a", encoding="utf-8")
    # Ids by how common: a 0, b 1, <eos> 2, c 3; d, which only the test file has, comes last.
    assert words.vocabulary(tmp_path) == ["a", "b", "<eos>", "c", "d"]
    given, asked = words.sequences(tmp_path, "valid", classes=2)
    assert given.shape == asked.shape == (2, words.LENGTH)
    assert given[0, :5].tolist() == [0, 0, 1, 2, 0]
    assert asked[0, :5].tolist() == [0, 1, words.UNCOUNTED, 0, 0]


def test_simulated_rows_come_near_the_stated_masses(script) -> None:
    simulated = script("_simulated")
    found = simulated.masses("simulated-32k", limit=256)
    for count in (1, 12, 50, 64, 128):
        assert found[count] == pytest.approx(simulated.STATED["simulated-32k"][count], abs=0.03)


def test_simulated_rows_are_the_same_again(script) -> None:
    simulated = script("_simulated")
    first, second = (
        next(simulated.Simulated("simulated-32k").batches(size=4, limit=4)) for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
