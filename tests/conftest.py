"""What every test runs under: one thread, one seed, no network; and where the real data is."""

import gc
import ipaddress
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

# Before torch, keras and the Hub client are imported; a subprocess inherits them.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).parents[1]

torch.set_num_threads(1)
hypothesis.settings.register_profile("limbeck", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("limbeck")


def missing(reason: str) -> NoReturn:
    """Skip the test for want of a tool or data set; fail it under `CI=true`, which has them all."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing under CI=true: {reason}")
    pytest.skip(reason)


LONGEST_FIRST = [
    "test_readme.py",
    "test_examples.py",
    "test_two_processes.py",
    "test_resume.py",
    "test_mutants.py",
    "test_ray.py",
]
"""Files of whole commands: begun last, one of them would keep one worker while others wait."""


gc.disable()  # while all is imported and collected, of which nothing goes


def pytest_collection_finish() -> None:
    """What is there now stays, so that no collection need look at it again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, all others in their order."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real data sets: `$LIMBECK_DATA`, or `../shared/data` beside the checkout."""
    root = Path(os.environ.get("LIMBECK_DATA") or REPOSITORY.parent / "shared" / "data")
    if not root.is_dir():
        missing(f"no data folder {root}. Name it with LIMBECK_DATA.")
    return root


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _same_folder() -> Iterator[None]:
    """A file of tests that leaves the process in another folder fails, not the file after it."""
    before = Path.cwd()
    yield
    assert Path.cwd() == before, "a test changed the working folder and left it so"


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every connection that would leave this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            allowed = getattr(socket.socket, name)

            def guarded(self: socket.socket, address: Any, allowed: Any = allowed) -> Any:
                if self.family != socket.AF_UNIX and not _is_loopback(address[0]):
                    raise RuntimeError(f"a test may not use the network, got {address!r}.")
                return allowed(self, address)

            patch.setattr(socket.socket, name, guarded)
        yield


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
