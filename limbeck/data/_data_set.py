"""Three splits of one data set, and what they must be before anything is learned from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from limbeck._errors import DataError
from limbeck.data._encoder import Encoder
from limbeck.data._samples import ArraySamples, Samples
from limbeck.data._tensors import first_not_finite, parts_of
from limbeck.signals import Head, Inputs


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Three splits of one data set, and what their labels and inputs are."""

    train: Samples
    """What models learn from, and the transfer set is made of."""
    validation: Samples
    """What models are chosen on."""
    test: Samples
    """What is measured once, at the end."""
    heads: tuple[Head, ...]
    """What a model must answer."""
    vocabulary: tuple[str, ...] = ()
    """The words or characters behind integer inputs, in order; empty for other inputs."""
    encoder: Encoder | None = None
    """What makes inputs of raw rows, for tables and texts; a run keeps it beside its students."""

    @property
    def head(self) -> Head:
        """The first head, the one that is scored."""
        return self.heads[0]


def check_split(name: str, samples: Samples, heads: Sequence[Head], *, labels: bool = True) -> None:
    """Refuse an empty split, labels out of range, and inputs or labels that are not finite.

    Args:
        name: What it is called: "train".
        samples: The split.
        heads: What its labels are of.
        labels: Whether they are needed; where not, they are not looked at.

    Raises:
        DataError: It names the split, the sample and the way out.
    """
    if len(samples) == 0:
        raise DataError(f"the {name} split is empty. Give it samples, or a larger fraction.")
    for head in heads if labels else ():
        if head.name not in samples.labels:
            raise DataError(
                f"the {name} split has no labels for head {head.name}, and they are needed here. "
                f"It has {', '.join(samples.labels) or 'none'}. Give it labels of that name."
            )
        _check_labels(name, samples.labels[head.name], head)
    if isinstance(samples, ArraySamples):
        check_inputs(name, samples.inputs)


def check_inputs(name: str, inputs: Inputs) -> None:
    """Refuse inputs that are not finite; `name` is what their split is called.

    Raises:
        DataError: It names the sample and the way out.
    """
    for part_name, part in parts_of(inputs):
        if (bad := first_not_finite(part)) is not None:
            what = f"the input {part_name}" if part_name else "the input"
            raise DataError(
                f"{what} of {name} sample {bad} holds a number that is not finite. "
                "Remove or fill in such samples."
            )


def _check_labels(name: str, labels: Tensor, head: Head) -> None:
    if head.space == "categorical":
        if head.size < 2:
            raise DataError(
                f"head {head.name} must have 2 classes or more, got {head.size}: every label of "
                "the training samples is the same. Look at the labels."
            )
        wrong = (labels < 0) | (labels >= head.size)
        if bool(wrong.any()):
            sample = int(wrong.reshape(len(labels), -1).any(1).nonzero()[0])
            from_1 = int(labels.min()) == 1 and int(labels.max()) == head.size
            way_out = (
                "Classes count from 0: give labels - 1."
                if from_1
                else "Mend the labels, or the number of classes."
            )
            raise DataError(
                f"labels of the {name} split must be 0..{head.size - 1} for head {head.name} "
                f"({head.size} classes), got {int(labels[wrong][0])} at sample {sample}. "
                f"{way_out}"
            )
        return
    if labels.shape[1:] != (head.size,):
        raise DataError(
            f"labels of the {name} split must have {head.size} numbers a sample for head "
            f"{head.name}, got the shape {tuple(labels.shape)}. Mend the labels, or the head."
        )
    if (bad := first_not_finite(labels)) is not None:
        raise DataError(
            f"the label of {name} sample {bad} is not finite. Remove or mend such samples."
        )
    if head.space == "binary" and bool(((labels < 0) | (labels > 1)).any()):
        bad = int(((labels < 0) | (labels > 1)).any(1).nonzero()[0])
        raise DataError(
            f"labels of head {head.name} must be 0 or 1 for each class, got "
            f"{[round(float(x), 4) for x in labels[bad]]} at {name} sample {bad}. Mend the labels."
        )
