"""From session files to what a model reads."""
