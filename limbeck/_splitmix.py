"""Random numbers that belong to a key, such as a row's or a sample's, in whatever company.

SplitMix64 read by counter: the n-th number of a seed is a hash of seed + n gamma. It passes
BigCrush, and needs no state (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
Generators", OOPSLA 2014, figure 17; the mixing constants are Stafford's variant 13).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


def splitmix(seeds: NDArray[np.uint64], numbers: NDArray[Any] | int = 0) -> NDArray[np.uint64]:
    """Whole numbers of 64 bits that look unlike their neighbours'.

    Args:
        seeds: `(...)`.
        numbers: Which number of its seed each is, 0 or more, `(...)` or the same for all.
    """
    steps = np.atleast_1d(numbers).astype(np.uint64) + np.uint64(1)
    mixed = seeds + steps * GAMMA  # modulo 2^64, as all here
    mixed ^= mixed >> np.uint64(30)
    mixed *= FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def uniform(seeds: NDArray[np.uint64], numbers: NDArray[Any] | int) -> NDArray[np.float64]:
    """Numbers in [0, 1), a multiple of 2^-53 each; arguments as of `splitmix`."""
    mixed = splitmix(seeds, numbers)
    mixed >>= np.uint64(11)
    return np.multiply(mixed, 2.0**-53, dtype=np.float64)
