"""Loops over the classes of rows, compiled by numba: one pass where arrays take a dozen.

For CPUs, where the extra `fast` is installed; see `_compiled.py`. What is encoded and decoded is
what numpy and torch make of it, to the bit. What is summed over many classes, such as the mass
that draws are spaced along, may differ in the last places of float32.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from limbeck._splitmix import FIRST, GAMMA, SECOND

P = ParamSpec("P")
R = TypeVar("R")
Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_BLOCK = 32
_CHUNK = 1024
"""Classes whose largest logit is known before their powers are taken: they stay in the cache."""
LOWEST = np.float32(np.finfo(np.float32).min)
"""What a largest logit begins from: -inf less -inf would be NaN."""


def jit(*loose: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile what other loops call, for one thread, without the GIL.

    Args:
        loose: What LLVM may assume of floats: "reassoc" that sums have no order, which it needs
            to take several entries at once; "contract" that a product may be added unrounded.
    """
    from numba import njit

    def compiled(function: Callable[P, R]) -> Callable[P, R]:
        made: Callable[P, R] = njit(nogil=True, fastmath=set(loose))(function)
        return made

    return compiled


def loop(*loose: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile what Python calls, at the first call; the next process finds it in a file.

    numba looks whether the source file of a loop has changed, not that of what it calls: so all of
    them are in this one. Where the file of what was compiled cannot be written, or was damaged,
    the loop is compiled without one.

    Args: as `jit`.
    """
    from numba import njit

    def compiled(function: Callable[P, R]) -> Callable[P, R]:
        fresh: Callable[P, R] = njit(nogil=True, fastmath=set(loose))(function)
        try:
            kept: Callable[P, R] = njit(cache=True, nogil=True, fastmath=set(loose))(function)
        except RuntimeError:  # neither this folder nor the user's is writable
            return fresh

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal kept
            try:
                return kept(*args, **kwargs)
            except Exception:  # noqa: BLE001  (a damaged pickle raises anything; a loop's own comes again)
                kept = fresh
                return kept(*args, **kwargs)

        return call

    return compiled


_LOG2_E = np.float32(math.log2(math.e))
_ROUND = np.float32(1.5 * 2**23 + 127)  # added to a small number, it leaves that in the low bits
_LOG_2_HIGH, _LOG_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LEAST = np.float32(-87)
_1, _2, _3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_4, _5, _6 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(0.5)
_ONE, _ZERO = np.float32(1), np.float32(0)


@jit("contract")
def power(x: np.float32) -> np.float32:
    """e^x of a number from 0 down, within 2 units in the last place; 0 below e^-87.

    x = n log 2 + r, and a polynomial of r (Cephes' expf; Moshier, 1989), without a branch.
    """
    shifted = np.float32(x * _LOG2_E + _ROUND)
    n = shifted - _ROUND
    r = x - n * _LOG_2_HIGH - n * _LOG_2_LOW
    series = ((((_1 * r + _2) * r + _3) * r + _4) * r + _5) * r + _6
    scale = np.int32(shifted.view(np.int32) << 23).view(np.float32)  # 2^n
    found = (series * (r * r) + r + _ONE) * scale
    return _ZERO if x < _LEAST else found


@jit()
def largest_of(values: Singles, least: np.float32) -> np.float32:
    """The largest of some numbers, if one is above `least`.

    By their bits, which are whole numbers: of these LLVM compares several at once. They rise with
    numbers above 0, and fall with those below.
    """
    highest = lowest = np.int32(np.float32(least).view(np.int32))
    bits = values.view(np.int32)
    for at in range(len(bits)):
        highest = max(highest, bits[at])
        lowest = min(lowest, bits[at])
    found = np.int32(highest if highest >= 0 else lowest)
    return found.view(np.float32)


@jit("reassoc", "contract")
def _sum_blocks(values: Singles, largest: np.float32, sums: Singles) -> None:
    """Of the powers of each block's logits, less the largest of all."""
    whole = len(values) // _BLOCK
    for block in range(whole):
        total = _ZERO
        for lane in range(_BLOCK):
            total += power(values[block * _BLOCK + lane] - largest)
        sums[block] = total
    if whole < len(sums):
        total = _ZERO
        for at in range(whole * _BLOCK, len(values)):
            total += power(values[at] - largest)
        sums[whole] = total


@jit("reassoc", "contract")
def powers_of(values: Singles, largest: np.float32, powers: Singles) -> float:
    """Of some logits less the largest of all, and their sum."""
    total = _ZERO
    for at in range(len(values)):
        powers[at] = power(values[at] - largest)
        total += powers[at]
    return float(total)


@jit("reassoc")
def _scaled(sums: Singles, scale: np.float32) -> float:
    """Multiply each of some sums; returns their own."""
    total = 0.0
    for at in range(len(sums)):
        sums[at] *= scale
        total += sums[at]
    return total


@loop()
def select(
    logits: Singles,
    tau: float,
    starts: Floats,
    kept: tuple[Ints, Ints, Floats],
    drawn: tuple[Ints, Ints, Floats],
) -> tuple[int, int]:
    """The classes to keep and to draw of each row; how many there are of both.

    A row's sums and largest logit are found in one pass over memory, a chunk at a time.

    Args:
        logits: Of any constant a row, `(rows, classes)`.
        tau: The threshold.
        starts: Where the draws of each row begin, in [0, 1), `(rows,)`.
        kept: Where their rows, classes and probabilities go, `(room,)` each.
        drawn: The same.

    Returns:
        How many; or (-1, row) of a row that has no distribution: one that holds NaN or infinity,
        or -inf alone.
    """
    classes = logits.shape[1]
    per_chunk = _CHUNK // _BLOCK
    sums = np.empty((classes + _BLOCK - 1) // _BLOCK, dtype=np.float32)
    references = np.empty((classes + _CHUNK - 1) // _CHUNK, dtype=np.float32)
    powers = np.empty(_BLOCK, dtype=np.float32)
    num_kept = num_drawn = 0
    for row in range(len(logits)):
        values = logits[row]
        largest = LOWEST
        for chunk in range(len(references)):
            inside = values[chunk * _CHUNK : (chunk + 1) * _CHUNK]
            largest = largest_of(inside, largest)
            references[chunk] = largest
            _sum_blocks(inside, largest, sums[chunk * per_chunk : (chunk + 1) * per_chunk])
        total = 0.0
        for chunk in range(len(references)):
            scale = power(references[chunk] - largest)
            total += _scaled(sums[chunk * per_chunk : (chunk + 1) * per_chunk], scale)
        if not 0 < total < np.inf:
            return -1, row

        threshold = tau * total
        surely_below = threshold * (1 - 1e-5)  # powers of other references differ in last places
        passed, draw_at = 0.0, (1 - starts[row]) * threshold
        for block in range(len(sums)):
            if sums[block] < surely_below and passed + sums[block] < draw_at:
                passed += sums[block]
                continue
            first = block * _BLOCK
            inside = values[first : first + _BLOCK]
            powers_of(inside, largest, powers)
            for lane in range(len(inside)):
                mass = np.float64(powers[lane])
                if mass >= threshold:
                    kept[0][num_kept] = row
                    kept[1][num_kept] = first + lane
                    kept[2][num_kept] = mass / total
                    num_kept += 1
                    continue
                passed += mass
                if passed >= draw_at:
                    drawn[0][num_drawn] = row
                    drawn[1][num_drawn] = first + lane
                    drawn[2][num_drawn] = mass / total
                    num_drawn += 1
                    draw_at += threshold
    return num_kept, num_drawn


@loop("contract")
def add_tail(logits: Singles, tau: float, mass: Floats, named: Ints) -> None:
    """Add to each class what probability below tau it has in all rows, and how often it has more.

    Args:
        logits: `(rows, classes)`.
        tau: The threshold.
        mass: Changed, `(classes,)`.
        named: Changed, `(classes,)`.
    """
    powers = np.empty(logits.shape[1], dtype=np.float32)
    for row in range(len(logits)):
        scale = 1 / powers_of(logits[row], largest_of(logits[row], LOWEST), powers)
        for each in range(len(powers)):
            p = powers[each] * scale
            mass[each] += p if p < tau else 0.0
            named[each] += p >= tau


@loop()
def rounded(p: Floats, levels: int, seeds: NDArray[np.uint64], rows: Ints, classes: Ints) -> Ints:
    """What `_sampling.rounded` makes of the number 1 + class of each row's seed; `(numbers,)`."""
    found = np.empty(len(p), dtype=np.int64)
    for at in range(len(p)):
        mixed = seeds[rows[at]] + np.uint64(classes[at] + 2) * GAMMA
        mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
        mixed ^= mixed >> np.uint64(31)
        chance = np.float64(mixed >> np.uint64(11)) * 2.0**-53
        below = min(max(math.floor(math.sqrt(p[at]) * levels), min(1, levels - 1)), levels - 1)
        share = (p[at] * levels**2 - below**2) / (2 * below + 1)
        found[at] = below + (chance < share)
    return found


_GAPS = (701, 301, 132, 57, 23, 10, 4)
_FEW = 32
"""Keys that are sorted by insertion at once: rows mostly have fewer."""


@jit()
def _sort(keys: Ints) -> None:
    """In place: Shell's sort.

    With the gaps of Ciura ("Best Increments for the Average Case of Shellsort", 2001).
    """
    if len(keys) > _FEW:
        for gap in _GAPS:
            _insert(keys, gap)
    _insert(keys, 1)


@jit()
def _insert(keys: Ints, gap: int) -> None:
    """Each key before the larger ones of those that lie `gap` apart."""
    for number in range(gap, len(keys)):
        key, at = keys[number], number
        while at >= gap and keys[at - gap] > key:
            keys[at] = keys[at - gap]
            at -= gap
        keys[at] = key


@loop()
def put_in_order(
    rows: Ints,
    classes: Ints,
    levels: Ints,
    ranks: Ints,
    counts: Ints,
    ordered_levels: Ints,
    steps: NDArray[np.int32],
) -> None:
    """The classes of each row in order of rank, as the steps between them.

    Args:
        rows: In rising order, `(numbers,)`.
        classes: `(numbers,)`.
        levels: `(numbers,)`, below 2^16.
        ranks: Of each class, `(classes,)`, below 2^24.
        counts: Zeros, where the number of each row goes, `(rows, 1)`.
        ordered_levels: Where levels go, in that order, `(numbers,)`.
        steps: Where those go, less 1, and the first rank of each row as it is, `(numbers,)`.
    """
    keys = np.empty(len(rows), dtype=np.int64)
    start = end = 0
    while start < len(rows):
        row = rows[start]
        while end < len(rows) and rows[end] == row:
            keys[end] = ranks[classes[end]] << 16 | levels[end]
            end += 1
        _sort(keys[start:end])
        counts[row, 0] = end - start
        before = -1
        for at in range(start, end):
            rank = keys[at] >> 16
            ordered_levels[at] = keys[at] & 0xFFFF
            steps[at] = rank - before - 1
            before = rank
        start = end


@loop()
def place(
    kept: tuple[Ints, Ints, Ints],
    drawn: tuple[Ints, Ints],
    order: Ints,
    values: Singles,
    tau: float,
    ids: Ints,
    probabilities: Singles,
    is_drawn: NDArray[np.bool_],
) -> None:
    """Write the entries of each row, those kept before those drawn.

    Args:
        kept: Counts, `(rows, 1)`; steps and levels, `(numbers,)`.
        drawn: Counts and steps.
        order: Classes by rank.
        values: Of each level.
        tau: Of what was drawn.
        ids: Zeros, where classes go, `(rows, width)`.
        probabilities: The same.
        is_drawn: The same.

    Raises:
        IndexError: A rank or a level that there is not.
    """
    at_kept = at_drawn = 0
    for row in range(len(ids)):
        num_kept, num_drawn = np.int64(kept[0][row, 0]), np.int64(drawn[0][row, 0])
        if at_kept + num_kept > len(kept[1]) or at_drawn + num_drawn > len(drawn[1]):
            raise IndexError
        rank, number = np.int64(-1), 0
        for _ in range(num_kept):
            rank += np.int64(kept[1][at_kept]) + 1
            level = kept[2][at_kept]
            if rank >= len(order) or level >= len(values):
                raise IndexError
            ids[row, number] = order[rank]
            probabilities[row, number] = values[level]
            number += 1
            at_kept += 1
        rank = np.int64(-1)
        for _ in range(num_drawn):
            rank += np.int64(drawn[1][at_drawn]) + 1
            if rank >= len(order):
                raise IndexError
            ids[row, number] = order[rank]
            probabilities[row, number] = tau
            is_drawn[row, number] = True
            number += 1
            at_drawn += 1


_TINY = float(np.finfo(np.float32).tiny)


@loop("reassoc", "contract")
def distances(
    live: Singles,
    tail_shape: Floats,
    weights: Floats,
    ids: Ints,
    named: Floats,
    tail: Floats,
    as_drawn: Floats,
    kl: Floats,
    agreement: Floats,
    squared: Floats,
    squared_as_drawn: Floats,
    difference: Floats,
) -> None:
    """What `_measure.faithfulness` sums up, of rows whose tail has a shape.

    Args:
        live: Logits, `(rows, classes)`.
        tail_shape: Log-weights of the tail, `(classes,)`.
        weights: What they are the logarithms of.
        ids: Classes that are named, `(rows, kept)`.
        named: Their probabilities, 0 for what is padding, `(rows, kept)`.
        tail: The mass of all others, `(rows,)`.
        as_drawn: The probabilities of `ids` where what was drawn counts as it is, `(rows, kept)`.
        kl: Where KL(live || stored) goes, `(rows,)`.
        agreement: Where 1 goes, if the most probable class is the same, else 0, `(rows,)`.
        squared: Where the sum of squared differences of probabilities goes, `(rows,)`.
        squared_as_drawn: The same of `as_drawn`, and 0 for the classes that it does not name.
        difference: Where the largest one goes, `(rows,)`.
    """
    classes = live.shape[1]
    powers = np.empty(classes, dtype=np.float32)
    stored, log_stored = np.empty(classes), np.empty(classes)
    for row in range(len(live)):
        values = live[row]
        largest = largest_of(values, LOWEST)
        total = powers_of(values, largest, powers)
        log_total = np.float64(largest) + math.log(total)

        stored[:] = weights
        for at in range(ids.shape[1]):
            if named[row, at] > 0:
                stored[ids[row, at]] = 0.0
        left = 0.0
        for each in range(classes):
            left += stored[each]
        share = tail[row] / max(left, _TINY)
        log_share = math.log(max(share, _TINY))
        for each in range(classes):
            stored[each] *= share
            log_stored[each] = max(tail_shape[each] + log_share, math.log(_TINY))
        sum_of_stored = share * left
        for at in range(ids.shape[1]):
            if named[row, at] > 0:
                stored[ids[row, at]] = named[row, at]
                log_stored[ids[row, at]] = math.log(named[row, at])
                sum_of_stored += named[row, at]
        for each in range(classes):  # where every class is named, nothing takes the tail
            stored[each] /= sum_of_stored

        nats = squares = squares_alone = 0.0
        for each in range(classes):
            p = powers[each] / total
            gap = p - stored[each]
            squares += gap * gap
            squares_alone += p * p
            nats += p * (values[each] - log_total - log_stored[each]) if p > 0 else 0.0
        for at in range(ids.shape[1]):
            p = powers[ids[row, at]] / total
            squares_alone += as_drawn[row, at] * (as_drawn[row, at] - 2 * p)
        most, best, best_stored = 0.0, 0, 0
        for each in range(classes):
            gap = abs(powers[each] / total - stored[each])
            most = gap if gap > most else most
            best = each if values[each] > values[best] else best
            best_stored = each if stored[each] > stored[best_stored] else best_stored
        kl[row] = nats + math.log(sum_of_stored)
        agreement[row] = best == best_stored
        squared[row] = squares
        squared_as_drawn[row] = squares_alone
        difference[row] = most
