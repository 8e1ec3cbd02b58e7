"""All properties of one loss in order, and which of them are a matter of its kind."""

import math
from dataclasses import replace

import torch

from limbeck._errors import LossError
from limbeck.proofs import _contradiction, _distance, _labels, _masks, _scale, _steadiness
from limbeck.proofs._bind import Bound
from limbeck.proofs._case import Case, fractions, large_cases, random_case, round_cases
from limbeck.proofs._findings import Findings, Proof
from limbeck.proofs._kind import (
    CROSS_ENTROPY,
    SENTENCES,
    Kind,
    find_kind,
    kind_where_both_nearly_agree,
    telling_rows,
    temperature_of,
)
from limbeck.proofs._nature import (
    called_kl,
    compares_numbers,
    direction_in,
    has_a_kink,
    hears_the_argmax_alone,
    is_for_other_classes,
    scale_invariant,
)
from limbeck.proofs._probe import Check, Probe, Property, largest, look
from limbeck.proofs._told import returns, sentence, untold
from limbeck.signals import Space

DIRECTIONS = ("forward", "reverse")
_BESIDE_A_NORM = 1e-4
"""Of the typical gradient: what 1e-8, added to the norms that a relation divides by, may leave."""
_HARD = (
    "Of the teacher it hears the likeliest class alone, as hard distillation does, and pulls until "
    "the student is sure of that."
)


