"""What a teacher says is captured."""

import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck import Teacher, capture
from limbeck._errors import (
    LimbeckError,
    ModelError,
    OptionError,
    TargetsError,
)
from limbeck.data import Views
from limbeck.signals import Head, Sparse
from tests.api.problem import (
    EXACT,
    IMAGES,
    KIND,
    PRICE,
    PRICES,
    SAME,
    TwoHeads,
    Watch,
    data_set,
    rows,
    split,
)
from tests.train.problem import INPUTS, LABEL, LABELS, model, same_weights


def test_what_is_kept_is_the_teachers_softened_distribution(teacher, logits, tmp_path):
    kept = capture(teacher, (INPUTS, LABELS), tmp_path, temperature=2.5, codec="dense32")
    torch.testing.assert_close(rows(kept, split()), (logits / 2.5).log_softmax(-1))
    assert kept.temperature == 2.5
    assert kept.heads == (LABEL,)


def test_left_to_itself_it_keeps_16_bits_of_one_view_at_temperature_4(teacher, logits, tmp_path):
    kept = capture(teacher, (INPUTS, LABELS), str(tmp_path))
    assert (kept.temperature, kept.views, kept.manifest.settings.codec) == (4.0, 1, "dense16")
    want = (logits / 4).log_softmax(-1)
    torch.testing.assert_close(rows(kept, split()), want, atol=2e-3, rtol=1e-3)
    assert not torch.equal(rows(kept, split()), want)


@pytest.mark.parametrize("form", SAME)
def test_data_in_any_form_make_the_same_targets(form, targets, tmp_path):
    kept = capture(model(seed=1), SAME[form](), tmp_path / "other", **EXACT)
    assert kept.manifest.settings == targets.manifest.settings
    torch.testing.assert_close(rows(kept, split()), rows(targets, split()))


def test_of_a_data_set_the_training_samples_alone_are_asked(teacher, tmp_path):
    others = split(LABELS[:9], INPUTS[:9] + 9)
    kept = capture(teacher, data_set(validation=others, test=others), tmp_path)
    assert kept.card.rows == 50


def test_a_numpy_function_teaches_by_scores_that_are_normalised(tmp_path):
    def votes(inputs):
        assert isinstance(inputs, np.ndarray)
        return np.abs(inputs[:, :3]) + 0.1

    kept = capture(
        votes, (INPUTS, LABELS), tmp_path, outputs="probabilities", temperature=1, codec="dense32"
    )
    scores = INPUTS[:, :3].abs() + 0.1
    torch.testing.assert_close(rows(kept, split()).exp(), scores / scores.sum(-1, keepdim=True))


def test_a_teacher_object_knows_its_heads_and_outputs(tmp_path):
    known = Teacher(
        lambda inputs: np.ones((len(inputs), 4)) * [1, 2, 3, 4],
        [Head(name="kind", space="categorical", size=4)],
        outputs="probabilities",
    )
    kept = capture(known, (INPUTS, LABELS), tmp_path, temperature=1, codec="dense32")
    assert kept.heads == known.heads
    want = torch.tensor([0.1, 0.2, 0.3, 0.4]).expand(50, 4)
    torch.testing.assert_close(rows(kept, split(), "kind").exp(), want)


@pytest.mark.parametrize("heads", [(), (KIND, PRICE)])
def test_several_heads_are_kept_each_by_its_name(heads, tmp_path):
    two, labels = TwoHeads(), {"kind": LABELS, "price": PRICES}
    kept = capture(two, (INPUTS, labels), tmp_path, heads=heads, temperature=2.0, codec="dense32")
    assert kept.heads == (KIND, PRICE)
    with torch.no_grad():
        said = two(INPUTS)
    torch.testing.assert_close(rows(kept, split(), "kind"), (said["kind"] / 2).log_softmax(-1))
    torch.testing.assert_close(rows(kept, split(), "price"), said["price"])


def test_samples_without_labels_are_captured_when_the_heads_are_known(teacher, logits, tmp_path):
    for name, asked, heads in (
        ("heads", teacher, [LABEL]),
        ("teacher", Teacher(teacher, [LABEL]), ()),
    ):
        kept = capture(asked, INPUTS, tmp_path / name, heads=heads, codec="dense32")
        torch.testing.assert_close(rows(kept, split()), (logits / 4).log_softmax(-1))


