"""The page of checks is up to date and complete."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from factories import bent_sessions

from neurohorizon.ingest.checks import CHECKS, RAW, READER_FINDINGS
from neurohorizon.ingest.spike_checks import check_spikes

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_checks_is_up_to_date():
    spec = importlib.util.spec_from_file_location("checks_page", ROOT / "tools" / "checks_page.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text() == tool.page(), "run make checks"


def test_every_code_of_the_reader_is_listed():
    tree = ast.parse((ROOT / "neurohorizon/ingest/nwb.py").read_text())
    codes = {
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and re.search(r"(notes\.add|^note)$", ast.unparse(call.func))
    }
    assert codes | {"intervals_too_long", "intervals_backward"} == set(READER_FINDINGS)


@pytest.mark.parametrize("code", [code for check in CHECKS if check.of == RAW for code in check.codes])
def test_every_check_of_spikes_finds_its_example(code):
    assert code in {finding.code for finding in check_spikes(bent_sessions.SPIKE_EXAMPLES[code]())}


def test_sound_spikes_yield_no_finding():
    assert check_spikes(bent_sessions.raw(bent_sessions.sound())) == []
