"""Behaviour and images: signals, embeddings and the tokens that a network receives."""
