"""The commands of docs/forecast.md run, and its tables name every option and key."""

import json
import re
import shlex

import pytest
from factories import ROOT
from factories.dandi_server import Asset, DandiServer
from factories.file_server import serving

from neurohorizon.command.main import main
from neurohorizon.command.output_folder import FILES
from neurohorizon.ingest import remote

PAGE = (ROOT / "docs" / "forecast.md").read_text()


@pytest.fixture
def laboratory(here, mouse, shipped, quick, monkeypatch):
    """A folder with the recordings that the page names."""
    (here / "mouse.nwb").symlink_to(mouse)
    (here / "recordings").mkdir()
    (here / "recordings" / "rat.nwb").symlink_to(mouse)
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    return here


@pytest.fixture
def elsewhere(here, mouse, tmp_path, monkeypatch):
    """The servers that the page names, on this machine; gives the address of the first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = mouse.read_bytes()
    archive = DandiServer([Asset("sub-Ada/mouse.nwb", content)])
    monkeypatch.setattr(remote, "DANDI_API", archive.api_url)
    with serving() as server:
        server.files |= {"mouse.nwb": content, "my-bucket/mouse.nwb": content}
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server.url
    archive.close()


def test_the_commands_of_the_page_run(laboratory, elsewhere, capsys):
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("neurohorizon ")]
    assert {line.split()[1] for line in commands} == {"check", "forecast", "weights"}
    for line in commands:
        given = [one.replace("https://example.org", elsewhere) for one in shlex.split(line)[1:]]
        assert main(given) == 0, line
    for folder in ("mouse_forecast", "answers/rat", "remote/mouse"):
        assert sorted(one.name for one in (laboratory / folder).iterdir()) == sorted(FILES)


def test_the_page_has_every_option_and_every_key(laboratory, capsys):
    for command in ("check", "forecast"):
        assert main([command, "--help"]) == 0
        for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out.split("examples:")[0])) - {"--help"}:
            assert f"`{option}" in PAGE, option
    assert main(["check", "mouse.nwb", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["recordings"]
    keys = [*found, *(key for name in ("valid_time", "reference", "forecast") for key in found[name])]
    missing = [key for key in keys if f"`{key}`" not in PAGE]
    assert not missing
