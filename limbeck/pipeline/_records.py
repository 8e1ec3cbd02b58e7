"""What a finished stage leaves: a record of what it depended on, made, and cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from limbeck._files import file_hash, parse_json, write_json


class Record(BaseModel):
    """One finished stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    fingerprint: str
    """Of everything that the stage depended on."""
    seconds: float
    """What it took, over all the times that it was continued."""
    flops: int | None
    """What it computed, estimated from torch's counter."""
    files: dict[str, str] = {}
    """Hash of each file it made, by path below the run's folder."""
    facts: dict[str, Any] = {}
    """What later stages want to know of it."""


class Records:
    """The records of a run's stages, one small file each.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, stage: str, fingerprint: str) -> Record | None:
        """The stage's record, if it is done: same fingerprint, and its files as it left them."""
        try:
            record = Record.model_validate(parse_json(self._path(stage).read_bytes().decode()))
        except (OSError, ValueError):  # also of pydantic, JSON and UTF-8
            return None
        if record.fingerprint != fingerprint:
            return None
        for name, digest in record.files.items():
            path = self._folder / name
            if not path.is_file() or file_hash(path) != digest:
                return None
        return record

    def write(
        self,
        stage: str,
        fingerprint: str,
        *,
        seconds: float,
        flops: int | None,
        files: list[Path],
        facts: Mapping[str, Any],
    ) -> Record:
        """Say that a stage is done."""
        record = Record(
            fingerprint=fingerprint,
            seconds=seconds,
            flops=flops,
            files={str(path.relative_to(self._folder)): file_hash(path) for path in files},
            facts=dict(facts),
        )
        write_json(self._path(stage), record.model_dump(mode="json"))
        return record

    def exchange(self, stage: str, made: str, wanted: str) -> None:
        """Put the record of a stage under fingerprint `made` aside, and bring back `wanted`."""
        path = self._path(stage)
        if path.is_file():
            path.replace(self._path(f"{stage}-{made}"))
        aside = self._path(f"{stage}-{wanted}")
        if aside.is_file():
            aside.replace(path)

    def _path(self, stage: str) -> Path:
        return self._folder / "stages" / f"{stage}.json"
