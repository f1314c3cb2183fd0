"""A list of checks as text: a line for each, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

Result = Literal["ok", "warning", "problem"]


_MARKS = {"ok": "32", "warning": "33", "problem": "31"}


@dataclass(frozen=True)
class Check:
    """One line.

    Attributes:
        name: What was checked.
        result: ``problem`` if a run would stop.
        found: What was found.
        advice: What to do; "" if nothing.
    """

    name: str
    result: Result
    found: str
    advice: str = ""


def as_text(check: Check, *, width: int | None = None, colour: bool = False) -> str:
    """Return a check as a line, and what to do as a second one; both continue below if they exceed the width."""
    texts = [f"{check.result:<8} {check.name:<17} {check.found}"]
    if check.advice:
        texts.append(f"{'':<27}-> {check.advice}")
    if width:
        for number, indent in enumerate((27, 30)[: len(texts)]):
            lines = wrap(texts[number], max(width, 60), subsequent_indent=" " * indent, break_on_hyphens=False)
            texts[number] = "\n".join(lines)
    text = "\n".join(texts)
    return text.replace(check.result, f"\033[{_MARKS[check.result]}m{check.result}\033[0m", 1) if colour else text


def summary(checks: Sequence[Check]) -> str:
    """Return the number of problems and warnings in words."""
    problems, warnings = (sum(check.result == one for check in checks) for one in ("problem", "warning"))
    named = [f"{number} {word}{'s' * (number > 1)}" for number, word in ((problems, "problem"), (warnings, "warning"))]
    found = " and ".join(text for text, number in zip(named, (problems, warnings), strict=True) if number)
    return f"{found or 'No problem'} found." + (" A run would stop." if problems else "")
