"""The well-known Keras tutorial, with teaching that really happens.

A Dense 128 teacher and a smaller Dense student, softmax outputs, MNIST. The student has few
labels; the teacher answers for all images. Its outputs are probabilities, so they are normalised.

LIMBECK_DATA=FOLDER_OF_MNIST python examples/keras_mnist.py [SAMPLES]
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"

import keras

import limbeck


def network(width: int, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)  # control and student begin with the same weights
    layers = keras.layers
    hidden, answer = layers.Dense(width, "relu"), layers.Dense(10, "softmax")
    return keras.Sequential([layers.Input((28, 28)), layers.Flatten(), hidden, answer])


samples = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
everything = limbeck.data.load("idx", path="mnist", limit=samples)
data = limbeck.data.load("idx", path="mnist", limit=samples, labelled=0.05)
train = limbeck.Train(epochs=10, learning_rate=2e-3, validate_every=0)
teacher = network(128, seed=0)
limbeck.supervise(teacher, everything, train, outputs="probabilities")
targets = limbeck.capture(teacher, data, "runs/keras_mnist", outputs="probabilities")
students, controls = [], []
for seed in range(3):
    student, control = network(16, seed), network(16, seed)
    limbeck.distil(student, data, targets, train, outputs="probabilities", seed=seed)
    limbeck.supervise(control, data, train, outputs="probabilities", seed=seed)
    students.append(limbeck.evaluate(student, data, outputs="probabilities").score)
    controls.append(limbeck.evaluate(control, data, outputs="probabilities").score)
best = limbeck.evaluate(teacher, data, outputs="probabilities").score
print(f"accuracy: teacher {best:.3f}, controls {controls}, students {students}")
print(limbeck.judge(students, controls, best, "accuracy").sentence)
