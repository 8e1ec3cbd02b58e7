"""What must not move a loss: constants, order, precision, size, being asked twice."""

import torch

from limbeck.proofs._case import Case
from limbeck.proofs._probe import Check, Measured, Probe, largest, shown

SHIFT = 3.0


def _constants(probe: Probe, case: Case) -> Measured:
    before, gradient = probe.value(case), probe.gradient(case)
    worst = Measured(off=0.0)
    constant = SHIFT * torch.arange(1, len(case) + 1, dtype=before.dtype)[:, None]  # (rows, 1)
    for side in ("student", "teacher"):
        moved = Case(
            student=case.student + constant * (side == "student"),
            teacher=case.teacher + constant * (side == "teacher"),
            labels=case.labels,
        )
        after = probe.value(moved)
        off = max(
            largest(after - before) / probe.value_size,
            largest(probe.gradient(moved) - gradient) / probe.gradient_size,
        )
        if off > worst.off:
            arguments = ", ".join(
                f"{name} + constant" if name == side else name for name in ("student", "teacher")
            )
            worst = Measured(
                off=off,
                got=shown(after),
                expected=shown(before),
                steps=(
                    f"constant = torch.tensor({constant.tolist()})",
                    f"print(loss(student, teacher), loss({arguments}))",
                ),
                why=f"The same number added to all of the {side}'s logits of a row changes no "
                "probability, and changes it: look for a softmax that is missing or "
                "taken over the batch.",
            )
    return worst


def _finite(probe: Probe, case: Case) -> Measured:
    value, gradient = probe.value(case), probe.gradient(case)
    found = torch.cat([value.reshape(-1).double(), gradient.reshape(-1).double()])
    return Measured(
        off=0.0 if bool(torch.isfinite(found).all()) else 1.0,
        got=f"value {shown(value)}, gradient {shown(gradient)}",
        expected="finite numbers",
        steps=(
            "rows = student.clone().requires_grad_()",
            "value = loss(rows, teacher)",
            "value.sum().backward()",
            "print(value, rows.grad)",
        ),
    )


def _half(probe: Probe, case: Case) -> Measured:
    return _finite(probe, case.to(torch.bfloat16))


def _order(probe: Probe, case: Case) -> Measured:
    order = [*range(1, len(case)), 0]
    before, after = probe.value(case), probe.value(case.rows(order))
    wanted = before[order] if before.dim() else before
    return Measured(
        off=largest(after - wanted) / probe.value_size,
        got=shown(after),
        expected=shown(wanted),
        steps=(
            f"order = {order}",
            "before = loss(student, teacher)",
            *(["labels = labels[order]"] if probe.takes_labels else []),
            "print(before, loss(student[order], teacher[order]))",
        ),
    )


def _pairs(probe: Probe, case: Case) -> Measured:
    order = [*range(1, len(case)), 0]
    shuffled = Case(student=case.student, teacher=case.teacher[order], labels=case.labels)
    same = largest(probe.value(shuffled) - probe.value(case)) <= probe.tolerance * probe.value_size
    return Measured(
        off=1.0 if same else 0.0,
        got="the same for both",
        expected="two values",
        steps=(f"print(loss(student, teacher), loss(student, teacher[{order}]))",),
    )


def _classes(probe: Probe, case: Case) -> Measured:
    moved = case.of_another_teacher()
    same = largest(probe.value(moved) - probe.value(case)) <= probe.tolerance * probe.value_size
    return Measured(
        off=1.0 if same else 0.0,
        got="the same for both",
        expected="two values",
        steps=("print(loss(student, teacher), loss(student, teacher.roll(1, -1)))",),
    )


def _again(probe: Probe, case: Case) -> Measured:
    first, second = probe.value(case), probe.value(case)
    same = torch.allclose(first, second, rtol=probe.tolerance, atol=0.0, equal_nan=True)
    return Measured(
        off=0.0 if same else 1.0,
        got=shown(second),
        expected=shown(first),
        steps=("print(loss(student, teacher), loss(student, teacher))",),
    )


def _inputs(probe: Probe, case: Case) -> Measured:
    given = Case(
        student=case.student.clone(), teacher=case.teacher.clone(), labels=case.labels.clone()
    )
    probe.ask(given)
    sides = {
        "student": largest(given.student - case.student),
        "teacher": largest(given.teacher - case.teacher),
        "labels": float((given.labels != case.labels).any()),
    }
    changed = [side for side, off in sides.items() if off]
    return Measured(
        off=float(len(changed)),
        got=f"other numbers in {' and '.join(changed)}",
        expected="the numbers from before",
        why=f"It writes into the {' and the '.join(changed)} that it is given: look for /=, *=, "
        "and names that end in _.",
        steps=("loss(student, teacher)", f"print({', '.join(changed)})"),
    )


CONSTANTS = Check(
    name="unmoved by a constant in a row",
    measure=_constants,
    otherwise="It compares logits, not probabilities: look for a softmax that is missing, or taken "
    "over the batch.",
)
FINITE = Check(
    name="finite at logits of 1000",
    measure=_finite,
    otherwise="Its value or gradient is not finite: look for log(softmax(...)), which is "
    "log_softmax(...), for a probability that underflows, and for a root of 0.",
)
HALF = Check(
    name="finite in bfloat16",
    measure=_half,
    otherwise="Its value or gradient is not finite in half precision: compute in float32.",
)
ORDER = Check(
    name="unmoved by the batch's order",
    measure=_order,
    otherwise="Student and teacher in another order, the same for both, are another loss: look "
    "for a dimension that is mistaken.",
)
PAIRS = Check(
    name="sees which row is whose",
    measure=_pairs,
    otherwise="The teacher's rows in another order are the same loss: a student could learn the "
    "wrong rows, and nothing would show it. Look for a mean over the batch, and whether the "
    "teacher is used at all.",
)
CLASSES_TOLD_APART = Check(
    name="sees which class is which",
    measure=_classes,
    otherwise="The teacher's classes in another order are the same loss: a student could learn "
    "each class under another's name, and nothing would show it. Look for sort, topk and max on "
    "both sides.",
)
AGAIN = Check(
    name="the same when asked again",
    measure=_again,
    otherwise="Asked twice with the same rows it says two things: it keeps something in between.",
)
INPUTS = Check(
    name="leaves its inputs as they are",
    measure=_inputs,
    otherwise="It writes into what it is given.",
)
