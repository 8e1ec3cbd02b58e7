import json

import pytest
import safetensors.torch
import torch
from torch import nn

from limbeck._errors import ModelError
from limbeck._files import PICKLE_SUFFIXES
from limbeck.models import (
    MLP,
    Interface,
    build,
    load,
    load_weights,
    parameter_count,
    save,
    save_weights,
)
from limbeck.signals import Head

HEAD = Head(space="categorical", size=5, classes=("a", "b", "c", "d", "é"))
IMAGES = Interface(shape=(8, 8), vocabulary=0, heads=(HEAD,))
CHARACTERS = Interface(shape=(6,), vocabulary=20, heads=(Head(space="categorical", size=20),))
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
BERT = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 8,
}
STUDENTS = {
    "mlp": ("mlp", {"hidden": [7]}, IMAGES, torch.randn(3, 8, 8)),
    "cnn": ("cnn", {"channels": [4]}, IMAGES, torch.randn(3, 8, 8)),
    "tied": ("transformers:GPT2LMHeadModel", GPT2, CHARACTERS, torch.arange(6)[None]),
    "transformer": (
        "transformers:BertForSequenceClassification",
        BERT,
        Interface(shape=(6,), vocabulary=20, heads=(HEAD,)),
        torch.arange(1, 7)[None],
    ),
}


def refused(model, path):
    with pytest.raises(ModelError) as error:
        load_weights(model, path)
    return str(error.value)


def answer(model, x):
    said = model.eval()(x)
    return said if isinstance(said, torch.Tensor) else said.logits


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_saved_student_is_loaded_exactly(kind, tmp_path):
    name, options, interface, x = STUDENTS[kind]
    student = build(name, options, interface, seed=5)
    answer(student.train(), x)  # so that running means are saved too
    save(student, tmp_path, name=name, options=options, interface=interface)
    loaded = load(tmp_path)
    assert not loaded.training
    one, other = student.state_dict(), loaded.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(answer(student, x), answer(loaded, x))
    assert {path.name for path in tmp_path.iterdir()} == {"student.json", "student.safetensors"}


def test_tied_weights_are_still_tied_after_loading_and_count_once(tmp_path):
    name, options, interface, _ = STUDENTS["tied"]
    student = build(name, options, interface)
    save(student, tmp_path, name=name, options=options, interface=interface)
    loaded = load(str(tmp_path))
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    apart = sum(tensor.numel() for tensor in loaded.state_dict().values())
    assert parameter_count(loaded) == apart - 20 * 8


def test_the_card_says_what_is_needed_to_build_the_student_again(tmp_path):
    student = build("mlp", {"hidden": (7,)}, IMAGES)
    save(
        student,
        tmp_path,
        name="mlp",
        options={"hidden": (7,)},
        interface=IMAGES,
        outputs="probabilities",
    )
    card = json.loads((tmp_path / "student.json").read_text(encoding="utf-8"))
    assert card["format"] == 1
    assert (card["model"], card["options"]) == ("mlp", {"hidden": [7]})
    assert card["outputs"] == "probabilities"
    assert card["interface"]["shape"] == [8, 8]
    assert card["interface"]["heads"][0]["classes"] == ["a", "b", "c", "d", "é"]


@pytest.mark.parametrize("kind", STUDENTS)
def test_weights_of_a_model_that_was_trained_in_parallel_are_read_as_its_own(kind, tmp_path):
    name, options, interface, x = STUDENTS[kind]
    trained, loaded = (build(name, options, interface, seed=seed) for seed in (5, 6))
    safetensors.torch.save_model(nn.DataParallel(trained), str(tmp_path / "weights.safetensors"))
    load_weights(loaded, tmp_path / "weights.safetensors")
    assert torch.equal(answer(trained, x), answer(loaded, x))


