"""Answer for one recording: will the forecast work on it, as JSON and as one page."""
