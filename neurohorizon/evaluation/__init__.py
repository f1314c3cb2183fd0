"""From forecasts to scores, tables and figures."""
