"""What makes a loss a distance to the teacher: 0 at equality, above it elsewhere, one way only."""

import torch

from limbeck.proofs._case import Case
from limbeck.proofs._probe import Check, Measured, Probe, largest, shown

BACKWARD = "loss(rows, teacher).sum().backward()"


def _zero(probe: Probe, case: Case) -> Measured:
    value = probe.value(case.at_equality())
    return Measured(
        off=largest(value) / probe.value_size,
        got=shown(value),
        expected="0",
        steps=("print(loss(teacher, teacher))",),
    )


def _stationary(probe: Probe, case: Case) -> Measured:
    gradient = probe.gradient(case.at_equality())
    return Measured(
        off=largest(gradient) / probe.gradient_size,
        got=f"up to {largest(gradient):.4g}",
        expected="0",
        steps=("rows = teacher.clone().requires_grad_()", BACKWARD, "print(rows.grad)"),
    )


def _never_negative(probe: Probe, case: Case) -> Measured:
    least = float(probe.value(case).min())
    return Measured(
        off=float("inf") if least != least else max(-least, 0.0) / probe.value_size,
        got=f"{least:.4g}",
        expected="0 or more",
        steps=("print(loss(student, teacher))",),
    )


def _above_equality(probe: Probe, case: Case) -> Measured:
    """How far the loss comes below what it is at equality: not at all for a cross-entropy."""
    below = (probe.value(case.at_equality()) - probe.value(case)).max()
    return Measured(off=float(below.clamp_min(0.0)) / probe.value_size)


def _teacher_left_alone(probe: Probe, case: Case) -> Measured:
    gradient = probe.teacher_gradient(case)
    return Measured(
        off=largest(gradient) / probe.gradient_size,
        got=f"up to {largest(gradient):.4g}",
        expected="None, or 0",
        steps=(
            "rows = teacher.clone().requires_grad_()",
            "loss(student.clone().requires_grad_(), rows).sum().backward()",
            "print(rows.grad)",
        ),
    )


def _student_taught(probe: Probe, case: Case) -> Measured:
    pull = largest(probe.pull(case))
    off = 0.0 if pull > probe.tolerance**2 else 1.0  # else it is rounding
    if probe.judges_a_part and largest(probe.gradient(case)) > probe.tolerance**2:
        return Measured(
            off=off,
            got="0: the same gradient, whatever the teacher says",
            expected="a difference",
            why="The student learns from the labels alone: look for detach, no_grad or argmax on "
            "its side of the teacher's part, and for a teacher that is not used.",
            steps=(
                "rows = student.clone().requires_grad_()",
                "gap = loss(rows, teacher).sum() - loss(rows, teacher.roll(1, -1)).sum()",
                "(gap + 0 * rows.sum()).backward()",
                "print(rows.grad)",
            ),
        )
    return Measured(
        off=off,
        got="0, or no gradient at all",
        expected="a gradient",
        steps=(
            "rows = student.clone().requires_grad_()",
            "(loss(rows, teacher).sum() + 0 * rows.sum()).backward()",  # where none arrives, too
            "print(rows.grad)",
        ),
    )


def _every_row_taught(probe: Probe, case: Case) -> Measured:
    """The share of rows that get no gradient in the batch, though each does alone."""
    least = probe.tolerance**2 * probe.gradient_size
    idle = [row for row, pull in enumerate(probe.pull(case)) if largest(pull) <= least]
    left_out = [row for row in idle if largest(probe.pull(case.rows([row]))) > least]
    return Measured(
        off=len(left_out) / len(case),
        got=f"0 in row {', '.join(map(str, left_out))}",
        expected="a gradient in each row, as each has alone",
        why=f"Of {len(case)} rows {len(left_out)} learn nothing, though each does alone: look for "
        "max or median where the mean of the rows is meant.",
        steps=("rows = student.clone().requires_grad_()", BACKWARD, "print(rows.grad)"),
    )


def _every_class_taught(probe: Probe, case: Case) -> Measured:
    """The share of classes that get no gradient in any row."""
    least = probe.tolerance**2 * probe.gradient_size
    strongest = probe.pull(case).abs().amax(dim=0)  # (classes,)
    idle = torch.nonzero(strongest <= least).flatten().tolist()
    return Measured(
        off=len(idle) / len(strongest),
        got=f"0 for class {', '.join(map(str, idle))}",
        expected="a gradient for each class",
        why=f"Class {', '.join(map(str, idle))} of {len(strongest)} is never taught: look for a "
        "slice that leaves it out.",
        steps=(
            "rows = student.clone().requires_grad_()",
            BACKWARD,
            "print(rows.grad.abs().amax(0))",
        ),
    )


ZERO = Check(
    name="zero at equality",
    measure=_zero,
    otherwise="It is no distance: look for a missing softmax or logarithm.",
)
STATIONARY = Check(
    name="stationary at equality",
    measure=_stationary,
    otherwise="It pulls a perfect student away: look for a missing softmax or logarithm, or one "
    "that is taken twice or over the batch, and for a temperature on one side only.",
)
NEVER_NEGATIVE = Check(
    name="never negative",
    measure=_never_negative,
    otherwise="It is no distance: look for a wrong sign, swapped arguments or a missing logarithm.",
)
ABOVE_EQUALITY = Check(
    name="lowest at equality",
    measure=_above_equality,
    otherwise="It is lower elsewhere than where the student is the teacher.",
)
TEACHER_LEFT_ALONE = Check(
    name="no gradient to the teacher",
    measure=_teacher_left_alone,
    otherwise="The teacher's side must be detached.",
    bound=0.0,
)
STUDENT_TAUGHT = Check(
    name="a gradient to the student",
    measure=_student_taught,
    otherwise="The student learns nothing: look for detach, no_grad, argmax or item on its side, "
    "and for swapped arguments.",
)
EVERY_ROW_TAUGHT = Check(
    name="a gradient to every row",
    measure=_every_row_taught,
    otherwise="Rows of a batch learn nothing, though each does alone.",
    bound=0.0,
)
EVERY_CLASS_TAUGHT = Check(
    name="a gradient to every class",
    measure=_every_class_taught,
    otherwise="A class is never taught: look for a slice that leaves it out.",
    bound=0.0,
)
