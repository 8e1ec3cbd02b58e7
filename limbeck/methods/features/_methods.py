"""Every feature method by name. A new one is a file beside this one, and a line here."""

from limbeck.methods.features._attention import attention
from limbeck.methods.features._contrast import contrast
from limbeck.methods.features._fitnets import fitnets
from limbeck.methods.features._method import FeatureMethod
from limbeck.methods.features._neighbourhoods import neighbourhoods
from limbeck.methods.features._relations import relations
from limbeck.methods.features._review import review
from limbeck.methods.features._similarity import similarity
from limbeck.methods.features._variational import variational

FEATURE_METHODS: dict[str, FeatureMethod] = {
    "fitnets": fitnets,
    "at": attention,
    "sp": similarity,
    "rkd": relations,
    "pkt": neighbourhoods,
    "vid": variational,
    "crd": contrast,
    "reviewkd": review,
}
"""Every feature method by name."""
