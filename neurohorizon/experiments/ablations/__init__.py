"""Experiment 6: the network without one part at a time."""
