"""Simulated releases in the formats of the IBL and of the Allen Institute, with known rates."""
