"""The forecaster, its baselines and its training."""
