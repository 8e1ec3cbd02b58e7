import sys

import pytest
import torch
from torch import nn

from limbeck._errors import ExtraError, ModelError
from limbeck._lookup import import_function
from limbeck.data import samples
from limbeck.data._data_set import DataSet
from limbeck.models import CNN, MLP, Interface, build
from limbeck.signals import Head

LABEL = Head(space="categorical", size=5)
IMAGES = Interface(shape=(8, 8), vocabulary=0, heads=(LABEL,))
TEXTS = Interface(shape=(6,), vocabulary=20, heads=(LABEL,), padded=True)
CHARACTERS = Interface(shape=(6,), vocabulary=20, heads=(Head(space="categorical", size=20),))
BERT = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 8,
}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refused(name, options, interface=IMAGES):
    with pytest.raises(ModelError) as error:
        build(name, options, interface)
    return str(error.value)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Write a module of the user's own into the working folder; its name is given back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.mark.parametrize(
    ("name", "options", "interface"),
    [
        ("mlp", {"hidden": [7]}, IMAGES),
        ("cnn", {"channels": [4]}, IMAGES),
        ("transformers:BertForSequenceClassification", BERT, TEXTS),
    ],
)
def test_the_same_seed_gives_the_same_weights_and_another_one_others(name, options, interface):
    first, second = (build(name, options, interface, seed=3) for _ in range(2))
    assert same_weights(first, second)
    assert not same_weights(first, build(name, options, interface, seed=4))


def test_building_leaves_the_random_state_as_it_was():
    before = torch.random.get_rng_state()
    build("mlp", {}, IMAGES, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_ours_fit_the_data_by_themselves():
    mlp, cnn = build("mlp", {}, IMAGES), build("cnn", {}, IMAGES)
    assert isinstance(mlp, MLP)
    assert isinstance(cnn, CNN)
    colour = Interface(shape=(3, 8, 8), vocabulary=0, heads=(LABEL,))
    assert mlp(torch.zeros(2, 8, 8)).shape == cnn(torch.zeros(2, 8, 8)).shape == (2, 5)
    assert build("cnn", {}, colour)(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "mlpp",
            {},
            "no model is called 'mlpp'. Did you mean mlp? There are "
            "cifar_resnet, cnn, mlp, soft_tree, wide_resnet, "
            '"transformers:CLASS" and "package.module:function".',
        ),
        (
            "mlp",
            {"hiden": [8]},
            "model mlp has no option 'hiden'. Did you mean hidden? It takes hidden, dropout, "
            "input_dropout.",
        ),
        (
            "mlp",
            {"interface": 1},
            "model mlp has no option 'interface'. It takes hidden, dropout, input_dropout.",
        ),
        (
            "mlp",
            {"hidden": 8},
            "the options of model mlp do not fit (TypeError: Value after * must be an iterable, "
            "not int). Look at their types and ranges.",
        ),
        (
            "mlp",
            {"dropout": 2.0},
            "the options of model mlp do not fit (ValueError: dropout probability has to be "
            "between 0 and 1, but got 2.0). Look at their types and ranges.",
        ),
        (
            "mlp",
            {"hidden": [-1]},
            "the options of model mlp do not fit (RuntimeError: Trying to create tensor with "
            "negative dimension -1: [-1, 64]). Look at their types and ranges.",
        ),
    ],
)
def test_a_model_or_option_that_does_not_exist_or_fit_is_refused(name, options, message):
    assert refused(name, options) == message


def test_a_cnn_of_what_is_no_image_is_refused():
    assert refused("cnn", {}, TEXTS) == (
        "cnn takes images, (height, width) or (channels, height, width), got samples of shape "
        "(6,). Take mlp instead."
    )


def test_two_heads_need_a_model_of_the_users_own():
    two = Interface(shape=(8, 8), vocabulary=0, heads=(LABEL, Head(name="b", space="real", size=1)))
    assert refused("mlp", {}, two) == (
        "mlp answers one head, the data has 2. Give a model of your own: model = "
        '"package.module:function".'
    )


def test_a_function_of_the_users_own_is_found_in_the_working_folder(own_module):
    module = own_module(
        "own_model",
        "from torch import nn\n\ndef make(width=4):\n    return nn.Linear(width, 5)\n",
    )
    model = build(f"{module}:make", {"width": 7}, IMAGES)
    assert isinstance(model, nn.Linear)
    assert model.weight.shape == (5, 7)
    assert same_weights(build(f"{module}:make", {}, IMAGES), build(f"{module}:make", {}, IMAGES))


def test_a_class_and_any_options_will_do_too(own_module):
    module = own_module(
        "own_class",
        "from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self, **options):\n"
        "        super().__init__()\n        self.options = options\n",
    )
    assert build(f"{module}:Net", {"anything": 1}, IMAGES).options == {"anything": 1}


def test_what_is_wrong_with_a_function_of_the_users_own_is_said(own_module):
    module = own_module(
        "own_wrong",
        "depth = 3\n\ndef make(width):\n    return None\n\ndef lost():\n    import not_installed\n",
    )
    assert refused("not_there:make", {}) == (
        "model 'not_there:make': cannot import not_there: No module named 'not_there'. Run in the "
        "folder that holds it, or install the package that has it."
    )
    assert refused(f"{module}:maker", {}) == (
        "model 'own_wrong:maker': module own_wrong has no function 'maker'. Did you "
        "mean make? Define it there."
    )
    assert refused(f"{module}:depth", {}) == (
        "model 'own_wrong:depth': depth is int, and no function. Name one."
    )
    assert refused(f"{module}:make", {"widht": 3}) == (
        "model own_wrong:make has no option 'widht'. Did you mean width? It takes width."
    )
    assert refused(f"{module}:make", {}) == (
        "model own_wrong:make needs the option width. Set options.width."
    )
    assert refused(f"{module}:make", {"width": 3}) == (
        "model 'own_wrong:make' must return a torch module, got NoneType."
    )


