"""Methods: distillation objectives, by name, each with a card that says when to use it.

Those of rows are here; those of features, which see inside the models, in `features`.

A recipe chooses one by `distil.method`, and sets its `distil.options`. docs/adding-a-method.md says
how to add one.
"""

from limbeck.methods._beside import BESIDE as BESIDE
from limbeck.methods._beside import Beside as Beside
from limbeck.methods._beside import find_beside as find_beside
from limbeck.methods._branches import branch_terms as branch_terms
from limbeck.methods._method import Card as Card
from limbeck.methods._method import Method as Method
from limbeck.methods._method import Options as Options
from limbeck.methods._method import Paper as Paper
from limbeck.methods._methods import METHODS as METHODS
from limbeck.methods._methods import every_method as every_method
from limbeck.methods._methods import find_method as find_method
from limbeck.methods._methods import name_here as name_here
from limbeck.methods._methods import read_options as read_options
from limbeck.methods._objective import NO_OPTIONS as NO_OPTIONS
from limbeck.methods._objective import check_features as check_features
from limbeck.methods._objective import check_rows as check_rows
from limbeck.methods._objective import feature_terms as feature_terms
from limbeck.methods._objective import fitting_methods as fitting_methods
from limbeck.methods._objective import objective as objective
from limbeck.methods._objective import objective_of as objective_of
from limbeck.methods._objective import taps_of as taps_of
from limbeck.methods._objective import teacher_taps_of as teacher_taps_of
from limbeck.methods._own import method_code as method_code
from limbeck.methods._own import method_name as method_name
from limbeck.methods._paced import Paced as Paced
from limbeck.methods._students import alone as alone
from limbeck.methods._students import learns_from as learns_from
from limbeck.methods._students import said_by_average as said_by_average
from limbeck.methods._students import said_by_peers as said_by_peers
from limbeck.methods._terms import SUPERVISED as SUPERVISED
from limbeck.methods._terms import AnyTerm as AnyTerm
from limbeck.methods._terms import BranchTerm as BranchTerm
from limbeck.methods._terms import FeatureTerm as FeatureTerm
from limbeck.methods._terms import Objective as Objective
from limbeck.methods._terms import Term as Term
from limbeck.methods._terms import TermLoss as TermLoss
from limbeck.methods._terms import mean_terms as mean_terms
from limbeck.methods._terms import only_from_labels as only_from_labels
from limbeck.methods._terms import supervised as supervised
from limbeck.methods._terms import unlabelled_warnings as unlabelled_warnings

__all__ = [
    "BESIDE",
    "METHODS",
    "NO_OPTIONS",
    "SUPERVISED",
    "AnyTerm",
    "Beside",
    "BranchTerm",
    "Card",
    "FeatureTerm",
    "Method",
    "Objective",
    "Options",
    "Paced",
    "Paper",
    "Term",
    "TermLoss",
    "alone",
    "branch_terms",
    "check_features",
    "check_rows",
    "every_method",
    "feature_terms",
    "find_beside",
    "find_method",
    "fitting_methods",
    "learns_from",
    "mean_terms",
    "method_code",
    "method_name",
    "name_here",
    "objective",
    "objective_of",
    "only_from_labels",
    "read_options",
    "said_by_average",
    "said_by_peers",
    "supervised",
    "taps_of",
    "teacher_taps_of",
    "unlabelled_warnings",
]
