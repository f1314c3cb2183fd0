"""Settings of ``snakemake first_session``: one session of each archive, and the numbers that must be found in it."""

import json
from pathlib import Path

import yaml

from neurohorizon.config import Config, Exclusions


class FirstSession:
    """The file ``config/cohorts/first_session.yaml``, for one configuration.

    Args:
        path: The file.
        config: The configuration.

    Attributes:
        sources: Sources of the configuration that have a session in the file.
        exclusions: No units are excluded, as JSON, since the expected numbers are of all units.
    """

    def __init__(self, path: str | Path, config: Config) -> None:
        values = yaml.safe_load(Path(path).read_text())
        self._config = config
        self._outage_hours = float(values["outage_hours"])
        self._sessions = values["sessions"]
        self.exclusions = Exclusions(units=(), maximum_rate_hz=None, proposed=False).model_dump_json()
        self.sources = [name for name in self._sessions if getattr(config.sources, name)]

    def row(self, source: str) -> str:
        """Return the session's row of a cohort table as JSON, without a role."""
        row = {"extras": {}, **self._sessions[source]["row"]}
        return json.dumps({**row, "source": source, "role": "", "fold": "", "why": ""})

    def section(self, source: str) -> str:
        """Return the source's section as JSON, with the short patience of this target."""
        settings = getattr(self._config.sources, source)
        return settings.model_copy(update={"outage_hours": self._outage_hours}).model_dump_json()

    def expected(self, wildcards) -> str:
        """Return the expected numbers by name as JSON; null where none is known for the mode of the source."""
        named, mode = self._sessions[wildcards.source]["expected"].items(), self._mode(wildcards.source)
        return json.dumps({name: of.get(mode) if isinstance(of, dict) else of for name, of in named})

    def recorded(self, wildcards) -> str:
        """Return the file of the numbers that the first run records; each mode of a source has its own."""
        folder = f"{self._config.run.results}/first_session/recorded"
        return f"{folder}/{wildcards.source}_{self._mode(wildcards.source)}.json"

    def _mode(self, source: str) -> str:
        return getattr(self._config.sources, source).mode
