"""Layer drop: a shallower student that begins with some of its teacher's layers.

Sanh et al. 2019 (DistilBERT, https://arxiv.org/abs/1910.01108): one layer of two is taken, spread
so that the first and the last are among them: 0, 2, 4, 7, 9 and 11 of 12. Everything that is not in
a stack, embeddings and the last layer, is taken as it is.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from limbeck._errors import ModelError
from limbeck.models._taken import Taken

_STACKS = (nn.ModuleList, nn.Sequential)


def layer_drop(student: nn.Module, teacher: nn.Module) -> Taken:
    """The teacher's weights for a student that is the same but for the length of its stacks.

    A stack is a `ModuleList` or a `Sequential`. Of each kind of layer in it, those of the teacher
    are spread over those of the student: block i of m is block round(i (n - 1) / (m - 1)) of n, and
    of a stack of one the first. All else is matched by name.

    Args:
        student: Whose weights are wanted; it is not changed.
        teacher: Whose weights there are.

    Raises:
        ModelError: A weight has no counterpart, or one of another shape: the first is named.
    """
    state: dict[str, Tensor] = {}
    words: list[str] = []
    for name, own, there, its in _pairs(student, teacher, "", "", words):
        if its is None:
            raise _misfit(f"has no counterpart there: the teacher has no {there}", name)
        if own.shape != its.shape:
            raise _misfit(
                f"is {tuple(own.shape)}, and the teacher's {there} is {tuple(its.shape)}", name
            )
        state[name] = its
    return Taken(state=state, words=words)


def spread(count: int, among: int) -> list[int]:
    """`count` of the numbers 0..`among` - 1, evenly spread, the first and the last among them."""
    if count == 1:
        return [0]
    return [round(place * (among - 1) / (count - 1)) for place in range(count)]


def _pairs(
    student: nn.Module, teacher: nn.Module, name: str, there: str, words: list[str]
) -> Iterator[tuple[str, Tensor, str, Tensor | None]]:
    """Every weight of the student, with its name, and its counterpart's name and value."""
    its = _own_state(teacher)
    for key, tensor in _own_state(student).items():
        yield name + key, tensor, there + key, its.get(key)
    if isinstance(student, _STACKS) and isinstance(teacher, _STACKS):
        children = _spread_children(student, teacher, name, there, words)
    else:
        children = [(key, key) for key, _ in student.named_children()]
    known = dict(teacher.named_children())
    for key, other in children:
        child = student.get_submodule(key)
        inner, inner_there = f"{name}{key}.", f"{there}{other}."
        if other in known:
            yield from _pairs(child, known[other], inner, inner_there, words)
        else:
            for weight, tensor in child.state_dict().items():
                yield inner + weight, tensor, inner_there + weight, None


def _spread_children(
    student: nn.Module, teacher: nn.Module, name: str, there: str, words: list[str]
) -> list[tuple[str, str]]:
    own, its = _by_kind(student), _by_kind(teacher)
    pairs = []
    for kind, keys in own.items():
        others = its.get(kind, [])
        if len(keys) > len(others):
            raise _misfit(
                f"is one of {len(keys)} layers {kind} in {name[:-1]}, and the teacher has "
                f"{len(others)} in {there[:-1]}",
                f"{name}{keys[len(others)]}",
            )
        taken = [others[place] for place in spread(len(keys), len(others))]
        pairs += list(zip(keys, taken, strict=True))
        if len(keys) < len(others):
            words.append(f"{there[:-1]}: {', '.join(taken)} of {', '.join(others)}")
    return pairs


def _by_kind(stack: nn.Module) -> dict[str, Sequence[str]]:
    """The names of the layers that have weights, in order, by their class."""
    kinds: dict[str, list[str]] = {}
    for key, child in stack.named_children():
        if child.state_dict():
            kinds.setdefault(type(child).__qualname__, []).append(key)
    return dict(kinds)


def _own_state(module: nn.Module) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in module.state_dict().items() if "." not in key}


def _misfit(why: str, name: str) -> ModelError:
    return ModelError(
        f"the student cannot begin with the teacher's layers: its {name} {why}. Give the student "
        "the teacher's options, but for the number of layers."
    )
