"""Experiment 4: behaviour and images next to the spikes."""
