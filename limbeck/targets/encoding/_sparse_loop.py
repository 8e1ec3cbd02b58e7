"""How near sparse rows are to the live ones, in a loop that numba compiles."""

import math

import numpy as np

from limbeck.targets.codecs._loops import LOWEST, Floats, Ints, Singles, jit, largest_of, powers_of

_TINY = float(np.finfo(np.float32).tiny)


@jit("reassoc", "contract")
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
