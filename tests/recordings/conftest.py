"""A tiny network and a recording that all tests of this folder share."""

from pathlib import Path

import pytest
from factories.recordings import CONFIG, DURATION_S, saved_network, session, units_of
from factories.sessions import MadeFiles, made_files

from neurohorizon import Network, Recording, load
from neurohorizon.session import Session


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    return saved_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="session")
def network(weights) -> Network:
    return load(weights)


@pytest.fixture(scope="session")
def made() -> Session:
    return session()


@pytest.fixture(scope="session")
def files(tmp_path_factory, made) -> MadeFiles:
    """The session as files of the workflow."""
    return made_files(tmp_path_factory.mktemp("made"), made, CONFIG)


@pytest.fixture(scope="session")
def units(made) -> dict:
    return units_of(made)


@pytest.fixture(scope="session")
def recording(network, units) -> Recording:
    return network.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, DURATION_S))
