"""Examples in the docstrings of forecasts from Python run, on a tiny network."""

import doctest
from importlib import import_module

import pytest

NAMES = ("forecast", "network", "recording", "score")


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_run(name, network, units, recording):
    module = import_module(f"neurohorizon.recordings.{name}")
    names = {"network": network, "units": units, "recording": recording, "forecast": recording.forecast([50.0, 60.0])}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted and not result.failed
