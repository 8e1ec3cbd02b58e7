"""The manifest: what the rows of a transfer set came from, how they are stored, and how well.

`Settings` stand in every shard too, so that the manifest can be made again from the shards.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from limbeck._errors import TargetsError
from limbeck._files import fingerprint, parse_json, write_text
from limbeck._lookup import first_line
from limbeck.signals import Head, Space

MANIFEST = "manifest.json"
FORMAT: Final = 2
SHARD_NAME = r"^shard-\d{5,9}-[0-9a-f]{16}\.arrow$"
_LARGEST = 2**31 - 1

Count = Annotated[int, Field(ge=1, le=2**62)]
NotNegativeCount = Annotated[int, Field(ge=0, le=2**62)]
Size = Annotated[int, Field(ge=1, le=_LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(BaseModel):
    """A part of the manifest: frozen, of the declared types, no field that is not declared."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )


class TeacherRecord(_Record):
    """Who was asked."""

    fingerprint: str
    """Of its class and weights."""
    name: str
    """Its class, for people."""


class HeadRecord(_Record):
    """One head that was answered."""

    name: str
    space: Space
    size: Size
    classes: tuple[str, ...]

    @model_validator(mode="after")
    def _is_one(self) -> "HeadRecord":
        _ = self.head  # which cannot be made of what is none
        return self

    @classmethod
    def of(cls, head: Head) -> "HeadRecord":
        """The record of a head."""
        return cls(name=head.name, space=head.space, size=head.size, classes=head.classes)

    @property
    def head(self) -> Head:
        """The head of this record."""
        return Head(name=self.name, space=self.space, size=self.size, classes=self.classes)


class Origin(_Record):
    """Where rows were read that were not asked of the teacher."""

    path: Annotated[tuple[str, ...], Field(min_length=1)]
    """What they went through, oldest first: codecs, or the name of another tool's layout."""
    biased: bool
    """Whether what was dropped on the way moves the expected gradient."""
    kl_to_teacher: NotNegative | None
    """Mean KL divergence of the rows that were asked of the teacher, at the beginning of the path;
    None where that is not known."""


class Settings(_Record):
    """What the rows came from, and how they are stored. Rows of two settings never mix."""

    teacher: TeacherRecord
    data: str
    """Fingerprint of the samples' content keys, whatever their order."""
    transform: str
    """How views are made, and the version of that."""
    views: Size
    """Views 0 up to this number are stored of every sample."""
    heads: Annotated[tuple[HeadRecord, ...], Field(min_length=1)]
    compress: str
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    codec: str
    codec_options: dict[str, JsonValue]
    chosen_by: str = ""
    """The bounds that the codec was chosen by; empty if it was named."""
    state: Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")] = ""
    """Checksum of the file of what the codec learned of the heads; empty if it learned nothing."""
    origin: Origin | None = None
    """Where the rows were read; None if the teacher was asked."""

    def temperature_of(self, head: Head) -> float:
        """The temperature of a head's rows: numbers have none, which is 1."""
        return 1.0 if head.space == "real" else self.temperature

    def merged_into(self, whole: "Settings") -> "Settings":
        """These, with what may differ between the parts of one transfer set as it is in `whole`."""
        origin = self.origin
        if origin is not None and whole.origin is not None:
            kl = whole.origin.kl_to_teacher
            origin = origin.model_copy(update={"kl_to_teacher": kl})
        taken = {"data": whole.data, "chosen_by": whole.chosen_by, "origin": origin}
        return self.model_copy(update=taken)


class ShardRecord(_Record):
    """One file of rows."""

    file: Annotated[str, Field(pattern=SHARD_NAME)]
    samples: Count
    """Samples in it, each view counting as one."""
    rows: Count
    """Rows in it, over all heads."""
    bytes: Count
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """XXH3-64 of the file; its name carries it too."""


class Nearness(_Record):
    """How near rows are to those that they were converted from: means over the measured ones."""

    kl: NotNegative
    """KL(read || stored), in nats per row."""
    agreement: Fraction
    """Fraction of rows with the same most probable class."""
    squared_error: NotNegative
    """||stored - read||^2, in probability."""


