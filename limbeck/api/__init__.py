"""The pieces in Python: capture, distil, supervise, evaluate, each usable alone.

`data` is a `DataSet` (`limbeck.data.load`), or samples: a torch dataset, an `(inputs, labels)`
pair of arrays, or `Samples`.
"""

from limbeck.api._capture import capture as capture
from limbeck.api._capture_features import capture_features as capture_features
from limbeck.api._distil import distil as distil
from limbeck.api._evaluate import evaluate as evaluate
from limbeck.api._supervise import supervise as supervise

__all__ = ["capture", "capture_features", "distil", "evaluate", "supervise"]
