"""Pages of one HTML file each, made from result files alone."""

from limbeck.report._codec_curve import CodecPoint as CodecPoint
from limbeck.report._codec_curve import write_codec_curve as write_codec_curve
from limbeck.report._page import write_page as write_page
from limbeck.report._trials import FinalPoint as FinalPoint
from limbeck.report._trials import TrialPoint as TrialPoint
from limbeck.report._trials import write_trials as write_trials
