"""Names from recordings and cohort tables in texts and figures, where a region may be called ``<script>`` or ``$x$``.

Standard library only; with the number and noun of sentences. Tables need nothing of this: pandas escapes them in HTML,
and files of tables are data.
"""

import re

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that move the cursor, colour a terminal or end a line."""
# the full-width form of a mark reads alike and means nothing to HTML, Markdown, Typst, LaTeX and Mermaid
_MARKS = {ord(mark): ord(mark) + 0xFEE0 for mark in '<>&"`*~#$\\[]{}|^'}


def one_line(text: object) -> str:
    """Return a text without control characters and with single blanks."""
    return " ".join(CONTROL_CHARACTERS.sub(" ", str(text)).split())


def in_sentence(name: object) -> str:
    """Return a name for Markdown that becomes HTML or Typst: on one line, without marks of any of these."""
    return one_line(name).translate(_MARKS)


def in_figure(name: object) -> str:
    """Return a name for a label of matplotlib, which would read what is between two dollars as mathematics."""
    return one_line(name).replace("$", r"\$")


def counted(number: int, noun: str) -> str:
    """Return number and noun, such as ``1 session`` and ``2 sessions``."""
    number = int(number)
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
