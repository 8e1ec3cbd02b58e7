"""Which settings to try next, and which to give up: optuna (https://optuna.org) proposes.

A pass of training has one learning rate and one length; what is tried in it shares both. What was
tried lies in a file of ours, whole after each trial.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from limbeck._errors import ExtraError, StorageError
from limbeck._files import parse_json, reading_errors, write_json
from limbeck._lookup import first_line
from limbeck.pipeline._search_space import Candidate, SearchSpace

_LOOKS = 4
"""A trial is compared with others at each quarter of its length."""
_FIRST_WHOLE = 4
"""Trials that are never given up: there is nothing to compare them with."""
_FIRST_RANDOM = 8
"""Trials that are drawn at random: there is nothing to learn from."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate that was tried."""

    candidate: Candidate
    score: float | None
    """On the validation data; None if it was given up on the way."""
    seen: dict[int, float]
    """The score after each quarter of the training that was looked at, by quarter."""


_TRIALS = TypeAdapter(list[Trial])


class Search:
    """A search that goes on where it stopped.

    Args:
        path: The file that holds what was tried; of this search alone.
        space: What is looked for.
        higher_is_better: Which way a score is better.
        own: The recipe's own setting, which is tried first, and need not lie within the space.

    Raises:
        ExtraError: optuna is not there.
        StorageError: The file is damaged.
    """

    def __init__(
        self, path: Path, space: SearchSpace, *, higher_is_better: bool, own: Candidate
    ) -> None:
        self._optuna = optuna = library()
        self._path, self._own = path, own
        self.trials = _read(path)
        """All that was tried to an end, in order."""
        floats = ("temperature", "learning_rate")
        self._space = {
            "hard_weight": optuna.distributions.FloatDistribution(*space.hard_weight),
            "method": optuna.distributions.CategoricalDistribution(list(space.methods)),
            "epochs": optuna.distributions.CategoricalDistribution(list(space.epochs)),
            **{
                name: optuna.distributions.FloatDistribution(*getattr(space, name), log=True)
                for name in floats
            },
        }
        self._study = optuna.create_study(
            direction="maximize" if higher_is_better else "minimize",
            sampler=optuna.samplers.TPESampler(
                seed=len(self.trials), constant_liar=True, n_startup_trials=_FIRST_RANDOM
            ),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_WHOLE),
        )
        for number, trial in enumerate(self.trials):
            self._study.add_trial(self._as_theirs(trial, is_own=number == 0))

    def _as_theirs(self, trial: Trial, *, is_own: bool) -> Any:
        states = self._optuna.trial.TrialState
        space = {} if is_own else self._space
        return self._optuna.trial.create_trial(
            state=states.PRUNED if trial.score is None else states.COMPLETE,
            value=trial.score,
            params={name: getattr(trial.candidate, name) for name in space},
            distributions=space,
            intermediate_values=trial.seen,
        )

    def ask(self, count: int) -> list["Asked"]:
        """The next candidates, which share a learning rate and a length."""
        first = self._ask() if self.trials else Asked(self._own, self._study.ask())
        shared = {"learning_rate": first.candidate.learning_rate, "epochs": first.candidate.epochs}
        asked = [first]
        for _ in range(count - 1):
            self._study.enqueue_trial(shared)
            asked.append(self._ask())
        return asked

    def _ask(self) -> "Asked":
        trial = self._study.ask(self._space)
        candidate = Candidate(**trial.params, soft_weight=1 - trial.params["hard_weight"])
        return Asked(candidate, trial)

    def tell(self, asked: "Asked", score: float | None) -> None:
        """Keep what came of a candidate: its score, or None if it was given up."""
        states = self._optuna.trial.TrialState
        state = states.PRUNED if score is None else states.COMPLETE
        self._study.tell(asked.trial, score, state=state)
        self.trials.append(Trial(candidate=asked.candidate, score=score, seen=asked.seen))
        write_json(self._path, [asdict(trial) for trial in self.trials])


class Asked:
    """One candidate that is being tried.

    Args:
        candidate: What to train.
        trial: optuna's.
    """

    def __init__(self, candidate: Candidate, trial: Any) -> None:
        self.candidate, self.trial = candidate, trial
        self.seen: dict[int, float] = {}
        """The score after each quarter that was looked at."""
        self.given_up = False

    def goes_on(self, scores: Sequence[float | None]) -> bool:
        """Whether it is worth going on with.

        Args:
            scores: The validation score after each epoch so far, None where it was not measured.
        """
        done, epochs, score = len(scores), self.candidate.epochs, scores[-1]
        quarter = done * _LOOKS // epochs
        if quarter == (done - 1) * _LOOKS // epochs or quarter == _LOOKS or score is None:
            return True
        if quarter not in self.seen:  # else the pass is done again
            self.seen[quarter] = score
            self.trial.report(score, quarter)
        self.given_up = bool(self.trial.should_prune())
        return not self.given_up


def _read(path: Path) -> list[Trial]:
    try:
        with reading_errors(path):
            return _TRIALS.validate_python(parse_json(path.read_bytes()))
    except FileNotFoundError:
        return []
    except ValueError as error:  # of JSON, and pydantic's
        raise StorageError(
            f"{path} is damaged ({first_line(error)}). Delete it: the search then begins anew."
        ) from None


def library() -> Any:
    """optuna, quiet.

    Raises:
        ExtraError: It is not there.
    """
    try:
        import optuna
    except ImportError:
        raise ExtraError("`limbeck tune` needs optuna. pip install 'limbeck[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
