"""One folder per experiment of the paper; none imports another."""
