"""Sessions, forecasts and runs that tests are made of."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the project."""
