"""Stored rows against the teacher as it answers now."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import TargetsError
from limbeck.data import Samples
from limbeck.signals import Head, Rows, Sparse
from limbeck.targets.codecs import make_codec
from limbeck.targets.encoding._encoder import row_seeds, rows_to_store
from limbeck.targets.encoding._measure import faithfulness
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.reading._transfer_set import TransferSet
from limbeck.teachers import Teacher

LARGEST_DIFFERENCE = 0.02
"""Between two probabilities. Another device or batch size moves far less, another teacher more."""
MEAN_MOVE = 0.05
"""Of probability, or in parts of a head's numbers, from a stored row to what is stored of the same
sample now, on average over rows: a coarse codec, whose own error hides what a teacher says, stores
something else of another teacher."""
_AT_ONCE = 64
"""Samples that the teacher is asked about at once."""


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
        TargetsError: The teacher says something else now, or was never asked.
    """
    targets.expect_asked()
    settings = targets.manifest.settings
    codec = make_codec(settings.codec, settings.codec_options)
    total, coded = Faithfulness(), Faithfulness()
    moves: dict[str, list[Tensor]] = {head.name: [] for head in targets.heads}
    every = torch.linspace(0, len(samples) - 1, min(limit, len(samples))).long()
    for index in torch.split(every, _AT_ONCE):
        answers = teacher.answer(samples.fetch(index).inputs)
        keys = samples.keys[index.numpy()]
        stored = targets.read(targets.positions(keys))
        for number, head in enumerate(targets.heads):
            live = rows_to_store(answers[head.name], head, settings, codec)
            state = targets.states[head.name]
            rows = targets.manifest.rows_per_sample[head.name] or 1
            seeds = row_seeds(keys, 0, rows, number)
            parts = codec.encode(live, head, state, seeds)
            again = codec.decode(parts, head, state, settings.temperature_of(head))
            coded += faithfulness(live, again, head)
            total += faithfulness(live, stored[head.name], head)
            moves[head.name].append(_moved(stored[head.name], again, head))
    allowed = LARGEST_DIFFERENCE + coded.difference  # a coarse codec's own error is no change
    if total.difference > allowed:
        raise TargetsError(
            f"the rows in {targets.folder} are not what the teacher says now: expected numbers "
            f"within {allowed:.3g}, got a difference of {total.difference:.3g}. Capture "
            "them again into another folder."
        )
    for name, found in moves.items():
        mean = float(torch.cat(found).mean())
        if mean > MEAN_MOVE:
            raise TargetsError(
                f"the rows of head {name} in {targets.folder} are not what would be stored now: "
                f"expected them to have moved by {MEAN_MOVE:g} at most on average, got {mean:.3g}. "
                "Capture them again into another folder."
            )
    return total


def _moved(stored: Rows, again: Rows, head: Head) -> Tensor:
    """How far each row has moved, `(rows,)`: of probability, or by the size of the head's numbers.

    The total variation of classes, as they are named; the mean of that of binary entries.
    """
    if isinstance(stored, Sparse) or isinstance(again, Sparse):
        assert isinstance(stored, Sparse), "one codec made both"
        assert isinstance(again, Sparse), "one codec made both"
        return _moved_sparse(stored.flat, again.flat)
    was, now = (rows.values.double().flatten(0, -2) for rows in (stored, again))
    if head.space == "categorical":
        return (was.softmax(-1) - now.softmax(-1)).abs().sum(-1) / 2
    if head.space == "binary":
        return (was.sigmoid() - now.sigmoid()).abs().mean(-1)
    size = was.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return (was - now).abs().mean(-1) / size


def _moved_sparse(was: Sparse, now: Sparse) -> Tensor:
    ids, order = torch.cat([was.ids, now.ids], dim=-1).long().sort(dim=-1)  # (rows, entries)
    given = torch.cat([was.probabilities.double(), -now.probabilities.double()], dim=-1)
    is_new = ids[:, 1:] != ids[:, :-1]
    place = F.pad(is_new.long().cumsum(dim=-1), (1, 0))[:, : ids.shape[1]]
    each = torch.zeros_like(given).scatter_add_(-1, place, given.gather(-1, order))
    moved = each.abs().sum(dim=-1)
    if was.drawn is None:  # what is drawn stands for the tail
        moved = moved + (was.tail.double() - now.tail.double()).abs()
    return moved / 2
