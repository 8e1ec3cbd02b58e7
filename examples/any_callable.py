"""A teacher that is no torch module: a random forest, or anything from numpy to numpy.

A Keras model on another backend is one too: `lambda images: model.predict(images, verbose=0)`.

python examples/any_callable.py
"""

import torch
from sklearn.ensemble import RandomForestClassifier

import limbeck
from limbeck.models import MLP

data = limbeck.data.load("digits", validation=0.2, test=0.3)
images, labels = data.train.inputs.numpy().reshape(-1, 64), data.train.labels["label"].numpy()
forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0).fit(images, labels)


def teacher(images):
    return forest.predict_proba(images.reshape(-1, 64))


targets = limbeck.capture(
    teacher, data, "runs/any_callable", outputs="probabilities", temperature=2.0
)
torch.manual_seed(0)
student = MLP(64, [16], 10)
limbeck.distil(student, data, targets, limbeck.Train(epochs=60, batch_size=64, learning_rate=5e-3))
forest_score = forest.score(
    data.test.inputs.numpy().reshape(-1, 64), data.test.labels["label"].numpy()
)
print(f"forest {forest_score:.3f}, student {limbeck.evaluate(student, data).score:.3f}")
