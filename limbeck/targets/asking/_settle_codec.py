"""The codec of a capture: named, chosen by a budget, or that of another set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck._errors import OptionError
from limbeck._files import storage_errors
from limbeck._progress import Progress
from limbeck.data import Samples
from limbeck.signals import Head
from limbeck.targets.codecs import Codec, make_codec
from limbeck.targets.encoding._choose import AUTO, check_choice_of_codec, choose, chosen_by
from limbeck.targets.encoding._try_codecs import try_codecs
from limbeck.targets.format._manifest import MANIFEST, Settings
from limbeck.targets.format._shards import whole_shards
from limbeck.targets.format._state_file import States
from limbeck.targets.reading._transfer_set import TransferSet
from limbeck.teachers import Teacher

STAND_IN = "dense16"
"""What stands for the chosen codec while nothing is known of the teacher's rows."""


def planned_codec(
    heads: Sequence[Head],
    *,
    codec: str,
    codec_options: Mapping[str, Any],
    budget: str | None,
    max_kl: float | None,
    like: Path | str | None,
) -> Codec:
    """What is known of a capture's codec before the teacher is asked, by the words of `capture`.

    For "auto" it is one that stores every entry, until there are rows to choose on.

    Raises:
        OptionError: The words do not go together, one is not right, or a head does not fit.
        TargetsError: `like` is no transfer set.
    """
    if like is not None:
        if codec != STAND_IN or codec_options or budget is not None or max_kl is not None:
            raise OptionError(
                f"like = {str(like)!r} brings its codec. Do not name one, its options or a budget "
                "beside it."
            )
        return _codec_of(TransferSet(like), heads)
    check_choice_of_codec(codec, budget, max_kl)
    planned = make_codec(STAND_IN if codec == AUTO else codec, codec_options)
    for head in heads:
        planned.columns(head)  # refuses a head that it cannot store
    return planned


def with_choice(
    teacher: Teacher,
    samples: Samples,
    settings: Settings,
    folder: Path,
    budget: str | None,
    max_kl: float | None,
    progress: Progress,
) -> Settings:
    """The same settings with the codec that fits the bounds best.

    The codec of what lies in the folder already, where it was chosen by the same bounds.
    """
    settings = settings.model_copy(update={"chosen_by": chosen_by(budget, max_kl)})
    if earlier := _earlier(folder, settings):
        return earlier
    tried = try_codecs(
        teacher,
        samples,
        compress=settings.compress,
        temperature=settings.temperature,
        views=settings.views,
        progress=progress,
    )
    rows = len(np.unique(samples.keys)) * settings.views * tried[0].rows_per_sample
    chosen = choose(tried, rows=rows, budget=budget, max_kl=max_kl)
    for one in tried:
        progress.say(f"{one}{'   taken' if one is chosen else ''}")
    return settings.model_copy(update={"codec": chosen.codec, "codec_options": chosen.options})


def _earlier(folder: Path, settings: Settings) -> Settings | None:
    with storage_errors(folder):
        if (folder / MANIFEST).exists():
            there = TransferSet(folder).manifest.settings
        else:
            shards = whole_shards(folder)
            if not shards:
                return None
            there = shards[0].settings
    if there.chosen_by != settings.chosen_by:
        return None
    return settings.model_copy(update={"codec": there.codec, "codec_options": there.codec_options})


def with_codec_of(
    model: TransferSet, settings: Settings, heads: Sequence[Head]
) -> tuple[Settings, States]:
    """The same settings with another set's codec, and what that learned of its rows.

    Raises:
        OptionError: The other set is of other heads.
    """
    codec = _codec_of(model, heads)
    taken = {
        "codec": codec.name,
        "codec_options": codec.options,
        "state": model.manifest.settings.state,
    }
    return settings.model_copy(update=taken), model.states


def _codec_of(model: TransferSet, heads: Sequence[Head]) -> Codec:
    if tuple(model.heads) != tuple(heads):
        raise OptionError(
            f"like = {str(model.folder)!r} is of other heads: it holds {_named(model.heads)}, and "
            f"the teacher answers {_named(heads)}. Name a codec instead."
        )
    theirs = model.manifest.settings
    return make_codec(theirs.codec, theirs.codec_options)


def _named(heads: Sequence[Head]) -> str:
    return ", ".join(f"{head.name} ({head.space}, {head.size})" for head in heads)
