"""The conditions of conftest.py hold."""

import socket

import pytest
import torch

from tests.conftest import missing


def test_a_connection_that_leaves_the_machine_is_refused():
    with socket.socket() as client, pytest.raises(RuntimeError, match="may not use the network"):
        client.connect(("192.0.2.1", 80))


def test_a_connection_to_this_machine_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_something_missing_skips_here_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        missing("no browser")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        missing("no browser")


@pytest.mark.parametrize("again", [False, True])
def test_each_test_starts_from_the_same_seed(again):
    expected = torch.rand(1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.rand(1), expected)


def test_torch_has_one_thread():
    assert torch.get_num_threads() == 1
