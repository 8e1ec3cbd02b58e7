"""A run whose transfer set lies outside of its folder."""

import pytest

from limbeck._errors import TargetsError
from limbeck.pipeline import make_targets, run
from limbeck.targets import TransferSet
from tests.pipeline.examples import small


@pytest.mark.parametrize("url", [False, True])
def test_two_runs_share_one_transfer_set(tmp_path, url, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    folder = f"memory://{tmp_path.name}" if url else str(tmp_path / "shared")
    recipe = small(tmp_path, "seeds=1", f'targets.folder="{folder}"')
    [made] = make_targets(recipe, tmp_path / "one")
    assert not (tmp_path / "one" / "targets").exists()
    before = made.manifest
    for name in ("one", "two"):
        assert run(recipe, tmp_path / name).targets.bytes == before.card.bytes
    assert TransferSet(folder).manifest == before
    other = small(tmp_path, "seeds=1", f'targets.folder="{folder}"', "targets.temperature=2")
    with pytest.raises(TargetsError, match=r"temperature: expected 2\.0, got 4\.0"):
        make_targets(other, tmp_path / "one")
