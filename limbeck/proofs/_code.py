"""A counterexample as Python that runs: paste it below the loss's definition, and see."""

from torch import Tensor

from limbeck.proofs._case import Case
from limbeck.proofs._probe import Measured


def as_code(case: Case, measured: Measured, *, labels: bool) -> str:
    """Lines that make the case, call `loss`, and print what was measured.

    Args:
        case: The rows.
        measured: What to show of them.
        labels: Whether the loss takes labels.
    """
    if not measured.steps:
        return ""
    *before, last = measured.steps
    lines = [
        f"student = {_tensor(case.student)}",
        f"teacher = {_tensor(case.teacher)}",
        *([f"labels = torch.tensor({case.labels.tolist()})"] if labels else []),
        *([f"mask = torch.tensor({case.mask.tolist()})"] if case.mask is not None else []),
        *before,
        f"{last}  # {measured.got}; expected {measured.expected}" if measured.expected else last,
    ]
    return "\n".join(lines)


def _tensor(rows: Tensor) -> str:
    numbers = ", ".join(
        "[" + ", ".join(repr(round(number, 4)) for number in row) + "]" for row in rows.tolist()
    )
    return f"torch.tensor([{numbers}], dtype={rows.dtype})"
