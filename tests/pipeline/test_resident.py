"""Training inputs that lie on the device are the same samples; what cannot lie there is refused."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset

import limbeck
from limbeck._errors import OptionError, RecipeError
from limbeck.data import DatasetSamples
from limbeck.pipeline import _context
from limbeck.recipe_combinations import check_combinations
from limbeck.tasks import load_task
from tests.pipeline.examples import equal, small, weights

VIEWS = ["data.augment={shift = 1}", "targets.views=2", "seeds=1"]


def test_a_run_is_the_same_wherever_its_inputs_lie(tmp_path):
    limbeck.run(small(tmp_path, *VIEWS), tmp_path / "plain")
    limbeck.run(small(tmp_path, *VIEWS, "data.resident=true"), tmp_path / "resident")
    assert equal(weights(tmp_path / "plain"), weights(tmp_path / "resident"))


class Items(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, place):
        return torch.zeros(4), place


def test_samples_that_are_read_one_by_one_cannot_lie_there(tmp_path):
    task = load_task(small(tmp_path).data)
    task = replace(task, data=replace(task.data, train=DatasetSamples(Items())))
    with pytest.raises(OptionError, match=r"resident = true is for samples that lie in memory"):
        _context._on(torch.device("cpu"), task)


@pytest.mark.parametrize("section", ["train", "teacher.train"])
def test_no_process_reads_ahead_what_lies_there(tmp_path, section):
    recipe = small(tmp_path, "data.resident=true", f"{section}.workers=2")
    with pytest.raises(RecipeError, match=rf"and {section}\.workers = 2 asks for some"):
        check_combinations(recipe)
