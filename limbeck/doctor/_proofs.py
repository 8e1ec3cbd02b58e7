"""The losses of an objective, with the options that the recipe gives them, prove themselves."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.doctor._findings import Findings
from limbeck.methods import Objective, Term
from limbeck.proofs import Distance, prove_rows
from limbeck.signals import Batch, Dense, Head, Rows, Sparse


def look_at_proofs(
    terms: Objective,
    heads: Sequence[Head],
    taught: Mapping[str, Rows],
    found: Findings,
) -> None:
    """Prove that every loss towards the teacher is what it promises, on rows that it is given.

    Args:
        terms: The students' objective.
        heads: What they are about.
        taught: The teacher's rows for a batch: their kind, and their temperature.
        found: Takes the table and the faults.
    """
    by_name = {head.name: head for head in heads}
    table = []
    for term in terms:
        if not isinstance(term, Term) or not term.from_teacher:
            continue
        head, rows = by_name[term.head], taught[term.head]
        for name, make_rows, dense in _kinds(term, head, rows):
            loss = _distance(term, make_rows)
            facts = prove_rows(loss, size=head.size, space=head.space, dense=dense)
            for fact in facts:
                if fact.name not in term.promises:
                    continue
                answer = "yes" if fact.holds else "NO"
                table.append([name, fact.name, f"{fact.measured:.2g}", f"{fact.bound:g}", answer])
                if not fact.holds:
                    found.faults.append(
                        f"the {name} loss does not prove itself: {fact.name} is off by "
                        f"{fact.measured:.3g}, expected at most {fact.bound:g}. {fact.otherwise}"
                    )
    columns = ["loss", "property", "off by", "at most", "holds"]
    if table:
        found.tables.append(("The losses prove themselves", columns, table))


def _distance(term: Term, make_rows: Callable[[Tensor], Rows]) -> Distance:
    def distance(student: Tensor, teacher: Tensor) -> Tensor:
        index = torch.arange(len(student))
        labels = index % 2  # of a head of two classes or more
        batch = Batch(inputs=index, labels={term.head: labels}, index=index)
        return term.loss(student, make_rows(teacher), batch)

    return distance


def _kinds(term: Term, head: Head, rows: Rows) -> list[tuple[str, Callable[[Tensor], Rows], bool]]:
    """Name, maker of the rows from the teacher's logits, and whether these show all classes.

    Exact in float64, where the stored rows are rounded: what is looked at is the loss.
    """
    temperature = rows.temperature
    if isinstance(rows, Sparse):
        kept = int(rows.ids.shape[-1])
        return [
            (f"{term.name}, {kept} of {head.size} classes", _named(kept, temperature), False),
            (f"{term.name}, every class named", _named(head.size, temperature), True),
        ]
    if head.space == "categorical":
        return [
            (
                term.name,
                lambda logits: Dense(
                    values=F.log_softmax(logits / temperature, dim=-1), temperature=temperature
                ),
                True,
            )
        ]
    return [
        (
            term.name,
            lambda logits: Dense(values=logits / temperature, temperature=temperature),
            True,
        )
    ]


def _named(kept: int, temperature: float) -> Callable[[Tensor], Sparse]:
    """The `kept` most probable classes, and the mass of all others."""

    def rows(logits: Tensor) -> Sparse:
        probabilities = torch.softmax(logits / temperature, dim=-1)  # (rows, size)
        named, ids = probabilities.topk(kept, dim=-1)
        tail = probabilities.scatter(-1, ids, 0.0).sum(dim=-1)  # exactly 0 where all are named
        return Sparse(ids=ids, probabilities=named, tail=tail, temperature=temperature)

    return rows
