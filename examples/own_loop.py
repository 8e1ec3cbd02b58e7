"""A training loop of your own over a transfer set.

python examples/own_loop.py
"""

import torch

import limbeck
from limbeck.losses import soft_targets
from limbeck.models import MLP

torch.manual_seed(0)
data = limbeck.data.load("digits", validation=0.2, test=0.3)
teacher = MLP(64, [256, 256], 10)
limbeck.supervise(teacher, data, limbeck.Train(epochs=20, batch_size=64))
limbeck.capture(teacher, data, "runs/own_loop", temperature=4.0)

# From here on there is no teacher, only what it said.
targets = limbeck.TransferSet("runs/own_loop").aligned(data.train)
student = MLP(64, [16], 10)
optimizer = torch.optim.Adam(student.parameters(), lr=5e-3)
for _ in range(40):
    for index in torch.randperm(len(data.train)).split(64):
        batch = data.train.fetch(index)
        rows = targets.rows(index)["label"]
        loss = soft_targets(student(batch.inputs), rows.logits.float(), temperature=4.0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(f"test accuracy of the student: {limbeck.evaluate(student, data).score:.3f}")
