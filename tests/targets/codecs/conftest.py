import pytest

from limbeck.targets.codecs._compiled import compiled
from tests.conftest import missing


@pytest.fixture(scope="session")
def loops():
    """The loops that numba compiles."""
    if compiled() is None:
        missing("numba is not installed")
    return compiled()
