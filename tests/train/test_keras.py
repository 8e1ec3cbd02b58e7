"""A Keras model on the torch backend is trained, kept, loaded and continued like any other."""

import pytest
import torch

from limbeck._errors import Interrupted, ModelError
from limbeck._state import state_of
from limbeck.models import load_weights, parameter_count, save_weights
from limbeck.teachers import Teacher
from tests.train.problem import INPUTS, LABEL, train


def network(seed=0, width=6):
    import keras  # takes seconds, which a process that only collects this file need not wait

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    hidden = [layers.Dense(width, "relu"), layers.BatchNormalization(), layers.Dropout(0.3)]
    return keras.Sequential([layers.Input((4,)), *hidden, layers.Dense(3)])


def equal(one, other):
    first, second = state_of(one), state_of(other)
    return list(first) == list(second) and all(torch.equal(first[n], second[n]) for n in first)


def test_two_builds_have_the_same_names_and_other_weights():
    assert list(state_of(network(0))) == list(state_of(network(1)))
    assert equal(network(3), network(3))
    assert not equal(network(3), network(4))


def test_weights_are_saved_and_loaded_into_another_build(tmp_path):
    trained, other = network(0), network(1)
    train(trained)
    save_weights(trained, tmp_path / "keras.safetensors")
    load_weights(other, tmp_path / "keras.safetensors")
    assert equal(trained, other)
    assert torch.equal(trained(INPUTS, training=False), other(INPUTS, training=False))


def test_weights_of_another_width_are_refused(tmp_path):
    save_weights(network(), tmp_path / "keras.safetensors")
    with pytest.raises(ModelError, match=r"does not fit .*\(4, 6\) in the file, \(4, 7\) in the"):
        load_weights(network(width=7), tmp_path / "keras.safetensors")


def test_a_teachers_fingerprint_is_that_of_its_weights_not_of_the_layers_made_before():
    assert Teacher(network(0), [LABEL]).fingerprint == Teacher(network(0), [LABEL]).fingerprint
    assert Teacher(network(0), [LABEL]).fingerprint != Teacher(network(1), [LABEL]).fingerprint


def test_parameters_are_counted_as_keras_does():
    model = network()
    # 4 x 6 + 6, the layer that normalises 4 x 6, 6 x 3 + 3; no state of a random generator.
    assert parameter_count(model) == 30 + 24 + 21 == model.count_params()


def test_training_goes_on_after_a_stop_to_the_same_weights(tmp_path, monkeypatch):
    whole = network()
    train(whole)
    path = tmp_path / "state.safetensors"
    halves = network()
    seen = []

    def stop_once(learner):
        seen.append(learner)
        if len(seen) == 1:
            raise Interrupted("enough")
        return 0.0

    monkeypatch.setattr("limbeck.train._resume.CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(Interrupted):
        train(halves, validate=stop_once, checkpoint=path)
    again = network(9)  # other weights, and other names inside
    train(again, validate=stop_once, checkpoint=path)
    assert equal(whole, again)


def test_dropout_is_at_work_in_training_alone():
    model = network().train()
    train(model)
    assert torch.equal(model(INPUTS, training=False), model(INPUTS, training=False))


def test_the_best_weights_are_put_back():
    model = network()
    kept = []

    def falling(learner):
        kept.append({name: part.clone() for name, part in state_of(learner.model).items()})
        return -float(len(kept))

    train(model, validate=falling, keep="best")
    assert all(torch.equal(kept[0][name], part) for name, part in state_of(model).items())
    assert not torch.equal(kept[0]["0.kernel"], kept[-1]["0.kernel"])
