"""A transfer set in words, for people who look into one."""

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck import _format as form
from limbeck.signals import Head, Rows, Sparse
from limbeck.targets.reading._transfer_set import TransferSet


def describe(targets: TransferSet) -> dict[str, str]:
    """What there is to know of a transfer set, by name, with one row of each head in words."""
    settings, card = targets.manifest.settings, targets.card
    options = ", ".join(f"{name} = {value}" for name, value in settings.codec_options.items())
    samples = sum(shard.samples for shard in targets.manifest.shards) // settings.views
    views = form.counted(settings.views, "view")
    first = targets.like
    facts = {
        "folder": str(targets.folder),
        "teacher": f"{settings.teacher.name} ({settings.teacher.fingerprint})",
        "samples": f"{samples} ({settings.data}), {views}: {settings.transform}",
        "compressed by": "nothing: numbers are kept as they are"
        if all(head.space == "real" for head in targets.heads)
        else f"{settings.compress} at temperature {settings.temperature:g}",
        "codec": settings.codec + (f" ({options})" if options else ""),
        "rows": f"{card.rows} in {form.counted(len(targets.manifest.shards), 'shard')}",
        "bytes": f"{card.bytes}: {card.bytes_per_row:.1f} a row, where float32 takes "
        f"{card.dense_bytes_per_row:.1f}"
        + (f"; {card.learned_bytes} of them what the codec learned" if card.learned_bytes else ""),
    }
    if card.kl_to_teacher is not None and card.agreement_with_teacher is not None:
        facts["faithful"] = (
            f"KL to the teacher {card.kl_to_teacher:.3g} nats a row, same class "
            f"{card.agreement_with_teacher:.2%}, squared error {card.squared_error:.3g}, "
            f"measured on {card.rows_measured} rows" + ("; biased" if card.biased else "")
        )
        if any(_is_coarse(rows) for rows in first.values()):
            facts["faithful"] += (
                ". Measured over the classes that are named, and all others as one more: how these "
                "differ among themselves is not kept"
            )
    elif card.largest_difference is not None:
        facts["faithful"] = (
            f"to {card.largest_difference:.3g} of the larger of 1 and the teacher's number"
        )
    if settings.origin is not None:
        facts["converted from"] = ", ".join(settings.origin.path) + _nearness(targets)
    for head in targets.heads:
        rows = targets.manifest.rows_per_sample[head.name]
        size = f"{head.space}, size {head.size}" + (f", {rows} rows a sample" if rows else "")
        facts[f"head {head.name}"] = size
        facts[f"{head.name} reads as"] = _reads_as(first[head.name])
        if state := targets.states[head.name]:
            facts[f"learned of {head.name}"] = ", ".join(
                f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()
            )
        facts[f"first row of {head.name}"] = _in_words(first[head.name], head)
    return facts


def _is_coarse(rows: Rows) -> bool:
    """Whether nothing is known of the classes that are not named but their mass."""
    return isinstance(rows, Sparse) and rows.tail_shape is None


def _nearness(targets: TransferSet) -> str:
    origin, near = targets.manifest.settings.origin, targets.card.to_origin
    said = ""
    if near is not None:
        said += f"; KL to those rows {near.kl:.3g} nats a row, same class {near.agreement:.2%}"
    if origin is not None and origin.kl_to_teacher is not None:
        said += f"; the first ones' KL to the teacher {origin.kl_to_teacher:.3g}"
    return said + ("; biased" if targets.card.biased else "")


def _reads_as(rows: Rows) -> str:
    """What a loss finds."""
    if not isinstance(rows, Sparse):
        return "every entry, as near as said above: any loss can learn from it"
    if rows.drawn is not None:
        return (
            "the large entries and a fair draw of the others: cross-entropy and forward KL are "
            "right on average, other losses read the distribution without the draw"
        )
    if rows.tail_shape is not None:
        return "the named entries, all others together, and how they mostly spread"
    return "the named entries, and all others together"


def _in_words(rows: Rows, head: Head) -> str:
    """The three most probable classes, or the first three numbers, of the first row."""
    if isinstance(rows, Sparse):
        probabilities = rows.probabilities.flatten(0, -2)[0].float()  # (kept,)
        ids = rows.ids.flatten(0, -2)[0].long()
        tail = float(rows.tail.flatten()[0])
        return _classes(probabilities, ids, head) + f", all others: {tail:.3f}"
    values = rows.values.flatten(0, -2)[0].float()  # (size,)
    if head.space == "real":
        shown = ", ".join(f"{value:.4g}" for value in values[:3].tolist())
        return shown + (", ..." if head.size > 3 else "")
    probabilities = values.sigmoid() if head.space == "binary" else F.softmax(values, dim=-1)
    return _classes(probabilities, torch.arange(head.size), head)


def _classes(probabilities: Tensor, ids: Tensor, head: Head) -> str:
    top = probabilities.topk(min(3, len(probabilities)))
    named = [
        (head.classes[index] if head.classes else f"class {index}", value)
        for index, value in zip(ids[top.indices].tolist(), top.values.tolist(), strict=True)
    ]
    more = ", ..." if len(probabilities) > 3 else ""
    return ", ".join(f"{name}: {value:.3f}" for name, value in named) + more
