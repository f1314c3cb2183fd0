"""YAML files of nested sections, lists, numbers and texts; everything else that YAML can express is refused.

An alias can expand a small file to gigabytes or lead to itself, a tag can make Python objects, and of two equal keys
one is ignored. Standard library and PyYAML only, since the workflow reads it before any environment exists.
"""

from pathlib import Path

import yaml

DEEPEST = 20
"""Most levels of nesting; a configuration has five."""


class YamlError(ValueError):
    """A YAML file that is refused; the message gives line, column and what to write."""


def read_yaml(path: str | Path) -> dict:
    """Read a YAML file whose top level is a mapping.

    Dates stay texts.

    Raises:
        YamlError: It is not UTF-8 or no YAML, has an alias, a tag, a key twice or a key that is no text, is nested too
            deeply, or is no mapping.
    """
    try:
        values = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise YamlError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from None
    except YamlError as error:
        raise YamlError(f"{path}, {error}") from None
    if not isinstance(values, dict):
        raise YamlError(f"{path} holds {type(values).__name__}, expected sections with keys at the top level")
    return values


def parse_yaml(text: str) -> object:
    """Return the value of a YAML text, such as one of ``--config``.

    Raises:
        YamlError: As for :func:`read_yaml`, except that it may be any value.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlError(f"{place}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, f"the alias *{event.anchor} is refused: write the value itself")
        if getattr(event, "tag", None):
            raise _refused(event, f"the tag {event.tag} is refused: write the value without it")
        if self.depth == DEEPEST:
            raise _refused(event, f"sections are nested more than {DEEPEST} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node, deep=False):
        names = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise _refused(key, "a key is a name; write numbers, dates and yes or no as keys in quotes")
            if key.value in names:
                raise _refused(key, f"the key {key.value} is there twice: delete one")
            names.add(key.value)
        return super().construct_mapping(node, deep=deep)


# dates stay texts, as in JSON, and a key << is a key like others, since without aliases it has no use
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("timestamp", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refused(place: yaml.Event | yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
