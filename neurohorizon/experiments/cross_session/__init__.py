"""Experiment 1: zero-shot forecasts of unseen animals."""
