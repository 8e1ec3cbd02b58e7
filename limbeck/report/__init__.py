"""The page of a run: one HTML file, made from the result files alone."""

from limbeck.report._page import write_page as write_page
