"""The transfer set: what a teacher said, compressed, on disk, found by content."""

from limbeck.targets._convert import convert as convert
from limbeck.targets._merge import merge as merge
from limbeck.targets._parquet import to_parquet as to_parquet
from limbeck.targets.asking._ask import Processes as Processes
from limbeck.targets.asking._capture import ENGINES as ENGINES
from limbeck.targets.asking._capture import capture as capture
from limbeck.targets.asking._settle_codec import planned_codec as planned_codec
from limbeck.targets.codecs import CODECS as CODECS
from limbeck.targets.codecs import Codec as Codec
from limbeck.targets.codecs import make_codec as make_codec
from limbeck.targets.encoding._choose import choose as choose
from limbeck.targets.encoding._compress import COMPRESSIONS as COMPRESSIONS
from limbeck.targets.encoding._compress import compressed as compressed
from limbeck.targets.encoding._measure import faithfulness as faithfulness
from limbeck.targets.encoding._trial import as_stored as as_stored
from limbeck.targets.encoding._try_codecs import Measured as Measured
from limbeck.targets.encoding._try_codecs import try_codecs as try_codecs
from limbeck.targets.format._faithfulness import Faithfulness as Faithfulness
from limbeck.targets.format._index import data_fingerprint as data_fingerprint
from limbeck.targets.format._manifest import Card as Card
from limbeck.targets.format._manifest import Manifest as Manifest
from limbeck.targets.reading._aligned import AlignedTargets as AlignedTargets
from limbeck.targets.reading._batch import collate as collate
from limbeck.targets.reading._batch import split_batch as split_batch
from limbeck.targets.reading._compare import compare as compare
from limbeck.targets.reading._dataset import TargetsDataset as TargetsDataset
from limbeck.targets.reading._describe import describe as describe
from limbeck.targets.reading._ensemble import Ensemble as Ensemble
from limbeck.targets.reading._ensemble import most_confident as most_confident
from limbeck.targets.reading._key_column import TargetsCollator as TargetsCollator
from limbeck.targets.reading._key_column import add_keys as add_keys
from limbeck.targets.reading._targets import Targets as Targets
from limbeck.targets.reading._transfer_set import TransferSet as TransferSet
from limbeck.targets.reading._weigh import weigh as weigh

__all__ = [
    "CODECS",
    "COMPRESSIONS",
    "ENGINES",
    "AlignedTargets",
    "Card",
    "Codec",
    "Ensemble",
    "Faithfulness",
    "Manifest",
    "Measured",
    "Processes",
    "Targets",
    "TargetsCollator",
    "TargetsDataset",
    "TransferSet",
    "add_keys",
    "as_stored",
    "capture",
    "choose",
    "collate",
    "compare",
    "compressed",
    "convert",
    "data_fingerprint",
    "describe",
    "faithfulness",
    "make_codec",
    "merge",
    "most_confident",
    "planned_codec",
    "split_batch",
    "to_parquet",
    "try_codecs",
    "weigh",
]
