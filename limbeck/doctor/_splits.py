"""One batch of each split: what it looks like, and whether every model can be asked about it."""

from collections.abc import Mapping

import torch
from torch import nn

from limbeck._outputs import answers_of, shape_of
from limbeck.data import DataSet, check_inputs
from limbeck.doctor._findings import Findings
from limbeck.signals import Batch


def look_at_splits(
    data: DataSet, models: Mapping[str, nn.Module], size: int, device: torch.device, found: Findings
) -> None:
    """Show one batch of each split; what is no number, or does not fit a model, is a fault.

    Validation samples are read after the first epoch and test samples at the end, when it is late
    to find that they are of another shape.

    Args:
        data: The splits.
        models: Who will be asked, by name.
        size: Samples in a batch, at most.
        device: Where the models are.
        found: Takes the table and the faults.
    """
    rows = []
    for split in ("train", "validation", "test"):
        samples = getattr(data, split)
        batch = samples.fetch(torch.arange(min(size, len(samples)))).to(device)
        labels = ", ".join(f"{name} {shape_of(part)}" for name, part in batch.labels.items())
        rows.append([split, str(len(samples)), shape_of(batch.inputs), labels or "none"])
        found.attempt(lambda split=split, batch=batch: check_inputs(split, batch.inputs))  # type: ignore[misc]
        if split == "train":
            continue  # whoever learns from it is looked at closer
        for who, model in models.items():
            found.attempt(
                lambda who=who, model=model, split=split, batch=batch: _ask(  # type: ignore[misc]
                    model, data, batch, who=f"{who}, on {split} samples,"
                )
            )
    found.tables.append(("One batch of each split", ["split", "samples", "inputs", "labels"], rows))


@torch.no_grad()
def _ask(model: nn.Module, data: DataSet, batch: Batch, *, who: str) -> None:
    answers_of(model.eval(), batch, data.heads, who=who)
