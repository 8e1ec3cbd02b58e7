"""Models: small architectures usable on either side, and how any torch module is read."""

from limbeck.models._architecture import architecture as architecture
from limbeck.models._build import MODELS as MODELS
from limbeck.models._build import Interface as Interface
from limbeck.models._build import build as build
from limbeck.models._build import build_section as build_section
from limbeck.models._cifar_resnet import CifarResNet as CifarResNet
from limbeck.models._cnn import CNN as CNN
from limbeck.models._mlp import MLP as MLP
from limbeck.models._soft_tree import SoftTree as SoftTree
from limbeck.models._taken import Taken as Taken
from limbeck.models._warm_start import STARTS as STARTS
from limbeck.models._warm_start import warm_start as warm_start
from limbeck.models._weights import load as load
from limbeck.models._weights import load_weights as load_weights
from limbeck.models._weights import parameter_count as parameter_count
from limbeck.models._weights import save as save
from limbeck.models._weights import save_weights as save_weights
from limbeck.models._wide_resnet import WideResNet as WideResNet

__all__ = [
    "CNN",
    "MLP",
    "MODELS",
    "STARTS",
    "CifarResNet",
    "Interface",
    "SoftTree",
    "Taken",
    "WideResNet",
    "architecture",
    "build",
    "build_section",
    "load",
    "load_weights",
    "parameter_count",
    "save",
    "save_weights",
    "warm_start",
]
