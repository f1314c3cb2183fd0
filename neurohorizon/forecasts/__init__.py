"""From any method to a forecast file, and from there to sums of scores."""
