"""`make lint` and the hooks before a commit check style by the same programs."""

import re

import yaml
from factories import ROOT


def test_every_hook_before_a_commit_is_a_command_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)[1]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    programs = re.compile(r"(?:tools/wording\.py|ruff check|ruff format|snakefmt|lint-imports|codespell)")
    hooks = [programs.search(hook["entry"])[0] for hook in local["hooks"]]
    assert hooks == programs.findall(recipe)
    assert all(hook["language"] == "system" for hook in local["hooks"]), "nothing is downloaded for a hook"
