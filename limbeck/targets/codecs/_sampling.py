"""Which classes of a row to name, and at what value, so that each is right on average.

Every class with p >= tau is kept; any other is drawn with probability p / tau and then stands for
tau. This is threshold sampling (Duffield, Lund and Thorup, 2005,
https://doi.org/10.1109/TIT.2005.846400), of all ways to name as many classes on average without
bias the one of least total variance. The draws of a row are systematic (Madow, 1949), evenly
spaced along its sum of p / tau, which keeps their number, and so the row's mass, from varying.
"""

import math
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.targets.codecs._compiled import compiled
from limbeck.targets.codecs._flat import Ints
from limbeck.targets.codecs._pieces import spans

Floats = NDArray[np.float64]
_BLOCK = 32


class Named(NamedTuple):
    """Some classes of some rows, in order of row and class; each part is `(named,)`."""

    rows: Ints
    classes: Ints
    p: Floats


def select(logits: Tensor, tau: float, starts: Floats) -> tuple[Named, Named]:
    """The classes that are kept, and those that are drawn.

    Args:
        logits: Log-probabilities, up to a constant of each row, `(rows, classes)`.
        tau: The threshold, above 0.
        starts: Where the draws of each row begin, in [0, 1), `(rows,)`; the next are 1 apart.
    """
    loops = compiled()
    if loops is not None and logits.device.type == "cpu":
        found = [
            (span.start, *_select_in_a_loop(loops, logits[span], tau, starts[span]))
            for span in spans(logits)
        ]
    else:
        found = _select_by_blocks(logits, tau, starts)
    return (
        _joined([(start, kept) for start, kept, _ in found]),
        _joined([(start, drawn) for start, _, drawn in found]),
    )


def _select_in_a_loop(
    loops: ModuleType, logits: Tensor, tau: float, starts: Floats
) -> tuple[Named, Named]:
    # Each stands for tau at least; the last draw may be of what is left, and a sum rounded.
    room = len(logits) * min(logits.shape[-1], math.ceil(1 / tau) + 2)
    kept, drawn = (
        Named(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)) for _ in range(2)
    )
    num_kept, num_drawn = loops.select(
        logits.detach().float().contiguous().numpy(), tau, starts, tuple(kept), tuple(drawn)
    )
    assert num_kept >= 0, "a teacher's rows are finite, or were refused"
    return _first(kept, num_kept), _first(drawn, num_drawn)


def _first(named: Named, count: int) -> Named:
    return Named(named.rows[:count], named.classes[:count], named.p[:count])


def _select_by_blocks(logits: Tensor, tau: float, starts: Floats) -> list[tuple[int, Named, Named]]:
    blocks = -(-logits.shape[-1] // _BLOCK)
    lots = list(spans(logits))  # the first is the largest
    buffer = logits.new_zeros(len(logits[lots[0]]), blocks * _BLOCK)
    found = []
    for span in lots:
        p = buffer[: len(logits[span])]
        # What fills the last block stays at 0.
        torch.softmax(logits[span], dim=-1, out=p[:, : logits.shape[-1]])
        found.append((span.start, *_select(p.view(-1, blocks, _BLOCK), tau, starts[span])))
    return found


def _joined(parts: list[tuple[int, Named]]) -> Named:
    """What was found in several lots of rows, each with the row that it begins at."""
    return Named(
        np.concatenate([named.rows + start for start, named in parts]),
        np.concatenate([named.classes for _, named in parts]),
        np.concatenate([named.p for _, named in parts]),
    )


def _select(p: Tensor, tau: float, starts: Floats) -> tuple[Named, Named]:
    """Look at rows as blocks, `(rows, blocks, _BLOCK)`, and into the few that hold something."""
    rest = p.sum(dim=-1)
    row, block = (p.amax(dim=-1) >= tau).nonzero(as_tuple=True)  # (found,) each
    inside = p[row, block]  # (found, _BLOCK)
    kept = inside >= tau
    rest[row, block] = inside.masked_fill(kept, 0.0).sum(dim=-1)
    all_kept = _named(row, block, inside, kept)

    # In float64: of 152,000 classes, most are below the last place of a sum in float32.
    sums = torch.nn.functional.pad((rest.double() / tau).cumsum(dim=-1), (1, 0))
    sums += torch.from_numpy(starts).to(p.device)[:, None]  # (rows, blocks + 1)
    row, block = (sums.floor().diff(dim=-1) > 0).nonzero(as_tuple=True)
    inside = p[row, block]
    before = sums[row, block][:, None]
    passed = (inside.masked_fill(inside >= tau, 0.0).double() / tau).cumsum(dim=-1) + before
    drawn = passed.floor().diff(dim=-1, prepend=before.floor()) > 0
    return all_kept, _named(row, block, inside, drawn)


def _named(row: Tensor, block: Tensor, inside: Tensor, mask: Tensor) -> Named:
    """The classes that a mask over some blocks, `(found, _BLOCK)`, is true for."""
    found, place = mask.nonzero(as_tuple=True)
    classes = block[found] * _BLOCK + place
    p = inside[found, place].double()
    return Named(row[found].cpu().numpy(), classes.cpu().numpy(), p.cpu().numpy())


def rounded(p: Floats, levels: int, chance: Floats) -> Ints:
    """One of the two levels l around each p, so that (l / levels)^2 is p on average.

    Args:
        p: Probabilities from 1 / levels^2, up to rounding: none becomes 0.
        levels: The largest level.
        chance: Numbers in [0, 1), of the shape of p.
    """
    below = np.floor(np.sqrt(p) * levels).clip(min(1, levels - 1), levels - 1)
    share = (p * levels**2 - below**2) / (2 * below + 1)  # of the way to the level above
    level: Ints = (below + (chance < share)).astype(np.int64)
    return level
