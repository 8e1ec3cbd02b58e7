"""Every feature method by name. A new one is a file beside this one, and a line here."""

from limbeck.methods.features._attention import attention
from limbeck.methods.features._boundaries import boundaries
from limbeck.methods.features._channels import channels
from limbeck.methods.features._class_attention import class_attention
from limbeck.methods.features._contrast import contrast
from limbeck.methods.features._correlation import correlation
from limbeck.methods.features._cosine import cosine
from limbeck.methods.features._factors import factors
from limbeck.methods.features._fitnets import fitnets
from limbeck.methods.features._flow import flow
from limbeck.methods.features._generation import generation
from limbeck.methods.features._kernel_alignment import kernel_alignment
from limbeck.methods.features._layers import layers
from limbeck.methods.features._method import FeatureMethod
from limbeck.methods.features._neighbourhoods import neighbourhoods
from limbeck.methods.features._overhaul import overhaul
from limbeck.methods.features._patient import patient
from limbeck.methods.features._regression import regression
from limbeck.methods.features._relations import relations
from limbeck.methods.features._reused import reused
from limbeck.methods.features._review import review
from limbeck.methods.features._selectivity import selectivity
from limbeck.methods.features._self_attention import self_attention
from limbeck.methods.features._semantic import semantic
from limbeck.methods.features._similarity import similarity
from limbeck.methods.features._variational import variational

FEATURE_METHODS: dict[str, FeatureMethod] = {
    "fitnets": fitnets,
    "at": attention,
    "fsp": flow,
    "nst": selectivity,
    "sp": similarity,
    "pkt": neighbourhoods,
    "rkd": relations,
    "cc": correlation,
    "cka": kernel_alignment,
    "vid": variational,
    "ab": boundaries,
    "ft": factors,
    "ofd": overhaul,
    "crd": contrast,
    "reviewkd": review,
    "semckd": semantic,
    "srrl": regression,
    "simkd": reused,
    "catkd": class_attention,
    "mgd": generation,
    "cwd": channels,
    "pkd": patient,
    "minilm": self_attention,
    "tinybert": layers,
    "distilbert": cosine,
}
"""Every feature method by name."""
