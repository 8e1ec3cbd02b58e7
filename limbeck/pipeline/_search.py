"""Which settings to try next, and which to give up: optuna (https://optuna.org), in a file.

A pass of training has one learning rate and one length; what is tried in it shares both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck._errors import ExtraError
from limbeck.pipeline._search_space import Candidate, SearchSpace

_LOOKS = 4
"""A trial is compared with others at each quarter of its length."""
_FIRST_WHOLE = 4
"""Trials that are never given up: there is nothing to compare them with."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate that was tried."""

    number: int
    candidate: Candidate
    score: float | None
    """On the validation data; None if it was given up on the way."""
    seen: dict[int, float]
    """The score after each quarter of the training that was looked at, by quarter."""


class Search:
    """A search that goes on where it stopped.

    Args:
        path: The file that holds what was tried.
        name: Of the search in it: another recipe, or other data, has another one.
        space: What is looked for.
        higher_is_better: Which way a score is better.
        own: The recipe's own setting, which is tried first.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        space: SearchSpace,
        *,
        higher_is_better: bool,
        own: Candidate,
    ) -> None:
        optuna = _library()
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path.parent.mkdir(parents=True, exist_ok=True)
        self._space = space
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(
            study_name=name,
            storage=JournalStorage(JournalFileBackend(str(path))),
            load_if_exists=True,
            direction="maximize" if higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_WHOLE),
        )
        for trial in self._study.get_trials(deepcopy=False, states=[self._states.RUNNING]):
            self._study.tell(trial.number, state=self._states.FAIL)  # it was stopped
        done = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = optuna.samplers.TPESampler(
            seed=done, constant_liar=True, n_startup_trials=8
        )
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial({}, user_attrs={"own": own.facts})

    def ask(self, count: int) -> list["Asked"]:
        """The next candidates, which share a learning rate and a length."""
        first = self._ask()
        shared = {"learning_rate": first.candidate.learning_rate, "epochs": first.candidate.epochs}
        asked = [first]
        for _ in range(count - 1):
            self._study.enqueue_trial(shared)
            asked.append(self._ask())
        return asked

    def _ask(self) -> "Asked":
        space, trial = self._space, self._study.ask()
        if own := trial.user_attrs.get("own"):
            candidate = Candidate(**own)  # it need not lie within the bounds
        else:
            hard = trial.suggest_float("hard_weight", *space.hard_weight)
            candidate = Candidate(
                method=trial.suggest_categorical("method", list(space.methods)),
                temperature=trial.suggest_float("temperature", *space.temperature, log=True),
                hard_weight=hard,
                soft_weight=1 - hard,
                learning_rate=trial.suggest_float("learning_rate", *space.learning_rate, log=True),
                epochs=trial.suggest_categorical("epochs", list(space.epochs)),
            )
        trial.set_user_attr("candidate", candidate.facts)
        return Asked(candidate, self._study, trial, self._states)

    @property
    def trials(self) -> list[Trial]:
        """All that was tried to an end, in order."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state not in (self._states.COMPLETE, self._states.PRUNED):
                continue
            whole = trial.state == self._states.COMPLETE
            found.append(
                Trial(
                    number=trial.number,
                    candidate=Candidate(**trial.user_attrs["candidate"]),
                    score=trial.value if whole else None,
                    seen=dict(trial.intermediate_values),
                )
            )
        return found


class Asked:
    """One candidate that is being tried."""

    def __init__(self, candidate: Candidate, study: Any, trial: Any, states: Any) -> None:
        self.candidate = candidate
        self.given_up = False
        self._looked: set[int] = set()
        self._study, self._trial, self._states = study, trial, states

    def goes_on(self, scores: Sequence[float | None]) -> bool:
        """Whether it is worth going on with.

        Args:
            scores: The validation score after each epoch so far, None where it was not measured.
        """
        done, epochs = len(scores), self.candidate.epochs
        quarter = done * _LOOKS // epochs
        if quarter == (done - 1) * _LOOKS // epochs or quarter == _LOOKS or scores[-1] is None:
            return True
        if quarter not in self._looked:  # a pass that is done again
            self._looked.add(quarter)
            self._trial.report(scores[-1], quarter)
        self.given_up = bool(self._trial.should_prune())
        return not self.given_up

    def give_up(self) -> None:
        """Nothing can come of it."""
        self.given_up = True

    def tell(self, score: float) -> None:
        """Keep what came of it."""
        if self.given_up:
            self._study.tell(self._trial, state=self._states.PRUNED)
        else:
            self._study.tell(self._trial, score)


def _library() -> Any:
    try:
        import optuna
    except ImportError:
        raise ExtraError("`limbeck tune` needs optuna. pip install 'limbeck[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
