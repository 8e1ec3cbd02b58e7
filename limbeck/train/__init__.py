"""The one training loop: teacher, control and student are trained by the same lines."""

from limbeck.train._checks import check_batch_norm as check_batch_norm
from limbeck.train._checks import check_weights as check_weights
from limbeck.train._fit import fit as fit
from limbeck.train._learner import Fitted as Fitted
from limbeck.train._learner import History as History
from limbeck.train._learner import Learner as Learner
from limbeck.train._learner import Teach as Teach
from limbeck.train._mixup import check_mixup as check_mixup
from limbeck.train._optimizer import make_optimizer as make_optimizer
from limbeck.train._order import Order as Order
from limbeck.train._order import generator as generator
from limbeck.train._order import generator_seed as generator_seed
from limbeck.train._schedule import schedule_factor as schedule_factor

__all__ = [
    "Fitted",
    "History",
    "Learner",
    "Order",
    "Teach",
    "check_batch_norm",
    "check_mixup",
    "check_weights",
    "fit",
    "generator",
    "generator_seed",
    "make_optimizer",
    "schedule_factor",
]
