"""Batches of windows from session files."""
