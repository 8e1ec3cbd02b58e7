"""Rows by sample: of one transfer set or several, for the loop of whoever asks."""
