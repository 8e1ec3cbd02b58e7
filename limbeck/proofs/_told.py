"""What is said of a loss beside its properties: what it returns, what it is, what is not seen."""

import math

from limbeck.proofs._bind import Bound
from limbeck.proofs._case import Case
from limbeck.proofs._kind import CROSS_ENTROPY, SENTENCES, Kind
from limbeck.proofs._nature import direction_in, other_than_its_name
from limbeck.proofs._probe import Probe
from limbeck.proofs._scale import batch_share


def returns(bound: Bound, probe: Probe, reference: Case) -> str:
    """What comes out."""
    if bound.by_row:
        return "one value for each row"
    if math.isclose(batch_share(probe, reference), len(reference), rel_tol=1e-3):
        return "the sum over rows"
    return "one value for all rows"


def sentence(bound: Bound, kind: Kind | None, *, zero: bool, hard: bool) -> str:
    """What it is.

    Args:
        bound: The loss.
        kind: Which of the known ones it is.
        zero: Whether it is 0 at equality.
        hard: Whether it hears nothing of the teacher but its likeliest class.
    """
    part = "Its teacher's part is" if bound.takes_labels else "It is"
    if hard:
        return f"{part} hard distillation: of the teacher it hears the likeliest class alone."
    if kind is None:
        return "It is none of the losses that are known by their gradient."
    words = SENTENCES[kind.name]
    if bound.takes_teacher and not bound.takes_labels and not zero:
        words = CROSS_ENTROPY.get(kind.name, words)
    at = "" if kind.temperature is None else f", at T = {kind.temperature:.3g}"
    known = kind.squared or math.isclose(kind.weight, 1, rel_tol=0.01)
    return f"{part} {words}{at}{'' if known else f', times {kind.weight:.3g}'}."


def untold(bound: Bound, name: str, kind: Kind | None, *, hard: bool) -> list[str]:
    """What its properties do not say."""
    notes = []
    said = other_than_its_name(name, kind.name) if kind is not None and not hard else None
    if said is not None and kind is not None:
        notes.append(f"Its name says {said}, and it is {SENTENCES[kind.name]}.")
    if kind is not None and kind.name == "reverse" and not direction_in(name):
        notes.append(
            "The reverse KL keeps to what the teacher would, and need not cover all of it. If "
            "Hinton's soft targets were meant, its arguments are swapped."
        )
    elif bound.takes_teacher and bound.temperature is None and kind is None and not hard:
        notes.append(
            "Whether T² is right cannot be told: its temperature cannot be set, and its "
            "gradient is that of no known loss."
        )
    softens = not hard and (kind is None or kind.temperature not in (None, 1.0))
    if bound.takes_teacher and bound.takes_labels and bound.temperature is None and softens:
        notes.append(
            "Whether T² multiplies the part towards the labels too cannot be told: its temperature "
            "cannot be set."
        )
    return notes
