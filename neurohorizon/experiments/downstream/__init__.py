"""Experiment 5: behaviour decoded from latents, from counts and by POYO."""
