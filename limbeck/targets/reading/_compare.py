"""Stored rows against the teacher as it answers now."""

import torch

from limbeck._errors import TargetsError
from limbeck.data import Samples
from limbeck.targets.codecs import make_codec
from limbeck.targets.encoding._encoder import row_seeds, rows_to_store
from limbeck.targets.encoding._measure import faithfulness
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.reading._transfer_set import TransferSet
from limbeck.teachers import Teacher

LARGEST_DIFFERENCE = 0.02
"""Between two probabilities. Another device or batch size moves far less, another teacher more."""
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
    allowed = LARGEST_DIFFERENCE + coded.difference  # a coarse codec's own error is no change
    if total.difference > allowed:
        raise TargetsError(
            f"the rows in {targets.folder} are not what the teacher says now: expected numbers "
            f"within {allowed:.3g}, got a difference of {total.difference:.3g}. Capture "
            "them again into another folder."
        )
    return total
