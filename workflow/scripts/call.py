"""The command of every rule: it calls a function of the package, with an option for each of its parameters.

``call.py neurohorizon.models.training:train_on_files --fold a --timeline '{"bin_ms": 20, ...}'`` calls
``train_on_files(fold="a", timeline=Timeline(...))``. The annotation defines the form of an option:

* text, a number, a path, a literal: one value; an option without a value is None, if the annotation allows None;
* a sequence: any number of values;
* a mapping, a section of the configuration, a dataclass: one JSON value;
* a dataclass of paths: an option for each of its files, ``--paths.session``, with any number of values for a sequence.

Before the call, files of a run that are named by options are compared with the records of their content
(``neurohorizon.files``), except those of options that begin with ``output``. Text that the function returns is printed.
An error that the package defines, and a full disk, end the command with a message, any other error with a traceback.
This module is not part of a rule's fingerprint: an edit of it reruns nothing.
"""

import argparse
import dataclasses
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from pkgutil import resolve_name
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

PACKAGE = "neurohorizon."


def run(function: Callable, options: Sequence[str]) -> Any:
    """Call a function with the options of a command line, and return its result."""
    from neurohorizon.files import naming_full_disk, require_as_written  # a test imports this module for its parts only

    documentation = inspect.getdoc(function) or ""
    parser = _Parser(function.__name__, description=documentation.partition("\n\n")[0], allow_abbrev=False)
    types, helps = get_type_hints(function, include_extras=True), _described(documentation)
    parameters = inspect.signature(function).parameters.values()
    for each in parameters:
        _add_option(parser, each, types[each.name], helps.get(each.name, "").replace("%", "%%"))
    given = vars(parser.parse_args(options))
    try:
        arguments = {each.name: _value(each, types[each.name], given) for each in parameters}
    except ValueError as error:
        parser.error(str(error))
    inputs, outputs = [], []
    for name, value in given.items():
        (outputs if name.startswith("output") else inputs).extend(_paths(value))
    try:
        for path in inputs:
            require_as_written(path)
        # also if the log cannot be written, or a file that is not written whole
        with naming_full_disk(outputs[0] if outputs else Path("output")):
            return function(**arguments)
    except Exception as fault:
        if not type(fault).__module__.startswith(PACKAGE):
            raise
        raise SystemExit(f"{parser.prog}: {fault}") from None


def named_function(name: str) -> Callable:
    """Return the function of a name of the form ``module:name``."""
    try:
        function = resolve_name(name)
        if not callable(function):
            raise ValueError(f"{name} is not a function")
    except (ValueError, ImportError, AttributeError) as error:
        raise SystemExit(f"the first argument must name a function, as module:name ({error})") from None
    return function


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        """Exit with the error, without the usage of all options."""
        self.exit(2, f"{self.prog}: {message}\n{self.prog}: --help lists all options\n")


def _add_option(parser: argparse.ArgumentParser, parameter: inspect.Parameter, annotation: Any, text: str) -> None:
    kind, optional, many = _taken_apart(annotation)
    required = parameter.default is inspect.Parameter.empty
    flag = f"--{parameter.name.replace('_', '-')}"
    files = _files_of(kind)
    for name, may_lack in files.items():
        nargs = "*" if many else "?" if optional or may_lack else None
        needed = required and not may_lack
        parser.add_argument(f"{flag}.{name}", type=Path, nargs=nargs, required=needed, metavar="PATH", help=text)
    if not files:
        nargs, metavar = "*" if many else "?" if optional else None, "JSON" if _has_parts(kind) else "VALUE"
        form = {"type": _parse(kind, optional=optional), "nargs": nargs, "metavar": metavar, "help": text}
        parser.add_argument(flag, required=required, default=parameter.default, **form)


def _parse(kind: Any, *, optional: bool) -> Callable[[str], Any]:
    """Return the ``type`` of an option, which argparse calls with the text of each value."""
    adapter = TypeAdapter(kind)
    null = "null" if optional and _has_parts(kind) else None
    validate = adapter.validate_json if _has_parts(kind) else adapter.validate_strings

    def parse(text: str) -> Any:
        try:
            return None if text == null else validate(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(_first_fault(error)) from None

    return parse


def _value(parameter: inspect.Parameter, annotation: Any, given: Mapping[str, Any]) -> Any:
    """Return the value of a parameter; options of a dataclass of paths are combined into one object."""
    kind, optional, many = _taken_apart(annotation)
    flag = parameter.name.replace("_", "-")
    found = {name: given[f"{flag}.{name}"] for name in _files_of(kind)}
    if not found:
        return tuple(given[parameter.name]) if many else given[parameter.name]
    if not any(found.values()) and (optional or parameter.default is not inspect.Parameter.empty):
        return None if optional else parameter.default
    if many and len({len(values) for values in found.values() if values}) > 1:
        counts = ", ".join(f"{len(values or ())} {name}" for name, values in found.items())
        raise ValueError(f"--{flag}: found {counts}; give equal numbers of files, in the same order")
    rows = zip_longest(*(values or () for values in found.values())) if many else [found.values()]
    try:
        put_together = tuple(TypeAdapter(kind).validate_python(dict(zip(found, row, strict=True))) for row in rows)
    except ValidationError as error:
        raise ValueError(f"--{flag}: {_first_fault(error)}") from None
    return put_together if many else put_together[0]


def _paths(value: Any) -> list[Path]:
    """Return the paths of an option: its value, or those in a list; text counts if there is such a file or folder."""
    found = []
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, Path) or (isinstance(one, str) and "/" in one and os.path.exists(one)):
            found.append(Path(one))
    return found


def _first_fault(error: ValidationError) -> str:
    first, *others = error.errors()
    place = "".join(f"{part}: " for part in first["loc"])
    return f"{place}{first['msg']}, found {first['input']!r:.80}" + (f" (and {len(others)} more)" if others else "")


def _taken_apart(annotation: Any) -> tuple[Any, bool, bool]:
    """Return the type of one value, whether it may be None, and whether there may be several values."""
    optional = get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation)
    if optional:
        annotation = Union[tuple(one for one in get_args(annotation) if one is not type(None))]  # noqa: UP007
    origin = get_origin(annotation)
    many = isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping)
    return (get_args(annotation)[0] if many else annotation), optional, many


def _has_parts(kind: Any) -> bool:
    plain = get_origin(kind) or kind
    return isinstance(plain, type) and (dataclasses.is_dataclass(plain) or issubclass(plain, Mapping | BaseModel))


def _files_of(kind: Any) -> dict[str, bool]:
    """Return the fields of a dataclass of paths, and whether each may be None; empty for any other type."""
    hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
    fields = {name: _taken_apart(annotation) for name, annotation in hints.items()}
    if any(one is not Path or many for one, _, many in fields.values()):
        return {}
    return {name: optional for name, (_, optional, _) in fields.items()}


def _described(documentation: str) -> dict[str, str]:
    """Return the descriptions of parameters from the section ``Args:`` of a docstring."""
    section = re.split(r"\n(?=\S)", documentation.partition("\nArgs:\n")[2])[0]
    entries = re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section, flags=re.M)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit("usage: call.py MODULE:FUNCTION [options]; --help after the function lists its options")
    found = run(named_function(sys.argv[1]), sys.argv[2:])
    if isinstance(found, str):
        print(found)
