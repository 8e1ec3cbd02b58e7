"""What was found of a loss: its properties, one after the other, and the proof that they make."""

from dataclasses import dataclass, replace

from limbeck.proofs._case import Case
from limbeck.proofs._code import as_code
from limbeck.proofs._probe import Check, Measured, Probe, Property, look


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was found of a loss."""

    name: str
    call: str
    """As it was called."""
    returns: str
    """One value for each row, or what one value for all is."""
    kind: str
    """What it is, in one sentence."""
    notes: tuple[str, ...]
    """What to know beside its properties."""
    definition: str
    """Lines of Python that define `loss`, for the counterexamples to stand below."""
    properties: tuple[Property, ...]

    @property
    def holds(self) -> bool:
        """Whether everything holds that should."""
        return not self.breaks

    @property
    def verdict(self) -> str:
        """The last word, in one sentence."""
        if self.breaks:
            count = len(self.breaks)
            return "1 property breaks." if count == 1 else f"{count} properties break."
        told = len(self.notes) + sum(not fact.holds for fact in self.properties)
        if not told:
            return "Everything holds that should."
        return f"Nothing breaks that could be asked; {told} note{'s' if told > 1 else ''}."

    def __str__(self) -> str:
        lines = [f"{self.call}: {self.returns}.", self.kind]
        for fact in self.properties:
            if fact.holds:
                lines.append(f"holds   {fact.name}")
            else:
                lines.append(
                    f"{'BREAKS' if fact.breaks else 'note':7} {fact.name}: {fact.otherwise}"
                )
        return "\n".join([*lines, *(f"note    {note}" for note in self.notes), self.verdict])

    @property
    def breaks(self) -> tuple[Property, ...]:
        """What does not, and should."""
        return tuple(fact for fact in self.properties if fact.breaks)


class Findings:
    """A list of properties, to which each that is measured is added."""

    def __init__(self, probe: Probe, reference: Case, *, labels: bool) -> None:
        self.probe, self.reference, self.labels = probe, reference, labels
        self.properties: list[Property] = []

    def add(self, check: Check, cases: list[Case], *, kind: str = "") -> Property:
        """Measure one property; `kind` says why it need not hold, where it need not."""
        return self.keep(*look(self.probe, check, cases), kind=kind)

    def add_if_everywhere(self, check: Check, cases: list[Case], *, kind: str = "") -> Property:
        """The same for what a small case need not show: it breaks if it does in the large one."""
        worst, _, _ = look(self.probe, check, [self.reference])
        return self.add(check, [self.reference] if worst.holds else cases, kind=kind)

    def keep(
        self,
        fact: Property,
        measured: Measured,
        case: Case,
        *,
        kind: str = "",
        labels: bool = False,
    ) -> Property:
        """Add what was measured, with its counterexample if it breaks.

        Args:
            fact: The property.
            measured: What it was in `case`.
            case: In which it does not hold.
            kind: Why it need not hold; "" where it must.
            labels: Whether the counterexample has labels that the loss is not given else.
        """
        if not fact.holds and kind and measured.got != "an error":
            fact = replace(fact, of_its_kind=True, otherwise=kind)
        elif not fact.holds:
            code = as_code(case, measured, labels=self.labels or labels)
            fact = replace(fact, counterexample=code)
        self.properties.append(fact)
        return fact
