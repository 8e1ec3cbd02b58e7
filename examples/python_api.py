"""From teacher to verdict in Python: the digits, a tenth of the labels.

python examples/python_api.py
"""

import torch

import limbeck
from limbeck.models import MLP


def new_student(seed: int) -> MLP:
    torch.manual_seed(seed)  # control and student begin with the same weights
    return MLP(64, [16], 10)


everything = limbeck.data.load("digits", validation=0.2, test=0.3)
data = limbeck.data.load("digits", validation=0.2, test=0.3, labelled=0.1)
train = limbeck.Train(epochs=20, batch_size=64, learning_rate=1e-2, validate_every=0)
torch.manual_seed(0)  # the same teacher when this runs again: its targets are there already
teacher = MLP(64, [256, 256], 10)
limbeck.supervise(teacher, everything, train)
targets = limbeck.capture(teacher, data, "runs/python_api", temperature=4.0)
controls, students = [new_student(seed) for seed in range(3)], [new_student(s) for s in range(3)]
for seed in range(3):
    limbeck.supervise(controls[seed], data, train, seed=seed)
    limbeck.distil(students[seed], data, targets, train, seed=seed)
scores = [[limbeck.evaluate(m, data).score for m in models] for models in (students, controls)]
print(limbeck.judge(*scores, limbeck.evaluate(teacher, data).score, "accuracy").sentence)
