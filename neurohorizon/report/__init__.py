"""Results of all experiments together: first page, article and score archive."""
