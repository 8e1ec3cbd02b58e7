"""A task: the data, the heads, and the metric that belong together."""

from dataclasses import dataclass

from limbeck.data import DataSet, Views, load
from limbeck.metrics import Metric, metric_for
from limbeck.recipe import Data


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned, and how it is scored."""

    data: DataSet
    """The three splits."""
    metric: Metric
    """The score of the first head."""


def load_task(settings: Data) -> Task:
    """The task that a recipe's `[data]` names.

    Raises:
        DataError: The data are missing, damaged or not what they should be.
        OptionError: The metric does not exist, or is not for these labels.
    """
    data = load(
        settings.source,
        path=settings.path,
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
        limit=settings.limit,
        labelled=settings.labelled,
        views=Views(**settings.augment.model_dump()),
        options=settings.options,
    )
    return Task(data=data, metric=metric_for(data.head, settings.metric))
