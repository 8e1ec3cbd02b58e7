"""Rows that a mask, or a label of -100, leaves out: a loss must be what it is without them."""

import math

import torch

from limbeck._errors import LossError
from limbeck.proofs._bind import Bound
from limbeck.proofs._case import IGNORED, Case
from limbeck.proofs._probe import Check, Measured, Probe, largest, shown
from limbeck.proofs._scale import compared, near


def counts_no_masked_row(bound: Bound) -> Check:
    """Whether value and gradient are those of the rows that count, asked alone."""
    mask = bound.marks[0]
    kept = "mask" if mask == "mask" else f"labels != {IGNORED}"
    names = ", ".join(["student", "teacher", *bound.marks])

    def measure(probe: Probe, case: Case) -> Measured:
        alone = case.rows(torch.nonzero(case.kept).flatten().tolist())
        value, wanted = probe.value(case), probe.value(alone)
        gradient, wanted_gradient = probe.gradient(case), probe.gradient(alone)
        taught = largest(gradient[~case.kept]) > 0
        left_over = 0.0
        if not value.dim():  # its gradient is that of a mean over all rows, of which some count
            gradient = gradient * (len(alone) / len(case))
        elif len(value) == len(case):
            left_over = largest(value[~case.kept])
            value = value[case.kept]
        off_value = math.inf
        if value.shape == wanted.shape:
            off_value = max(largest(value - wanted), left_over) / probe.value_size
        ratio, _ = compared(gradient[case.kept], wanted_gradient)
        why = ""
        if taught:
            why = f"Rows that do not count are taught all the same: is {mask} used?"
        elif near(ratio, len(alone) / len(case)):
            why = (
                "It is a mean over all rows, and those that do not count make it smaller: divide "
                f"by how many do, {'mask.sum()' if kept == 'mask' else f'({kept}).sum()'}."
            )
        by_value = not taught and off_value > probe.tolerance
        off_gradient = largest(gradient[case.kept] - wanted_gradient) / probe.gradient_size
        return Measured(
            off=max(float(taught), off_value, off_gradient),
            got=shown(value)
            if by_value
            else f"up to {largest(gradient[~case.kept]):.4g} in rows that do not count",
            expected=f"{shown(wanted)}, as without the rows that do not count"
            if by_value
            else "0 there, and in the others what they have alone",
            why=why,
            steps=(
                f"whole = {bound.marked_call}",
                f"{names} = (each[{kept}] for each in ({names}))",
                f"print(whole, {bound.marked_call})",
            )
            if by_value
            else (
                "student.requires_grad_()",
                f"{bound.marked_call}.sum().backward()",
                "print(student.grad)",
            ),
        )

    return Check(
        name="counts no masked row",
        measure=measure,
        otherwise="It is another loss than that of the rows that count alone.",
    )


def takes_marks(probe: Probe, case: Case) -> bool:
    """Whether it answers where rows are marked: an index by -100 does not, and never meets one."""
    try:
        probe.value(case)
    except LossError:
        return False
    return True


def labels_choose_rows(probe: Probe, case: Case) -> bool:
    """Whether what the teacher teaches depends on the labels: then -100 is another label to it."""
    gap = probe.pull(case) - probe.pull(case.of_other_labels())
    return largest(gap) > probe.tolerance * probe.gradient_size


def leaves_out(probe: Probe, case: Case) -> bool:
    """Whether the teacher teaches nothing in rows that are marked, whatever labels do there."""
    return largest(probe.pull(case)[~case.kept]) <= probe.tolerance * probe.gradient_size
