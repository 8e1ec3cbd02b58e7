"""A student that begins with weights of its teacher's instead of random ones."""

from collections.abc import Callable

from torch import nn

from limbeck._errors import ModelError
from limbeck._lookup import check_choice
from limbeck._state import is_keras, set_state
from limbeck.models._layer_drop import layer_drop
from limbeck.models._taken import Taken
from limbeck.models._width_slice import width_slice
from limbeck.signals import Inputs

STARTS: dict[str, Callable[[nn.Module, nn.Module, Inputs], Taken]] = {
    "layers": lambda student, teacher, inputs: layer_drop(student, teacher),
    "width": width_slice,
}
"""What of a teacher a student can begin with, by name."""


def warm_start(student: nn.Module, teacher: nn.Module, how: str, inputs: Inputs) -> Taken:
    """Give `student` weights of `teacher`: all of its own, or none.

    Args:
        student: It is changed in place.
        teacher: A trained model that differs from the student in one thing alone.
        how: In which: "layers", of which the student has fewer; "width", of fewer units a layer.
        inputs: A batch of samples, on the teacher's device, that units are chosen by.

    Returns:
        What was taken.

    Raises:
        OptionError: There is no such way.
        ModelError: A weight of the student has no counterpart: the first is named.

    Example:
        >>> teacher, student = MLP(64, [32, 32, 32], 10), MLP(64, [32], 10)
        >>> warm_start(student, teacher, "layers", torch.zeros(1, 64)).words
        ['layers: 1, 7 of 1, 3, 5, 7']
    """
    check_choice("start.how", how, tuple(STARTS))
    for model in (student, teacher):
        if is_keras(model):
            raise ModelError(
                "a Keras model has no torch modules that a student could begin with. Leave start "
                "out."
            )
    taken = STARTS[how](student, teacher, inputs)
    set_state(student, taken.state)
    return taken
