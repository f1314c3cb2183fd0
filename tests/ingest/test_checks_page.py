"""The page of checks is up to date and complete."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from factories import bent_sessions

from neurohorizon.ingest.checks import CHECKS, READER_FINDINGS, check_spikes
from neurohorizon.ingest.thresholds import THRESHOLDS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_checks_is_up_to_date():
    spec = importlib.util.spec_from_file_location("checks_page", ROOT / "tools" / "checks_page.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text() == tool.page(), "run make checks"


def test_every_code_of_the_readers_is_listed():
    trees = [
        ast.parse((ROOT / f"neurohorizon/ingest/{name}.py").read_text()) for name in ("nwb", "ibl", "ibl_download")
    ]
    codes = {
        call.args[0].value
        for tree in trees
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and re.search(r"(notes\.(add|drop)|^note|\.note)$", ast.unparse(call.func))
    }
    assert codes | {"intervals_too_long", "intervals_backward"} == set(READER_FINDINGS)


@pytest.mark.parametrize("code", sorted({code for check in CHECKS for code in check.codes}))
def test_every_finding_has_an_example(code):
    assert code in {finding.code for finding in bent_sessions.EXAMPLES[code]()}


def test_sound_spikes_and_a_sound_session_have_no_finding():
    assert check_spikes(bent_sessions.raw(bent_sessions.sound())) == []
    assert bent_sessions.findings() == []


def test_every_threshold_is_of_a_check_or_of_a_reader():
    sources = "".join(path.read_text() for path in (ROOT / "neurohorizon" / "ingest").glob("*.py"))
    for name in THRESHOLDS:
        assert re.search(rf"limit\(['\"]{name}['\"]\)", sources), f"{name} is not used"
    for check in CHECKS:
        assert set(check.limits) <= THRESHOLDS.keys()
