"""The paper as PDF: a source for people, and a file of results that it reads every number from."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from neurohorizon.files import replacing

_SPECIAL = re.compile(r"([\\#$@_*`~\[\]<>/])")
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
_MARKUP = re.compile(r"\*\*(?P<strong>.+?)\*\*|\*(?P<emph>[^*\s][^*]*)\*|`(?P<code>.+?)`|<sup>(?P<sup>.+?)</sup>")


def to_typst(markdown: str) -> str:
    """Markdown of the results as Typst; whatever else would mean something to Typst is escaped.

    Args:
        markdown: Text with ``**bold**``, ``*emphasis*``, ```code```, ``<sup>`` and lists only.
    """
    parts, last = [], 0
    for match in _MARKUP.finditer(markdown):
        parts.append(_escaped(markdown[last : match.start()]))
        content = _escaped(match[match.lastgroup])
        # functions and not marks, since a mark does not open within a word; ";" ends a call, whatever follows
        function = {"strong": "strong", "emph": "emph", "code": "text", "sup": "super"}[match.lastgroup]
        parts.append(f"#{function}[{content}];")
        last = match.end()
    return "".join([*parts, _escaped(markdown[last:])])


def _escaped(text: str) -> str:
    return _MINUS.sub("\N{MINUS SIGN}", _SPECIAL.sub(r"\\\1", text))


def prepared(results: Mapping) -> dict:
    """Results as the paper's source reads them: every text as Typst."""
    sections = [
        one | {name: to_typst(one[name]) for name in ("title", "question", "headline", "text", "caption")}
        for one in results["sections"]
    ]
    return {**results, "sections": sections}


def typeset(source: Path, *, results: Path, output: Path) -> None:
    """Make the PDF; the same results give the same bytes.

    Args:
        results: File of :func:`neurohorizon.report.results.write_results`.
    """
    import typst  # only the environment of pages has it

    with TemporaryDirectory() as folder, replacing(output) as partial:
        data = Path(folder) / "results.json"
        data.write_text(json.dumps(prepared(json.loads(results.read_text()))))
        typst.compile(
            str(source.resolve()),
            output=str(partial),
            root="/",  # figures and results lie where the run lies
            ignore_system_fonts=True,
            sys_inputs={"results": str(data)},
            timestamp=0,
        )
