"""Frozen networks that turn images into vectors, and the weights of one of them."""
