"""Forecast files of all methods, and their sums of scores."""
