"""Lightning on what a teacher said: a DataLoader brings the rows beside each batch of images.

python examples/lightning_loop.py
"""

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader

import limbeck
from limbeck.losses import soft_targets
from limbeck.models import MLP
from limbeck.targets import TargetsDataset, collate, split_batch


class Distilled(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.student = MLP(64, [16], 10)

    def training_step(self, batch, _):
        inputs, taught = split_batch(batch, targets)
        logits = self.student(inputs["inputs"])
        return soft_targets(logits, taught["label"].logits, temperature=4.0).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


lightning.seed_everything(0)
data = limbeck.data.load("digits", validation=0.2, test=0.3)
teacher = MLP(64, [256, 256], 10)
limbeck.supervise(teacher, data, limbeck.Train(epochs=20, batch_size=64))
limbeck.capture(teacher, data, "runs/lightning", temperature=4.0)

# From here on there is no teacher, only what it said. Any number of workers map the same rows.
targets = limbeck.TransferSet("runs/lightning", reading="mapped")
dataset = TargetsDataset(data.train, targets)
loader = DataLoader(
    dataset, 64, shuffle=True, num_workers=1, collate_fn=collate, persistent_workers=True
)
model = Distilled()
lightning.Trainer(
    max_epochs=15,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
).fit(model, loader)
print(f"test accuracy of the student: {limbeck.evaluate(model.student, data).score:.3f}")
