"""What somebody wrote who means harm: refused by name, whatever it says, and never acted on."""

import json
import math
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import limbeck.targets._state_file as state_file
import limbeck.targets._transfer_set as transfer_set
from limbeck._errors import TargetsError
from limbeck.targets import TransferSet
from limbeck.targets._manifest import manifest_text
from limbeck.targets._shards import open_shard

quickly = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MIB = 1 << 20


@contextmanager
def little_memory(size=512 * MIB):
    """No more than so many bytes beyond what the process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def only_inside(monkeypatch, tmp_path):
    """Fails when a file is named that is not of the transfer set's own folder."""

    def open_inside(path, **options):
        assert path.parent.resolve() == path.resolve().parent == (tmp_path / "set")
        return open_shard(path, **options)

    def state_inside(folder, checksum, inner=state_file.state_path):
        path = inner(folder, checksum)
        assert path.resolve().parent == (tmp_path / "set")
        return path

    monkeypatch.setattr(transfer_set, "open_shard", open_inside)
    monkeypatch.setattr(state_file, "state_path", state_inside)


names = st.sampled_from(
    ["../x", "/etc/passwd", "a/b", "\0", "\ud800", "", "..", "shard-00000-0123456789abcdef.arrow"]
)
numbers = st.sampled_from(
    [0, -1, 1, 2, 10**12, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, -0.0, math.nan, math.inf]
)
leaves = st.none() | st.booleans() | numbers | st.integers() | st.floats() | names | st.text()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=3,
)


def places(said, path=()):
    """Every path in some JSON."""
    yield path
    inner = said.items() if isinstance(said, dict) else ()
    inner = enumerate(said) if isinstance(said, list) else inner
    for name, value in inner:
        yield from places(value, (*path, name))


def changed(said, draw):
    """Some JSON in which something is other than it was."""
    said = json.loads(json.dumps(said))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(places(said))[1:] or [("added",)]))
        inside = said
        for name in way:
            inside = inside[name]
        how = draw(st.sampled_from(["replace", "replace", "drop", "add", "repeat"]))
        if how == "drop":
            del inside[last]
        elif how == "add" and isinstance(inside, dict):
            inside[draw(names | st.text())] = draw(values)
        elif how == "repeat" and isinstance(inside, list):
            inside.append(inside[last])
        else:
            inside[last] = draw(values)
    return said


def with_checksum(said):
    try:
        return manifest_text(said)
    except ValueError:  # NaN: nobody can make a checksum of that
        return json.dumps(said | {"checksum": "0" * 16})


@quickly
@given(data=st.data())
def test_whatever_a_manifest_says_it_is_refused_or_true(stored, only_inside, data):
    path = stored / "manifest.json"
    whole = path.read_text()
    said = json.loads(whole)
    said.pop("checksum")
    true = TransferSet(stored).manifest
    refused = None
    try:
        text = with_checksum(changed(said, data.draw))
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with little_memory():
            opened = TransferSet(stored)
            opened.read(torch.arange(3))
    except TargetsError as error:
        refused = str(error)
    finally:
        path.write_text(whole)
    if refused is None:
        assert opened.manifest == true
    else:
        assert "manifest.json" in refused or "not of one piece" in refused


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"a":' * 50_000, "[" * 10**6, "9" * 10**6])
def test_a_manifest_that_is_hard_to_read_is_refused(stored, text):
    (stored / "manifest.json").write_text(text)
    with little_memory(), pytest.raises(TargetsError, match=r"manifest\.json is damaged"):
        TransferSet(stored)
