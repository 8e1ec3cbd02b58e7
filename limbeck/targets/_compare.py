"""Stored rows against the teacher as it answers now."""

import torch

from limbeck._errors import TargetsError
from limbeck.data import Samples
from limbeck.targets._compress import compressed
from limbeck.targets._measure import Faithfulness, faithfulness
from limbeck.targets._transfer_set import TransferSet
from limbeck.teachers import Teacher

LARGEST_DIFFERENCE = 0.02
"""Between two probabilities. Another device or batch size moves far less, another teacher more."""


def compare(
    targets: TransferSet, teacher: Teacher, samples: Samples, *, limit: int = 256
) -> Faithfulness:
    """Ask a live teacher about some samples again, and measure how near the stored rows are.

    Args:
        targets: What it said when they were captured.
        teacher: Who is asked.
        samples: Samples of the transfer set.
        limit: How many of them, 1 or more; they are spread evenly.

    Raises:
        TargetsError: The teacher says something else now.
    """
    settings = targets.manifest.settings
    index = torch.linspace(0, len(samples) - 1, min(limit, len(samples))).long()
    answers = teacher.answer(samples.fetch(index).inputs)
    stored = targets.read(targets.positions(samples.keys[index.numpy()]))
    total = Faithfulness()
    for head in targets.heads:
        live = compressed(
            answers[head.name], head, compress=settings.compress, temperature=settings.temperature
        )
        total += faithfulness(live.cpu(), stored[head.name], head)
    if total.difference > LARGEST_DIFFERENCE:
        raise TargetsError(
            f"the rows in {targets.folder} are not what the teacher says now: expected numbers "
            f"within {LARGEST_DIFFERENCE}, got a difference of {total.difference:.3g}. Capture "
            "them again into another folder."
        )
    return total
