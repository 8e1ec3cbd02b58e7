"""Softness without a teacher: what a student can have of labels alone."""

from typing import Annotated

from pydantic import Field

from limbeck import losses
from limbeck.methods._method import Card, Method, Options, Paper, without_temperature


class TeacherFreeOptions(Options):
    """Who the virtual teacher is."""

    target_probability: Annotated[float, Field(gt=0, le=1)] = 0.99
    """What it gives the label, above 0 to 1: below 1 / classes it teaches away from the label,
    1 / classes is a uniform teacher, and 1 one that excludes every other class."""


teacher_free = Method(
    card=Card(
        called=("tf_kd", "tfkd"),
        line="A virtual teacher (Tf-KD): sure of the label, the same for all other classes.",
        paper=Paper(authors="Yuan et al.", year=2020, link="https://arxiv.org/abs/1909.11723"),
        formula=(
            "T^2 KL(softmax(u / T) || softmax(student / T)), u the logarithm of "
            "target_probability at the label, and of an even share of the rest elsewhere"
        ),
        when=(
            "As a second control: a method that gains no more than this gained from softness, and "
            "not from what its teacher knows."
        ),
        cost=6.6,
        setting="temperature = 20 or 40; labels beside it.",
        notes=(
            "The teacher's rows are not read, though a run still makes them, to compare with. The "
            "paper's code softens only one side; here both are."
        ),
    ),
    dense={"categorical": losses.teacher_free_soft_targets},
    options=TeacherFreeOptions,
    from_teacher=False,
    with_labels=True,
)


class LabelSmoothingOptions(Options):
    """How smooth."""

    smoothing: Annotated[float, Field(ge=0, le=1)] = 0.1
    """What is spread over all classes, from 0, where it is cross-entropy, to 1, where the label is
    lost."""


label_smoothing = Method(
    card=Card(
        line="Cross-entropy towards labels of which some is spread over all classes.",
        paper=Paper(authors="Szegedy et al.", year=2016, link="https://arxiv.org/abs/1512.00567"),
        formula="-(1 - smoothing) log q_label - smoothing mean over c of log q_c",
        when=(
            "As a second control, the control's twin: it is as soft as a student can be without a "
            "teacher, and differs from the control in nothing else."
        ),
        cost=3.6,
        setting="hard_weight = 0, soft_weight = 1; there is no temperature.",
        notes="The teacher's rows are not read, though a run still makes them, to compare with.",
    ),
    dense={"categorical": without_temperature(losses.label_smoothing)},
    options=LabelSmoothingOptions,
    from_teacher=False,
    with_labels=True,
)
