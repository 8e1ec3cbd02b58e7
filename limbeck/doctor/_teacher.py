"""What a loaded teacher knows: its score on validation data, and whether that is chance."""

from dataclasses import replace

import torch

from limbeck._chance import chance_warnings
from limbeck.doctor._findings import Findings
from limbeck.evaluation import answer_all
from limbeck.tasks import Task
from limbeck.teachers import Teacher
from limbeck.train import generator

MOST_SAMPLES = 1024
"""Validation samples that it is asked, at most."""


def look_at_score(teacher: Teacher, task: Task, found: Findings) -> None:
    """Say the teacher's score on validation samples, and warn if a constant answer is as good.

    Raises:
        LimbeckError: It cannot be asked about them.
    """
    whole = task.data.validation
    asked = whole
    if len(whole) > MOST_SAMPLES:
        shuffled = torch.randperm(len(whole), generator=generator(0, "doctor"))
        asked = whole.subset(shuffled[:MOST_SAMPLES].sort().values)
    answers = answer_all(teacher.logits, asked, task.data.head)
    score = task.metric.score(answers.rows, answers.labels)
    found.notes.append(
        f"The loaded teacher's validation {task.metric.name} is {score:.4g}, on {len(asked)} of "
        f"{len(whole)} samples."
    )
    scored = replace(task, data=replace(task.data, validation=asked))
    found.warnings.extend(chance_warnings(scored, score))