def test_a_function_of_the_users_own_that_raises_is_named_with_what_it_said(own_module):
    module = own_module(
        "own_raising", 'def make():\n    return {}["width"]\n\ndef out():\n    1 / 0\n'
    )
    assert refused(f"{module}:make", {}) == (
        "model 'own_raising:make' raised KeyError at own_raising.py, line 2: 'width'. Mend it, or "
        "the options that it is given."
    )
    with pytest.raises(ModelError) as error:
        build(f"{module}:out", {}, IMAGES)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("own_module.make", " Did you mean own_module:make?"),
        ("own_module:", ""),
    ],
)
def test_a_function_without_a_colon_or_a_name_is_refused(name, meant):
    with pytest.raises(ModelError) as error:
        import_function("model", name, ModelError)
    assert str(error.value) == f'model {name!r} must be "package.module:function".{meant}'


def test_a_file_is_no_module():
    with pytest.raises(ModelError, match=r"names a file\. Name the module: own\.module:function\."):
        import_function("model", "own/module.py", ModelError)


@pytest.mark.parametrize("name", [":make", ".relative:make"])
def test_a_function_without_a_whole_module_name_is_refused(name):
    assert refused(name, {}) == f'model {name!r} must be "package.module:function".'


def test_a_transformers_classifier_is_built_from_its_config_and_answers():
    model = build("transformers:BertForSequenceClassification", BERT, TEXTS).eval()
    ids = torch.tensor([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 19]])
    said = model(input_ids=ids, attention_mask=(ids > 0).long()).logits
    assert said.shape == (2, 5)
    assert model.config.vocab_size == 20
    assert model.config.pad_token_id == 0


def test_a_transformers_language_model_answers_for_every_token():
    model = build("transformers:GPT2LMHeadModel", GPT2, CHARACTERS).eval()
    assert model(torch.zeros(2, 6, dtype=torch.long)).logits.shape == (2, 6, 20)
    assert model.config.pad_token_id is None  # id 0 is a character like any other


def test_a_transformers_image_model_needs_no_vocabulary():
    options = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "image_size": 8,
        "patch_size": 4,
        "num_channels": 1,
    }
    model = build("transformers:ViTForImageClassification", options, IMAGES).eval()
    assert model(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "options", "interface", "message"),
    [
        (
            "BertForSequenceClasification",
            {},
            TEXTS,
            "transformers has no model class 'BertForSequenceClasification'. Did you mean "
            "BertForSequenceClassification?",
        ),
        ("Trainer", {}, TEXTS, "transformers has no model class 'Trainer'."),
        (
            "GPT2LMHeadModel",
            {"n_layers": 2},
            CHARACTERS,
            "GPT2Config has no option 'n_layers'. Did you mean n_layer?",
        ),
        (
            "BertForSequenceClassification",
            BERT | {"num_attention_heads": 3},
            TEXTS,
            "the options of model transformers:BertForSequenceClassification do not fit "
            "(ValueError: The hidden size (8) is not a multiple of the number of attention heads "
            "(3)). Look at their types and ranges.",
        ),
        (
            "BertForSequenceClassification",
            BERT,
            IMAGES,
            "transformers:BertForSequenceClassification reads texts, the data has none. Take "
            "another model: cifar_resnet, cnn, mlp, soft_tree, wide_resnet, ...",
        ),
    ],
)
def test_a_transformers_model_that_does_not_exist_or_fit_is_refused(
    name, options, interface, message
):
    assert refused(f"transformers:{name}", options, interface) == message


@pytest.mark.parametrize("option", [{"hidden_size": "a"}, {"hidden_act": "nope"}])
def test_an_option_of_the_wrong_type_is_refused_whatever_transformers_raises(option):
    message = refused("transformers:BertForSequenceClassification", BERT | option, TEXTS)
    assert message.startswith(
        "the options of model transformers:BertForSequenceClassification do not fit ("
    )


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ExtraError) as error:
        build("transformers:GPT2LMHeadModel", {}, CHARACTERS)
    assert str(error.value) == (
        "model transformers:GPT2LMHeadModel needs transformers. pip install 'limbeck[text]'."
    )


def test_an_interface_is_read_from_the_data():
    labels = torch.arange(4) % 2
    images = samples(torch.zeros(4, 3, 8), labels)
    heads = (Head(space="categorical", size=2),)
    data = DataSet(train=images, validation=images, test=images, heads=heads)
    assert Interface.of(data) == Interface(shape=(3, 8), vocabulary=0, heads=heads)
    ids = {"input_ids": torch.zeros(4, 6, dtype=torch.long), "attention_mask": torch.ones(4, 6)}
    texts = samples(ids, labels)
    data = DataSet(
        train=texts, validation=texts, test=texts, heads=heads, vocabulary=("a", "b", "c")
    )
    assert Interface.of(data) == Interface(shape=(6,), vocabulary=3, heads=heads, padded=True)
