"""Zero-shot forecasting of neural population activity."""

__version__ = "0.1.0"
