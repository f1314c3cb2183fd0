"""Statistics, tables, wording and figure style that all experiments share."""
