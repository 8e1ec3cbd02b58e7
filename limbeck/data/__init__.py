"""Data: where samples come from, how they are split, keyed and viewed."""

from limbeck.data._arrays import samples as samples
from limbeck.data._arrays import samples_and_heads as samples_and_heads
from limbeck.data._data_set import DataSet as DataSet
from limbeck.data._data_set import check_inputs as check_inputs
from limbeck.data._data_set import check_split as check_split
from limbeck.data._dataset_samples import DatasetSamples as DatasetSamples
from limbeck.data._encoder import CharacterEncoder as CharacterEncoder
from limbeck.data._encoder import TableEncoder as TableEncoder
from limbeck.data._encoder import TextEncoder as TextEncoder
from limbeck.data._encoder import load_encoder as load_encoder
from limbeck.data._heads import infer_head as infer_head
from limbeck.data._load import SOURCES as SOURCES
from limbeck.data._load import load as load
from limbeck.data._samples import ArraySamples as ArraySamples
from limbeck.data._samples import Samples as Samples
from limbeck.data._samples import content_fingerprint as content_fingerprint
from limbeck.data._split import Cut as Cut
from limbeck.data._tensors import Keys as Keys
from limbeck.data._tensors import as_model_input as as_model_input
from limbeck.data._tensors import content_keys as content_keys
from limbeck.data._views import Views as Views
