"""Experiment 3: scores and calibration against the forecast horizon."""
