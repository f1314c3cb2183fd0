"""Sessions, forecasts and runs for tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the project."""