class Examination:
    """One loss, and what is found of it one after the other."""

    def __init__(
        self, bound: Bound, marked: Bound | None, name: str, space: Space, expect: str | None
    ) -> None:
        self.bound, self.marked = bound, marked
        self.name, self.space, self.expect = name, space, expect
        self.reference = random_case(dtype=bound.dtype)
        self.cases = [*round_cases(dtype=bound.dtype), self.reference]
        self.several = [case for case in self.cases if len(case) > 1]
        self.probe = _probe(bound, self.reference)
        self.needs_several = not _answers(self.probe, self.cases[0]) and all(
            _answers(self.probe, case) for case in self.several
        )
        if self.needs_several:
            self.cases = self.several
        self.found = Findings(self.probe, self.reference, labels=bound.written_with_labels)
        self.kind: Kind | None = None
        self.zero = self.hard = self.kinked = self.smoothed = self.relation = False
        self.notes: list[str] = []

    def proof(self, notes: list[str]) -> Proof:
        """Everything, in the order in which it is read."""
        self.notes += notes
        if self.found.add(_steadiness.AGAIN, self.cases).holds:
            self.kind = find_kind(self.probe, self.space)
            self.relation = _scale.compares_rows(self.probe, self.reference)
            if self.needs_several:
                self.notes.append(
                    "It needs several rows: one alone, as the last batch of an epoch may have, "
                    "raises or gives no number."
                )
            self.hard = self.bound.takes_teacher and hears_the_argmax_alone(
                self.probe, self.reference
            )
            self.examine()
            self.notes += untold(self.bound, self.name, self.kind, hard=self.hard)
        return Proof(
            name=self.name,
            call=self.bound.call,
            returns=returns(self.bound, self.probe, self.reference),
            kind=sentence(self.bound, self.kind, zero=self.zero, hard=self.hard),
            notes=tuple(self.notes),
            definition=self.bound.definition,
            properties=tuple(self.found.properties),
        )

    def examine(self) -> None:
        """Measure one property after the other."""
        if self.bound.of_logits:  # else it writes into what was computed of them
            self.found.add(_steadiness.INPUTS, self.cases[:1])
        taught = self.found.add_if_everywhere(_distance.STUDENT_TAUGHT, self.cases)
        if taught.holds:
            if not self.needs_several:
                self.every_row()
            self.every_class()
        fraction = [] if self.needs_several else [fractions(dtype=self.bound.dtype)]
        bounded = self.found.add(_distance.NEVER_NEGATIVE, [*fraction, *self.cases])
        if self.bound.takes_teacher:
            self.at_equality(bounded.holds)
            self.found.add(_distance.TEACHER_LEFT_ALONE, self.cases)
            self.who_is_who()
            if self.bound.takes_labels:
                self.labels()
        if not taught.holds:
            return  # what follows is about its gradient
        self.direction()
        if self.bound.takes_teacher and self.space != "real" and not self.relation:
            self.contradiction()
        self.sizes()
        if self.marked is not None:
            self.masks(self.marked)
        if self.space == "categorical":
            self.constants()
        large = [case for case in large_cases() if len(case) > 1 or not self.needs_several]
        self.found.add(_steadiness.FINITE, large)
        self.found.add(_steadiness.HALF, self.cases)
        self.found.add(_steadiness.ORDER, self.several)

    def every_row(self) -> None:
        """Whether each row of a batch learns."""
        left_out, _, _ = look(self.probe, _distance.EVERY_ROW_TAUGHT, [self.reference])
        kind = ""
        if left_out.measured <= 0.5:
            kind = (
                f"It chooses among the rows of a batch: of {len(self.reference)} "
                f"{left_out.measured * len(self.reference):.0f} learn nothing, though each does "
                "alone."
            )
        self.found.add_if_everywhere(_distance.EVERY_ROW_TAUGHT, self.several, kind=kind)

    def every_class(self) -> None:
        """Whether each class is taught in some row of many."""
        many = random_case(64, dtype=self.bound.dtype)
        everywhere, _, _ = look(self.probe, _distance.EVERY_CLASS_TAUGHT, [many])
        cases = [many] if everywhere.holds else [*self.cases, many]
        self.found.add(_distance.EVERY_CLASS_TAUGHT, cases)

    def labels(self) -> None:
        """Which way both parts pull, and whether T² leaves that of the labels alone."""
        self.found.add_if_everywhere(_labels.TOWARDS_CLASS, self.cases)
        kind = "It compares rows with each other, not with the teacher's." if self.relation else ""
        self.found.add_if_everywhere(_labels.TOWARDS_TEACHER, self.cases, kind=kind)
        if self.bound.temperature is not None:
            self.found.add_if_everywhere(_labels.LABELS_KEEP_WEIGHT, self.cases)

    def who_is_who(self) -> None:
        """Whether the teacher's rows, and its classes, can be told apart."""
        kind = ""
        if self.relation:
            kind = "It compares classes over the whole batch, and not which row is whose."
        if self.found.add_if_everywhere(_steadiness.PAIRS, self.several, kind=kind).breaks:
            return  # a teacher that is not used has no classes either
        kind = ""
        if self.relation:
            kind = "It compares which rows are alike, and need not know in which class."
        elif is_for_other_classes(self.probe, self.reference) or (
            self.kind is not None and self.kind.name == "universal"
        ):
            kind = (
                "It is for vocabularies that differ, and says how sure to be, not of what: use it "
                "beside labels."
            )
        self.found.add_if_everywhere(_steadiness.CLASSES_TOLD_APART, self.cases, kind=kind)

    def contradiction(self) -> None:
        """Whether a student that is sure of the wrong class is taught."""
        kind = self.kind or kind_where_both_nearly_agree(self.probe, self.space)
        case = _contradiction.contradiction(1.0, self.bound.dtype).at(1.0)
        if self.bound.temperature is None:
            own = 1.0 if kind is None else kind.temperature or 1.0
            case = _contradiction.contradiction(own, self.bound.dtype)
        self.found.add(_contradiction.PULLS, [case], kind=_contradiction.excuse(kind))

    def masks(self, marked: Bound) -> None:
        """Whether rows that are marked as padding are as if they were not there."""
        probe, by = _probe(marked, self.reference), marked.marks
        if "labels" in by and not _masks.takes_marks(probe, self.reference.marked(by)):
            by = tuple(mark for mark in by if mark != "labels")
        if not by:
            return
        cases = [case.marked(by) for case in self.several]
        kind = ""
        asked = "mask" in by or (
            marked.takes_teacher
            and _masks.leaves_out(probe, cases[-1])
            and not _masks.labels_choose_rows(probe, self.reference)
        )
        if not asked:
            kind = (
                "A row whose label is -100, which marks padding, is not as if it were not there: "
                "right where such a row only has no label, wrong where it is padding."
            )
        found = look(probe, _masks.counts_no_masked_row(marked), cases)
        self.found.keep(*found, kind=kind, labels=marked.written_with_labels)

    def at_equality(self, bounded: bool) -> None:
        """Zero and stationary there, or a loss that need not be."""
        zero, measured, case = look(self.probe, _distance.ZERO, self.telling(_distance.ZERO))
        check, kind = self.stationary()
        if self.relation and check.bound is None:
            check = replace(check, bound=_BESIDE_A_NORM)
        stationary, _, _ = look(self.probe, check, self.telling(check))
        lowest, _, _ = look(self.probe, _distance.ABOVE_EQUALITY, self.cases)
        self.zero = zero.holds
        if self.zero and bounded:
            self.kinked = has_a_kink(self.probe, self.reference)
        entropy = stationary.holds and lowest.holds
        apart = ""
        if self.bound.takes_labels:
            apart = "It takes labels: where the student is the teacher they still pull."
        elif self.hard:
            apart = _HARD
        elif entropy and called_kl(self.name):
            zero = replace(
                zero,
                otherwise=f"It is called {self.name.rpartition(':')[2]}, and a KL divergence is 0 "
                "at equality: this is a cross-entropy, whose minimum is the teacher's entropy. "
                "Subtract it, or give it that name.",
            )
        elif entropy and self.kind is not None and self.kind.name in CROSS_ENTROPY:
            apart = "This is a cross-entropy: its minimum is the teacher's entropy, not 0."
        elif entropy:
            apart = "Its minimum is where the student is the teacher, but is not 0 there."
        self.found.keep(zero, measured, case, kind=apart)
        if self.kinked:
            kind = "It has a kink at equality, as an absolute value has: it pulls until the end."
        self.found.add(check, self.telling(check), kind=kind)

    def telling(self, check: Check) -> list[Case]:
        """The cases of a property, without those few rows that leave a relation none to compare."""
        if self.relation and look(self.probe, check, [self.reference])[0].holds:
            return [self.reference]
        return self.cases

    def stationary(self) -> tuple[Check, str]:
        """How to ask whether the teacher's part pulls no more at equality; and why it may."""
        if not self.bound.takes_labels:
            return _distance.STATIONARY, _HARD if self.hard else ""
        part = _labels.labels_part(self.probe, self.reference)
        if part is None:
            return _distance.STATIONARY, (
                "Its labels pull the student elsewhere, and not as a cross-entropy does: whether "
                "the teacher's part pulls there too cannot be told."
            )
        part = _labels.with_smoothing(part, self.probe, self.reference)
        self.smoothed = part.smoothing > 0
        self.kinked = _labels.has_a_kink_beside(part, self.probe, self.reference)
        return _labels.stationary_beside(part), _HARD if self.hard else ""

    def direction(self) -> None:
        """Whether it is the KL divergence that its name, or the caller, says."""
        wanted = self.expect or direction_in(self.name)
        if wanted is None or (self.expect is None and self.kind is None):
            return
        name = self.kind.name if self.kind is not None else None
        whose = "was expected" if self.expect else "is what its name says"
        is_ = SENTENCES[name] if name else "none of the losses that are known by their gradient"
        self.found.properties.append(
            Property(
                name=f"is the {wanted} KL",
                measured=0.0 if name == wanted else 1.0,
                bound=0.0,
                otherwise=f"The {wanted} KL {whose}, and this is {is_}. For the "
                "forward one F.kl_div takes the student's log-probabilities first and the "
                "teacher's probabilities second.",
            )
        )

    def sizes(self) -> None:
        """Classes, batch and temperature."""
        if self.space != "real":
            kind = ""
            if scale_invariant(self.probe, self.reference):
                kind = "It standardises each row, and counts impossible classes in that."
            elif compares_numbers(self.probe, self.reference):
                kind = "It is a mean over the classes, as usual for numbers."
            elif self.kind is not None and self.kind.name == "binary":
                kind = (
                    "It is a mean over the classes, as usual for yes or no: beside other losses it "
                    "weighs less the more classes there are."
                )
            elif self.relation and look(self.probe, _scale.INFINITE_CLASSES, self.cases)[0].holds:
                kind = (
                    "It compares classes over the batch, and is a mean over those that are not "
                    "-inf."
                )
            finite, infinite = _scale.CLASSES, _scale.INFINITE_CLASSES
            if self.smoothed:
                finite, infinite = _scale.CLASSES_OF_PULL, _scale.INFINITE_CLASSES_OF_PULL
            if self.found.add(finite, self.cases, kind=kind).holds:
                kind = (
                    "Where both sides give a class -inf, as a mask does, it is not a number: give "
                    "-1e4 instead, or leave out what has no probability."
                )
                self.found.add(infinite, self.cases, kind=kind)
        kind = ""
        if self.relation:
            kind = (
                "It compares the rows of a batch with each other: a row's loss depends on which "
                "others there are, and how many."
            )
        if not self.needs_several:
            self.found.add(_scale.BATCH, self.several, kind=kind)
        if self.bound.temperature is not None:
            self.temperature()
        elif self.kind is not None and self.kind.temperature is not None and not self.relation:
            rows = telling_rows(self.bound.dtype)
            share = _scale.class_share(self.probe, rows) / _scale.batch_share(self.probe, rows)
            kind_ = replace(self.kind, weight=self.kind.weight * share)
            if kind_.name in (*DIRECTIONS, "binary", "jensen-shannon"):
                self.found.add(temperature_of(kind_), self.cases)

    def temperature(self) -> None:
        """Of a loss whose temperature can be set."""
        heeds = self.found.add_if_everywhere(_scale.HEEDS_TEMPERATURE, self.cases)
        if not heeds.holds:
            return
        kind = ""
        if self.relation:
            kind = "T² is no rule for a loss that compares rows with each other: its gradient "
            kind += "changes its size with the temperature."
        elif self.hard:
            kind = "The likeliest class is the same at every temperature: no T² belongs to it."
        elif self.bound.takes_teacher and self.kinked:
            kind = (
                "It is of first order in the difference, so that T² lets its gradient grow with T."
            )
        if not self.bound.takes_teacher:
            return
        if _answers(self.probe, self.reference.at(2 * _scale.WARM)):
            self.found.add(_scale.TEMPERATURE, self.cases, kind=kind)
        else:
            self.notes.append(
                f"At T = {2 * _scale.WARM:g} it does not answer: whether T² is right is not told."
            )

    def constants(self) -> None:
        """A number added to a row's logits: nothing for probabilities."""
        kind = ""
        if self.kind is not None and self.kind.name == "binary":
            kind = "It asks yes or no for each class, and a number added to all changes each."
        elif (
            compares_numbers(self.probe, self.reference) and self.bound.takes_teacher and self.zero
        ):
            kind = (
                "It compares the logits as numbers: the same number added to all of a row's, which "
                "changes no probability, changes it."
            )
        self.found.add(_steadiness.CONSTANTS, self.cases, kind=kind)


def _probe(bound: Bound, reference: Case) -> Probe:
    probe = Probe(
        ask=bound.ask,
        tolerance=1e-6 if bound.output == bound.dtype == torch.float64 else 1e-4,
        takes_teacher=bound.takes_teacher,
        takes_labels=bound.takes_labels,
        dtype=bound.dtype,
    )
    value, gradient = largest(probe.value(reference)), largest(probe.gradient(reference))
    return replace(probe, value_size=_usable(value), gradient_size=_usable(gradient))


def _answers(probe: Probe, case: Case) -> bool:
    """Whether a loss can be asked about so many rows: a standard deviation is not of one."""
    try:
        value, gradient = probe.value(case), probe.gradient(case)
    except LossError:
        return False
    return bool(torch.isfinite(value).all()) and bool(torch.isfinite(gradient).all())


def _usable(size: float) -> float:
    return size if 1e-12 < size < math.inf else 1.0  # below it is rounding
