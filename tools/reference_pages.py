"""Reference pages of the documentation site: Python, the command line and the configuration, each from the code."""

import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import neurohorizon
from neurohorizon.command.main import COMMANDS, main
from neurohorizon.config import Config, preset_names, read_preset

OBJECTS = {
    "Networks": ("neurohorizon.load", "neurohorizon.released", "neurohorizon.Network", "neurohorizon.About"),
    "One recording": (
        "neurohorizon.Recording",
        "neurohorizon.Forecast",
        "neurohorizon.Score",
        "neurohorizon.RecordingStream",
        "neurohorizon.config.Adaptive",
    ),
    "The answer": (
        "neurohorizon.answer.evaluate.answer_for",
        "neurohorizon.answer.page.write_page",
        "neurohorizon.answer.answer.Answer",
        "neurohorizon.answer.answer.json_schema",
    ),
    "Errors": ("neurohorizon.SessionError", "neurohorizon.WeightsError"),
}
"""Heading -> the objects below it; every public name of the package is here."""


def python_page() -> str:
    """Return the page of the public names, whose signatures and docstrings Sphinx inserts."""
    lines = [
        "# Python",
        "",
        "Each name below `neurohorizon` is imported as `import neurohorizon as nh`. Axes of arrays are in brackets: "
        "`[origin, bin, unit]`. The same by example: [Forecasts from Python](../python.md).",
        "",
    ]
    for heading, names in OBJECTS.items():
        lines += [f"## {heading}", ""]
        for name in names:
            options = [] if directive(name) == "autofunction" else ["   :members:"]
            lines += ["```{eval-rst}", f".. {directive(name)}:: {name}", *options, "```", ""]
    return "\n".join(lines)


def directive(name: str) -> str:
    """Return the directive of autodoc for an object."""
    found = found_object(name)
    if not isinstance(found, type):
        return "autofunction"
    return "autoexception" if issubclass(found, Exception) else "autoclass"


def found_object(name: str) -> Any:
    """Return an object by the name of its module and its own."""
    module, _, own = name.rpartition(".")
    return getattr(neurohorizon if module == "neurohorizon" else __import__(module, fromlist=[own]), own)


def command_page() -> str:
    """Return the page of the command line: the help of each command."""
    lines = [
        "# Command line",
        "",
        "`neurohorizon` and `python -m neurohorizon` are the same. Options by purpose, results and JSON: "
        "[Forecasts from the command line](../forecast.md).",
        "",
        *_help([]),
    ]
    for name in COMMANDS:
        lines += [f"## neurohorizon {name}", "", *_help([name])]
    return "\n".join(lines)


def _help(command: list[str]) -> list[str]:
    printed = io.StringIO()
    with patch.dict(os.environ, COLUMNS="88"), contextlib.redirect_stdout(printed):
        main([*command, "--help"])
    return ["```text", printed.getvalue().rstrip(), "```", ""]


def configuration_page() -> str:
    """Return the page of all keys of a configuration, with the values of the presets."""
    presets = {name: read_preset(name) for name in preset_names()}
    lines = [
        "# Keys of a configuration",
        "",
        "Every key, its type, its meaning, and its value in the presets "
        + " and ".join(f"`{name}`" for name in presets)
        + ". A complete file has all of them, and one that extends a preset only those that differ. How files, presets "
        "and the command line combine: [Configuration](../../config/README.md).",
        "",
    ]
    schema = Config.model_json_schema()
    for path, section in sections(schema):
        lines += [f"## {'.'.join(path) or 'Sections'}", "", _text(section["description"]), ""]
        for key, field in section["properties"].items():
            meaning = field.get("description") or schema["$defs"][_sections_of(field)[0]]["description"]
            lines += [f"`{'.'.join([*path, key])}`", f": *{described(field)}*. {_text(meaning)}"]
            if not _is_section(field):
                lines += _values({name: _value(preset, [*path, key]) for name, preset in presets.items()})
            lines.append("")
    return "\n".join(lines)


def sections(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path and the schema of every section, in the order of the configuration."""

    def below(path: tuple[str, ...], section: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        yield path, section
        for key, field in section["properties"].items():
            for name in _sections_of(field):
                inside = (*path, key, "NAME") if _values_of(field) else (*path, key)
                yield from below(inside, schema["$defs"][name])

    yield from below((), schema)


def _sections_of(field: dict[str, Any]) -> list[str]:
    """Return the names of the sections that a field may hold."""
    refs = [one for one in (field, *field.get("anyOf", ())) if "$ref" in one]
    if values := _values_of(field):
        refs += [one for one in (values, *values.get("anyOf", ())) if "$ref" in one]
    return [one["$ref"].split("/")[-1] for one in refs]


def _values_of(field: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the values of a mapping from names that the user chooses; None for another field."""
    if field.get("type") != "object":
        return None
    return field.get("additionalProperties") or next(iter(field["patternProperties"].values()))


def _is_section(field: dict[str, Any]) -> bool:
    """Whether a field holds a section or null, and so has its own heading."""
    options = field.get("anyOf", [field])
    return any("$ref" in one for one in options) and all("$ref" in one or one == {"type": "null"} for one in options)


def described(field: dict[str, Any]) -> str:
    """Return the type of a field in words."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(described(one) for one in field["anyOf"]))
    if "$ref" in field:
        return "section"
    if "enum" in field:
        return " or ".join(f"`{one}`" for one in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = field["type"]
    if kind == "array":
        if "prefixItems" in field:
            return f"{len(field['prefixItems'])} values: " + ", ".join(described(one) for one in field["prefixItems"])
        return f"list, each value: {described(field['items'])}"
    if kind == "object":
        return f"names, each with: {described(_values_of(field))}"
    words = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    limits = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    bounds = [f"{word} {field[limit]:g}" for limit, word in limits.items() if limit in field]
    return " ".join([words.get(kind, kind), *bounds])


def _values(of_preset: dict[str, str | None]) -> list[str]:
    """Return the line on the values of a key in the presets; none if no preset has it."""
    shown = {name: value for name, value in of_preset.items() if value is not None}
    if not shown:
        return []
    if len(shown) == len(of_preset) and len(set(shown.values())) == 1:
        return [f"  Both presets: {next(iter(shown.values()))}."]
    return ["  " + ", ".join(f"`{name}`: {value}" for name, value in shown.items()) + "."]


def _value(preset: dict[str, Any], path: list[str]) -> str | None:
    """Return the value of a key in a preset as code; None if the preset lacks it."""
    place: Any = preset
    for key in path:
        if not isinstance(place, dict) or key not in place:
            return None
        place = place[key]
    return f"`{json.dumps(place)}`"


def _text(docstring: str) -> str:
    """Turn a docstring into Markdown of one line."""
    text = re.sub(r":\w+:``?~?([^`]+)``?", r"`\1`", docstring).replace("``", "`")
    return " ".join(text.split())


PAGES: dict[str, Callable[[], str]] = {
    "python": python_page,
    "command-line": command_page,
    "configuration": configuration_page,
}
"""Name of each reference page -> its writer."""
