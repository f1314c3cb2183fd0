"""Checks of our scores against other definitions, another package and planted effects."""
