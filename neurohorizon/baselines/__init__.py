"""Methods that are solved in closed form or fitted as regressions."""
