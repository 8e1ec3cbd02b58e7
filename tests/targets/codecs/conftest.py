from contextlib import contextmanager

import pytest

from limbeck.targets.codecs import _mean_tail, _sampling, _threshold
from limbeck.targets.codecs._compiled import compiled
from limbeck.targets.encoding import _measure
from tests.conftest import missing


@contextmanager
def without_numba():
    """As where the extra `fast` is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (_mean_tail, _sampling, _threshold, _measure):
            patch.setattr(module, "compiled", lambda: None)
        yield


@pytest.fixture(scope="session")
def loops():
    """The loops that numba compiles."""
    if compiled() is None:
        missing("numba is not installed")
    return compiled()
