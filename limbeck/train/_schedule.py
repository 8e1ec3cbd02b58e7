"""How the learning rate rises and falls."""

import math

from limbeck.recipe import Train


def schedule_factor(step: int, steps: int, settings: Train) -> float:
    r"""What the learning rate is multiplied by at a step, in 0..1.

    It rises in equal parts over the first $w = \lfloor warmup \cdot steps \rfloor$ steps, to 1 at
    the last of them. Then "cosine" is $(1 + \cos(\pi (step - w) / (steps - w))) / 2$, "step" is
    $0.1^m$ where m milestones are reached, and "constant" is 1.

    Args:
        step: The step's number, 0 <= `step` < `steps`.
        steps: How many there are.
        settings: With `schedule`, `warmup` and `milestones`.
    """
    warmup = int(settings.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "step":
        return float(0.1 ** sum(step >= milestone * steps for milestone in settings.milestones))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
