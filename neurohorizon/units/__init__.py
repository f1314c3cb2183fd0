"""Descriptions of a unit from a reference window: counts, statistics and closed-form fits."""
