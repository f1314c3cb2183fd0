"""The forecaster and its training."""
