"""A counterexample as Python that runs: paste it, and see."""

from torch import Tensor

from limbeck.proofs._case import Case
from limbeck.proofs._probe import Measured


def as_code(definition: str, case: Case, measured: Measured) -> str:
    """Lines that make the case, call the loss, and print what was measured.

    Args:
        definition: Lines that define `loss`, of student, teacher and, if it takes them, labels.
        case: The rows.
        measured: What to show of them.
    """
    if not measured.steps:
        return ""
    *before, last = measured.steps
    lines = [
        "import torch",
        "",
        f"student = {_tensor(case.student)}",
        f"teacher = {_tensor(case.teacher)}",
        *([f"labels = torch.tensor({case.labels.tolist()})"] if "labels" in definition else []),
        definition,
        *before,
        f"{last}  # {measured.got}; expected {measured.expected}" if measured.expected else last,
    ]
    return "\n".join(lines)


def _tensor(rows: Tensor) -> str:
    numbers = ", ".join(
        "[" + ", ".join(repr(round(number, 4)) for number in row) + "]" for row in rows.tolist()
    )
    return f"torch.tensor([{numbers}], dtype={rows.dtype})"
