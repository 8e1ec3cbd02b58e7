"""One optimiser step of a learner, or of several that teach each other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.methods import said_by_peers
from limbeck.train._lane import Lane, Pace, Part


def groups_of(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Who steps together: those that teach each other; everyone else alone.

    Raises:
        OptionError: One is to learn from other students, and there are none.
    """
    peers = [lane for lane in lanes if lane.learner.has_peers]
    if len(peers) == 1:
        raise OptionError(
            f"{peers[0].learner.name} is to learn from other students, and no other of this pass "
            "does. Let two or more, or set mutual_weight = 0."
        )
    alone = [[lane] for lane in lanes if not lane.learner.has_peers]
    return [*alone, peers] if peers else alone


def step_together(
    lanes: Sequence[Lane], parts: Sequence[Part], pace: Pace, *, noise: int, device: torch.device
) -> None:
    """One step of each: all answer a part before any of them learns from it.

    So each part's graphs of all of them are held at once. Of the two orders of the paper on mutual
    learning (Zhang et al. 2018, https://arxiv.org/abs/1706.00384) this is that of its text; its
    algorithm 1 lets each one step before the next one is asked, which takes a second forward pass.

    Args:
        lanes: Who learns: one, or several that teach each other.
        parts: What from.
        pace: Where training stands.
        noise: The seed of what the models draw, the same for every lane, whoever else learns.
        device: Where they are.
    """
    own_noise = _Noise(noise, device, len(lanes))
    for lane in lanes:
        lane.begin_step(pace)
    for part in parts:
        last = part is parts[-1]
        answers = []
        for place, lane in enumerate(lanes):
            with own_noise.of(place):
                answers.append(lane.answer(part, last=last))
        for place, lane in enumerate(lanes):
            others = answers[:place] + answers[place + 1 :]
            peers = said_by_peers(others, lane.heads) if others else {}
            with own_noise.of(place):
                lane.backward(part, answers[place], peers, last=last)
    for lane in lanes:
        lane.end_step()


class _Noise:
    """Torch's random numbers, a stream for each lane from the same beginning on.

    Args:
        seed: Where they begin.
        device: Where else than on the CPU there are some.
        num_lanes: How many streams.
    """

    def __init__(self, seed: int, device: torch.device, num_lanes: int) -> None:
        self._on_gpu = device.type == "cuda"
        # What torch.manual_seed does, for the devices in use: that walks every backend, in 1 ms.
        torch.default_generator.manual_seed(seed)
        if self._on_gpu:
            torch.cuda.manual_seed(seed)
        self._states = [self._state()] * num_lanes if num_lanes > 1 else []

    @contextmanager
    def of(self, place: int) -> Iterator[None]:
        """Go on with a lane's stream; one alone is not left."""
        if not self._states:
            yield
            return
        torch.default_generator.set_state(self._states[place][0])
        if self._on_gpu:
            torch.cuda.set_rng_state(self._states[place][1])
        yield
        self._states[place] = self._state()

    def _state(self) -> list[Tensor]:
        on_gpu = [torch.cuda.get_rng_state()] if self._on_gpu else []
        return [torch.default_generator.get_state(), *on_gpu]
