"""The manifest of a transfer set, made from its shards alone."""

from collections.abc import Sequence

import numpy as np

from limbeck.targets.codecs import make_codec
from limbeck.targets.format._blocks import rows_of_a_sample
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._index import data_fingerprint
from limbeck.targets.format._manifest import Card, Manifest, Nearness, Origin, Settings
from limbeck.targets.format._shards import Shard
from limbeck.targets.format._state_file import state_path


def manifest_of(shards: Sequence[Shard]) -> Manifest:
    """The manifest of a transfer set that is these shards."""
    settings, rows_per_sample = _settings_of(shards), shards[0].rows_per_sample
    records = tuple(shard.record for shard in shards)
    learned = _learned_bytes(shards[0])
    rows = sum(record.rows for record in records)
    size = learned + sum(record.bytes for record in records)
    measured = sum((shard.faithfulness for shard in shards), Faithfulness())
    numbers = sum((rows_per_sample[head.name] or 1) * head.size for head in settings.heads)
    asked = settings.origin is None
    codec = make_codec(settings.codec, settings.codec_options)
    return Manifest(
        settings=settings,
        rows_per_sample=dict(rows_per_sample),
        shards=records,
        card=Card(
            rows=rows,
            bytes=size,
            learned_bytes=learned,
            bytes_per_row=size / rows,
            dense_bytes_per_row=4 * numbers / rows_of_a_sample(rows_per_sample),
            rows_measured=measured.compared,
            kl_to_teacher=measured.mean_kl if asked else None,
            agreement_with_teacher=measured.mean_agreement if asked else None,
            squared_error=measured.mean_squared if asked else None,
            largest_difference=measured.difference if asked else None,
            biased=codec.biased or (settings.origin is not None and settings.origin.biased),
            to_origin=None if asked else _nearness(measured),
        ),
    )


def _learned_bytes(shard: Shard) -> int:
    """The size of the file of what its codec learned, beside it; 0 if it learned nothing."""
    path = state_path(shard.path.parent, shard.settings.state)
    return path.stat().st_size if shard.settings.state and path.is_file() else 0


def _settings_of(shards: Sequence[Shard]) -> Settings:
    """Those of every shard; of several that were merged, with the samples of all."""
    settings = shards[0].settings
    if all(shard.settings.data == settings.data for shard in shards):
        return settings
    keys = np.concatenate([shard.keys for shard in shards])
    return settings.model_copy(
        update={
            "data": data_fingerprint(keys),
            "chosen_by": "",
            "origin": _origin_of(shards),
        }
    )


def _origin_of(shards: Sequence[Shard]) -> Origin | None:
    """Where the rows of all these shards were read: by the same path, from several sets."""
    origin = shards[0].settings.origin
    if origin is None:
        return None
    known, rows = 0.0, 0
    for shard in shards:
        one = shard.settings.origin
        if one is None or one.kl_to_teacher is None:
            return origin.model_copy(update={"kl_to_teacher": None})
        known += one.kl_to_teacher * shard.faithfulness.rows
        rows += shard.faithfulness.rows
    return origin.model_copy(update={"kl_to_teacher": known / rows})


def _nearness(measured: Faithfulness) -> Nearness | None:
    kl, agreement, squared = measured.mean_kl, measured.mean_agreement, measured.mean_squared
    if kl is None or agreement is None or squared is None:
        return None
    return Nearness(kl=kl, agreement=agreement, squared_error=squared)
