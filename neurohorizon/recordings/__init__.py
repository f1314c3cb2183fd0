"""One recording in memory: forecasts, scores and streams from Python."""
