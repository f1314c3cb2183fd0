"""Experiment 2: scores against the number of training sessions and of parameters."""
