"""A recipe's `[data]` makes the data and the metric that it says, key by key."""

import numpy as np
import pytest
import torch

from limbeck._errors import DataError, LimbeckError, OptionError
from limbeck.recipe import Augment, Data
from limbeck.signals import Head
from limbeck.tasks import load_task

GRADES = np.arange(100) % 4


@pytest.fixture
def table(tmp_path):
    """A table of a hundred samples, whose first column is their number."""
    path = tmp_path / "answers.csv"
    lines = [f"{number},{number % 7},g{grade}" for number, grade in enumerate(GRADES)]
    path.write_text("\n".join(["number,other,grade", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def loaded(table):
    """Load that table, with changed settings."""

    def load(**changed):
        plain = {"source": "table", "path": str(table), "options": {"target": "grade"}}
        return load_task(Data(**plain | changed))

    return load


def numbers(samples, column=0):
    """What stands in a column of these samples."""
    return samples.fetch(torch.arange(len(samples))).inputs[:, column].tolist()


def sizes(data):
    return len(data.train), len(data.validation), len(data.test)


def splits(data):
    """Which samples each split has, by their content."""
    return [samples.keys.tolist() for samples in (data.train, data.validation, data.test)]


def shown(data):
    """How many training samples show their labels."""
    labelled = data.train.labelled
    return len(data.train) if labelled is None else int(labelled.sum())


def test_the_splits_have_no_sample_in_common_and_all_together(loaded):
    parts = splits(loaded().data)
    assert sum(map(len, parts)) == len(set().union(*parts)) == 100


def test_left_to_itself_a_fifth_is_test_and_a_tenth_of_the_rest_validation(loaded):
    data = loaded().data
    assert sizes(data) == (72, 8, 20)
    assert shown(data) == 72


def test_test_and_validation_are_the_fractions_that_are_named(loaded):
    assert sizes(loaded(test=0.4).data) == (54, 6, 40)
    assert sizes(loaded(validation=0.25).data) == (60, 20, 20)


def test_the_limit_is_of_training_samples_alone(loaded):
    data = loaded(limit=10).data
    assert sizes(data) == (10, 8, 20)
    assert set(data.train.keys.tolist()) < set(loaded().data.train.keys.tolist())


def test_the_seed_chooses_the_splits_and_whose_labels_are_shown(loaded):
    one, same, other = (loaded(seed=seed, labelled=0.5).data for seed in (0, 0, 1))
    assert splits(one) == splits(same) != splits(other)
    assert torch.equal(one.train.labelled, same.train.labelled)
    assert not torch.equal(one.train.labelled, other.train.labelled)


@pytest.mark.parametrize(("labelled", "count"), [(0.25, 18), (12, 12), (2, 2), (1.0, 72)])
def test_a_fraction_or_a_count_of_labels_is_shown(labelled, count, loaded):
    assert shown(loaded(labelled=labelled).data) == count


def test_the_options_are_the_sources(loaded):
    grades = loaded().data.heads
    assert grades == (Head(space="categorical", size=4, classes=("g0", "g1", "g2", "g3")),)
    assert loaded(options={"target": "other", "task": "classification"}).data.head.size == 7


def test_labels_belong_to_their_samples(loaded):
    # The grade is the number modulo 4, which the samples' order follows whatever their scale.
    data = loaded().data
    found = [
        pair
        for samples in (data.train, data.validation, data.test)
        for pair in zip(numbers(samples), samples.labels["label"].tolist(), strict=True)
    ]
    assert [label for _, label in sorted(found)] == GRADES.tolist()


def test_views_are_made_as_augment_says(tmp_path, monkeypatch):
    (tmp_path / "own_images.py").write_text(
        "import numpy as np\n"
        "def corner():\n"
        "    images = np.zeros((40, 5, 5), dtype=np.float32)\n"
        "    images[:, 2, 0] = np.arange(1, 41)\n"
        "    return {'train': (images, np.arange(40) % 2)}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    places = {}
    for name, augment in {
        "none": {},
        "shift": {"shift": 1},
        "flip": {"flip": True},
        "both": {"shift": 1, "flip": True},
    }.items():
        data = load_task(Data(source="own_images:corner", augment=Augment(**augment))).data
        train, test = (
            [samples.fetch(torch.arange(len(samples)), view).inputs for view in range(1, 20)]
            for samples in (data.train, data.test)
        )
        assert torch.equal(
            torch.cat(test), data.test.fetch(torch.arange(8)).inputs.repeat(19, 1, 1)
        )
        places[name] = {(row, column) for _, row, column in torch.cat(train).nonzero().tolist()}
    rows, columns = range(1, 4), (0, 1)  # what is moved out on the left is gone
    assert places == {
        "none": {(2, 0)},
        "shift": {(row, column) for row in rows for column in columns},
        "flip": {(2, 0), (2, 4)},
        "both": {(row, column) for row in rows for column in (0, 1, 3, 4)},
    }


def test_the_metric_is_the_first_that_fits_or_the_one_that_is_named(loaded):
    assert loaded().metric.name == "accuracy"
    assert loaded(metric="cross_entropy").metric.name == "cross_entropy"
    prices = loaded(options={"target": "number", "task": "regression"}).metric
    assert (prices.name, prices.higher_is_better) == ("rmse", False)
    rows, labels = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [2.0]])
    assert prices.score(rows, labels) == pytest.approx(2.5**0.5)


def test_a_source_that_needs_no_path_is_loaded_by_its_name():
    task = load_task(Data(source="digits", test=0.3, validation=0.2))
    assert sizes(task.data) == (1006, 251, 540)
    assert (task.data.head.size, task.metric.name) == (10, "accuracy")


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"source": "tabel"}, OptionError, "no source is called 'tabel'. Did you mean table"),
        ({"path": "nowhere.csv"}, DataError, "nowhere.csv"),
        ({"options": {"target": "grad"}}, LimbeckError, "grade"),
        ({"options": {"tarjet": "grade"}}, OptionError, "Did you mean target"),
        ({"metric": "acuracy"}, OptionError, "Did you mean accuracy"),
        ({"metric": "rmse"}, OptionError, "metric rmse is for real labels, the data's are cat"),
        ({"labelled": 73}, DataError, "labelled must be at most the 72 training samples, got 73"),
        ({"augment": Augment(shift=1)}, LimbeckError, "views are of images"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_refused_by_name(changed, kind, said, loaded):
    with pytest.raises(kind, match=said):
        loaded(**changed)