class Card(_Record):
    """What storing the rows cost in bytes and in truth, measured on what was really stored."""

    rows: Count
    bytes: Count
    """Of all shards, and of what the codec learned."""
    learned_bytes: NotNegativeCount = 0
    """Of these, what the codec learned: once for all rows."""
    bytes_per_row: NotNegative
    """`bytes` over `rows`: keys and all."""
    dense_bytes_per_row: NotNegative
    """What float32 numbers for every entry would take."""
    rows_measured: NotNegativeCount
    """How many rows of classes the next three are means over: all, or those of some samples.
    They are None for rows of numbers, and for rows that were not asked of the teacher."""
    kl_to_teacher: NotNegative | None
    """Mean KL(live || stored) at the stored temperature, in nats per row; None for numbers."""
    agreement_with_teacher: Fraction | None
    """Fraction of rows whose most probable class is the teacher's; None for numbers."""
    squared_error: NotNegative | None
    """Mean over rows of ||stored - live||^2, in probability; None for numbers."""
    largest_difference: NotNegative | None
    """The largest, between two probabilities, drawn entries left out; or between two numbers,
    relative to the larger of 1 and the live one. None where the teacher was not asked."""
    biased: bool
    """True if what the codec, or one before it, drops moves the expected gradient."""
    to_origin: Nearness | None = None
    """Of converted rows, in place of the three means above, which nobody measured."""


class Manifest(_Record):
    """`manifest.json`."""

    format: Literal[2] = FORMAT
    settings: Settings
    rows_per_sample: dict[str, Size | None]
    """By head; None where a sample has one row and its answer no axis for rows."""
    shards: Annotated[tuple[ShardRecord, ...], Field(min_length=1)]
    card: Card

    @model_validator(mode="after")
    def _parts_agree(self) -> "Manifest":
        names = [head.name for head in self.settings.heads]
        if len(set(names)) != len(names) or sorted(self.rows_per_sample) != sorted(names):
            raise ValueError(f"rows_per_sample must name the heads {names} once each")
        files = [shard.file for shard in self.shards]
        if len(set(files)) != len(files):
            raise ValueError("a shard is listed twice")
        if any(shard.checksum not in shard.file for shard in self.shards):
            raise ValueError("a shard's name must carry its checksum")
        stored = {"rows": self.card.rows, "bytes": self.card.bytes - self.card.learned_bytes}
        for unit, said in stored.items():
            total = sum(getattr(shard, unit) for shard in self.shards)
            if total != said:
                raise ValueError(f"the shards' {unit} must add up to the card's, got {total}")
        return self


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, whole or not at all, with a checksum of what it says."""
    write_text(folder / MANIFEST, manifest_text(manifest.model_dump(mode="json")))


def manifest_text(said: Mapping[str, Any]) -> str:
    """`manifest.json`, to the letter, of what it says but its checksum."""
    whole = {**said, "checksum": fingerprint(said)}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json`.

    Raises:
        TargetsError: There is none, or it does not say what was written.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes().decode()
        said = parse_json(text)
        if not isinstance(said, dict):
            raise ValueError(f"expected an object, got {type(said).__name__}")
        checksum = said.pop("checksum", None)
        if checksum != fingerprint(said):
            raise ValueError(f"expected checksum {fingerprint(said)}, got {checksum}")
        if text != manifest_text(said):
            raise ValueError("it says the same, in other characters than were written")
        return Manifest.model_validate_json(json.dumps(said))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TargetsError(_absent(folder)) from error
    except OSError as error:
        raise TargetsError(
            f"{path} cannot be read: {error.strerror}. Look at its permissions."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise _damaged(path, f"{where}: {first['msg'].rstrip('.')}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, first_line(error)) from error


def _absent(folder: Path) -> str:
    if (folder / "targets" / MANIFEST).is_file():
        return f"{folder} is the folder of a run. Its transfer set is {folder / 'targets'}."
    if not folder.is_dir():
        return f"there is no transfer set {folder}: there is no such folder. Correct its name."
    return (
        f"{folder} holds no whole transfer set: there is no {MANIFEST}. Capture it, or capture it "
        "again with the same settings if that was interrupted."
    )


def _damaged(path: Path, why: str) -> TargetsError:
    return TargetsError(
        f"{path} is damaged or was changed: {why}. Delete that one file and capture again with "
        "the same settings: it is made from the shards, and the teacher is asked nothing twice."
    )
