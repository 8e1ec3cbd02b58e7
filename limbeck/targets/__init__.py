"""The transfer set: what a teacher said, compressed, on disk, found by content."""

from limbeck.targets._aligned import AlignedTargets as AlignedTargets
from limbeck.targets._batch import collate as collate
from limbeck.targets._batch import split_batch as split_batch
from limbeck.targets._capture import Processes as Processes
from limbeck.targets._capture import capture as capture
from limbeck.targets._compare import compare as compare
from limbeck.targets._compress import COMPRESSIONS as COMPRESSIONS
from limbeck.targets._compress import compressed as compressed
from limbeck.targets._dataset import TargetsDataset as TargetsDataset
from limbeck.targets._describe import describe as describe
from limbeck.targets._ensemble import Ensemble as Ensemble
from limbeck.targets._ensemble import most_confident as most_confident
from limbeck.targets._index import data_fingerprint as data_fingerprint
from limbeck.targets._key_column import TargetsCollator as TargetsCollator
from limbeck.targets._key_column import add_keys as add_keys
from limbeck.targets._manifest import Card as Card
from limbeck.targets._manifest import Manifest as Manifest
from limbeck.targets._measure import Faithfulness as Faithfulness
from limbeck.targets._measure import faithfulness as faithfulness
from limbeck.targets._targets import Targets as Targets
from limbeck.targets._transfer_set import TransferSet as TransferSet
from limbeck.targets._trial import as_stored as as_stored
from limbeck.targets.codecs import CODECS as CODECS
from limbeck.targets.codecs import Codec as Codec
from limbeck.targets.codecs import make_codec as make_codec

__all__ = [
    "CODECS",
    "COMPRESSIONS",
    "AlignedTargets",
    "Card",
    "Codec",
    "Ensemble",
    "Faithfulness",
    "Manifest",
    "Processes",
    "Targets",
    "TargetsCollator",
    "TargetsDataset",
    "TransferSet",
    "add_keys",
    "as_stored",
    "capture",
    "collate",
    "compare",
    "compressed",
    "data_fingerprint",
    "describe",
    "faithfulness",
    "make_codec",
    "most_confident",
    "split_batch",
]
