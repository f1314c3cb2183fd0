"""Baselines in closed form, and regressions."""