def test_heads_that_are_given_come_before_what_labels_tell(tmp_path):
    wide = Head(space="categorical", size=5, classes=tuple("abcde"))
    for number, data in enumerate([(INPUTS, LABELS), data_set()]):
        kept = capture(model(outputs=5), data, tmp_path / str(number), heads=[wide])
        assert kept.heads == (wide,)


def test_topk_keeps_the_k_most_probable_classes(teacher, logits, tmp_path):
    options = {"codec": "topk", "codec_options": {"k": 2}, "temperature": 2.0}
    kept = capture(teacher, (INPUTS, LABELS), tmp_path, **options)
    found = kept.read(kept.positions(split().keys))["label"]
    assert isinstance(found, Sparse)
    want = (logits / 2).softmax(-1).topk(2)
    assert torch.equal(found.ids.long().sort(-1).values, want.indices.sort(-1).values)
    torch.testing.assert_close(found.tail.float(), 1 - want.values.sum(-1), atol=2e-3, rtol=0)


def test_each_view_is_asked_and_kept(tmp_path):
    samples = split(inputs=IMAGES, views=Views(shift=1, flip=True))
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    kept = capture(network, samples, tmp_path, views=3, codec="dense32")
    assert kept.views == 3
    seen = []
    for view in range(3):
        with torch.no_grad():
            said = network(samples.fetch(torch.arange(50), view).inputs)
        seen.append(rows(kept, samples, view=view))
        torch.testing.assert_close(seen[view], (said / 4).log_softmax(-1))
    assert not torch.equal(seen[1], seen[2])


def test_the_teacher_is_asked_once_and_in_batches_and_the_watcher_told(tmp_path):
    asked, watch = [], Watch()

    def table(inputs):
        asked.append(len(inputs))
        return inputs[:, :3]

    for _ in range(2):
        capture(table, (INPUTS, LABELS), tmp_path, batch_size=20, progress=watch)
    assert asked == [20, 20, 10, 8]  # a few again, for a name proves nothing
    assert watch.started == [("targets", 50)]
    assert watch.advanced == 50


def test_a_captured_module_is_frozen_and_its_weights_stay(teacher, tmp_path):
    capture(teacher.train(), (INPUTS, LABELS), tmp_path)
    assert not teacher.training
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert same_weights(teacher, model(seed=1))


def test_a_folder_of_another_teachers_targets_is_refused(targets, tmp_path):
    before = {path.name: path.read_bytes() for path in targets.folder.iterdir()}
    with pytest.raises(TargetsError, match=r"holds a transfer set of something else: teacher: "):
        capture(model(seed=2), (INPUTS, LABELS), targets.folder, **EXACT)
    assert {path.name: path.read_bytes() for path in targets.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("asked", "options", "kind", "said"),
    [
        (lambda x: x[:, :3] * np.nan, {}, ModelError, "answer for head label is not finite"),
        (lambda x: np.ones((len(x), 3)) / 3, {}, ModelError, "probabilities"),
        (lambda x: x[:, :2], {}, LimbeckError, "must answer 3 classes for head label"),
        ("mlp", {}, ModelError, "a teacher is a torch module or a callable, got str"),
        (model(), {"temperature": 0.0}, OptionError, "temperature must be above 0 and finite"),
        (model(), {"views": 0}, OptionError, "views must be a whole number, 1 or more, got 0"),
        (
            model(),
            {"batch_size": 0},
            OptionError,
            "batch_size must be a whole number, 1 or more, got 0",
        ),
        (model(), {"codec": "dense61"}, OptionError, 'codec must be one of .* got "dense61"'),
        (model(), {"codec_options": {"k": 2}}, OptionError, "codec dense16 takes .* got k"),
        (model(), {"outputs": "odds"}, OptionError, "odds"),
    ],
)
def test_what_cannot_be_captured_is_refused_by_name(asked, options, kind, said, tmp_path):
    with pytest.raises(kind, match=said):
        capture(asked, (INPUTS, LABELS), tmp_path / "targets", **options)


def test_a_teacher_that_knows_its_heads_is_captured_from_labels_that_are_all_the_same(tmp_path):
    kept = capture(limbeck.Teacher(model(), [LABEL]), (INPUTS, LABELS * 0), tmp_path)
    assert kept.heads == (LABEL,)
