"""What students would begin with: weights of their teacher, if they fit."""

from torch import nn

from limbeck.doctor._findings import Findings
from limbeck.models import Interface, build, warm_start
from limbeck.recipe import Recipe, Start, Student
from limbeck.signals import Batch
from limbeck.teachers import Teacher


def look_at_starts(
    recipe: Recipe, teacher: Teacher, interface: Interface, batch: Batch, found: Findings
) -> None:
    """Let every student that is to begin with weights of who teaches it do so, and show which.

    Args:
        recipe: Who begins how.
        teacher: Whose weights they are, if no assistant stands between; of one that is still to be
            trained, what fits is the same.
        interface: What a student is given, and must answer.
        batch: Samples that units are chosen by.
        found: Takes the table, and the faults.
    """

    def taken(student: Student, start: Start) -> str:
        model = build(student.model, student.options, interface)
        above = teacher.model
        for assistant in recipe.chain.values():
            above = build(assistant.model, assistant.options, interface).to(teacher.device)
        assert isinstance(above, nn.Module), "a recipe builds torch modules"
        return warm_start(model, above, start.how, batch.inputs).told

    rows = []
    for name, student in recipe.students.items():
        if (start := student.start) is None:
            continue
        told = found.attempt(lambda student=student, start=start: taken(student, start))  # type: ignore[misc]
        control = "the same" if start.control else "random weights"
        rows.append([f"student {name}", start.how, told or "nothing: it does not fit", control])
    if rows:
        columns = ["model", "start", "begins with", "its control"]
        found.tables.append(("Warm start", columns, rows))