def test_a_model_that_has_a_part_called_module_is_read_as_it_is(tmp_path):
    trained, loaded = (nn.ModuleDict({"module": nn.Linear(2, 2)}) for _ in range(2))
    save_weights(trained, tmp_path / "weights.safetensors")
    load_weights(loaded, tmp_path / "weights.safetensors")
    assert torch.equal(trained["module"].weight, loaded["module"].weight)


def test_weights_of_which_only_some_seem_to_be_of_a_parallel_model_do_not_fit(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(
        {"module.weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, str(path)
    )
    assert "missing weight, unexpected module.weight" in refused(nn.Linear(2, 2), path)


@pytest.mark.parametrize("suffix", PICKLE_SUFFIXES)
def test_what_may_be_a_pickle_is_refused_before_it_is_opened(suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    assert refused(nn.Linear(2, 2), path) == (
        f"{path} may be a pickle, which can run code when it is loaded: refused. Convert it once "
        "with safetensors.torch.save_file(state_dict, 'weights.safetensors')."
    )


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    assert refused(nn.Linear(2, 2), path) == (
        f"there is no weights file {path}. Give the path of a .safetensors file."
    )


def test_a_truncated_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(nn.Linear(20, 20), path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:30], whole[:-1]):
        path.write_bytes(damaged)
        message = refused(nn.Linear(20, 20), path)
        assert message.startswith(f"{path} is no whole safetensors file (")
        assert message.endswith("). Copy or convert it again.")


@pytest.mark.parametrize("begin", [b"\x80\x02}q\x00", b"\x80\x04\x95", b"PK\x03\x04"])
def test_a_pickle_by_another_name_is_called_one(begin, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(begin + bytes(100))
    assert refused(nn.Linear(2, 2), path) == (
        f"{path} begins as a pickle does, which can run code when it is loaded: refused. Convert "
        "it once with safetensors.torch.save_file(state_dict, 'weights.safetensors'); another "
        "name does not convert it."
    )


def test_a_truncated_file_whose_length_looks_like_a_pickle_is_truncated(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x80\x02" + bytes(6) + b'{"weight":')
    assert "is no whole safetensors file" in refused(nn.Linear(2, 2), path)


def test_weights_of_other_shapes_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(nn.Linear(2, 3), path)
    message = refused(nn.Linear(2, 4), path)
    assert message.startswith(f"{path} does not fit the model: size mismatch for ")
    assert "torch.Size([3]) from checkpoint, the shape in current model is torch.Size([4])" in (
        message
    ) or "torch.Size([3, 2]) from checkpoint, the shape in current model is torch.Size([4, 2])" in (
        message
    )
    assert message.endswith(" Give the model the options it was trained with.")


def test_missing_and_unexpected_weights_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(MLP(2, [], 3), path)
    assert refused(MLP(2, [4], 3), path).startswith(f"{path} does not fit the model: ")
    safetensors.torch.save_file({"weight": torch.zeros(3, 2), "scale": torch.zeros(1)}, str(path))
    assert refused(nn.Linear(2, 3), path) == (
        f"{path} does not fit the model: missing bias, unexpected scale. Give the model the "
        "options it was trained with."
    )


def test_a_folder_without_a_student_says_where_students_are(tmp_path):
    with pytest.raises(ModelError) as error:
        load(tmp_path)
    assert str(error.value) == (
        f"there is no student in {tmp_path}: no student.json there. A run keeps its students in "
        "students/NAME."
    )


@pytest.mark.parametrize(
    "card",
    [
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"interface": {"heads": [{"nome": 1, "classes": []}], "shape": [1], "vocabulary": 0}}',
        b'{"interface": {"heads": [], "shape": [1], "vocabulary": 0}}',
    ],
)
def test_a_damaged_card_is_named(card, tmp_path):
    (tmp_path / "student.json").write_bytes(card)
    with pytest.raises(ModelError) as error:
        load(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'student.json'} is damaged (")
    assert str(error.value).endswith("). Run the recipe again.")
