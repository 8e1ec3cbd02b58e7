"""What modules inside teacher and students give, for a feature method and for branches."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from limbeck import _format as form
from limbeck.doctor._findings import Findings
from limbeck.doctor._lessons import Lesson
from limbeck.methods import BranchTerm, FeatureTerm
from limbeck.models import parameter_count
from limbeck.recipe import Branches
from limbeck.signals import Dense, Rows
from limbeck.taps import tap_name


def look_at_taps(lessons: Sequence[Lesson], taught: Mapping[str, Rows], found: Findings) -> None:
    """Show what each tap gives for a batch, on both sides, and what is learned between them.

    An adapter is what the method learns beside the student. A norm is the mean length of what one
    sample gives, by the root of how many numbers that is.

    Args:
        lessons: Who learns.
        taught: The teacher's features for their batch, by `tap_name`.
        found: Takes the table.
    """
    rows = []
    for lesson in lessons:
        answers = lesson.answers()
        for term in lesson.learner.objective:
            if not isinstance(term, FeatureTerm):
                continue
            taps = zip(term.student_taps, term.teacher_taps, _adapters(term), strict=True)
            for ours, theirs, adapter in taps:
                said = taught[tap_name(theirs)]
                assert isinstance(said, Dense), "features are numbers, all of them"
                mine = answers[tap_name(ours)].detach()
                rows.append(
                    [lesson.name, ours, *_told(mine), adapter, theirs, *_told(said.values)],
                )
            learned = parameter_count(term.module)
            kept = sum(part.numel() for part in term.module.buffers())
            does = [f"trains {learned:,} weights"] if learned else []
            does += [f"keeps {kept:,} other numbers"] if kept else []
            if does:
                found.notes.append(
                    f"Beside {lesson.name} its method {' and '.join(does)}, no part of the student "
                    "that is saved."
                )
    columns = ["its module", "shape", "norm", "adapter", "teacher's module", "shape", "norm"]
    found.tables.append(("Taps", ["model", *columns], rows))


def _adapters(term: FeatureTerm) -> list[str]:
    """The layers that a method learns for each tap, in words."""
    told = ["none"] * len(term.student_taps)
    for parts in term.module.children():
        if isinstance(parts, nn.ModuleList):
            # One for each tap, or, of tinybert, for each third one, its layer's states.
            taps = len(told) // len(parts)
            for place, part in enumerate(parts, start=1):
                layers = [text for layer in part.modules() if (text := _layer(layer))]
                told[place * taps - 1] = ", ".join(layers) or "none"
    return told


def _layer(layer: nn.Module) -> str:
    """A layer with weights in words; nothing for another module."""
    if isinstance(layer, nn.Conv2d):
        size = "x".join(map(str, layer.kernel_size))
        return f"{size} conv {layer.in_channels} -> {layer.out_channels}"
    if isinstance(layer, nn.Linear):
        return f"linear {layer.in_features} -> {layer.out_features}"
    return ""


def look_at_branches(lessons: Sequence[Lesson], settings: Branches, found: Findings) -> None:
    """Show what each module gives for a batch that has a branch, or that branches compare with.

    Args:
        lessons: Who learns.
        settings: Where the branches are, and what they learn.
        found: Takes the table.
    """
    rows = []
    for lesson in lessons:
        terms = [term for term in lesson.learner.objective if isinstance(term, BranchTerm)]
        if not terms:
            continue
        answers = lesson.answers()
        told = {path: _told(answers[tap_name(path)].detach()) for path in terms[0].student_taps}
        rows += [[lesson.name, path, *told[path], "a branch"] for path in settings.taps]
        if settings.features is not None:
            deepest = settings.features
            rows.append([lesson.name, deepest, *told[deepest], "features for the branches"])
        learned = parameter_count(terms[0].module)
        found.notes.append(
            f"Beside {lesson.name} its branches train {learned:,} weights, which are no part of "
            "the student that is saved."
        )
    columns = ["model", "its module", "shape", "norm", "what it has"]
    found.tables.append(("Branches", columns, rows))


def _told(features: torch.Tensor) -> tuple[str, str]:
    norm = features.float().flatten(1).square().mean(dim=1).sqrt().mean()
    return str(tuple(features.shape)), f"{float(norm):.3g}"


def stored_size(features: Mapping[str, Dense], samples: int) -> str:
    """Bytes of the transfer set of features, in words.

    Args:
        features: Of a batch.
        samples: How many are stored, each view counting as one.
    """
    numbers = sum(part.values[0].numel() for part in features.values())
    return (
        f"Features are stored too: {samples} samples x {numbers} B = "
        f"{form.size(samples * numbers)}, before the columns are compressed."
    )
