"""Find words and phrases that the word list of CONTRIBUTING.md replaces.

Run as part of ``make lint``, or with paths: ``python tools/wording.py docs neurohorizon/units``. Only prose is read:
comments and sentences in strings of Python, text cells of notebooks, and whole files of other kinds. Code between
backticks is not prose.
"""

import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("*.py", "*.smk", "Snakefile")
TEXT = ("*.md", "*.rst", "*.typ", "*.yaml", "*.in", "*.toml", "*.sh", "Makefile")
GAP = "\0"
"""Replaces text that is not prose, so that no phrase is found across it."""


def word_list() -> dict[str, str]:
    """Read the table: each word or phrase between backticks, and its replacement."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Word list")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", section, flags=re.M)
    return {phrase.lower(): write for found, write in rows for phrase in re.findall(r"`(.+?)`", found)}


def hidden(text: str) -> str:
    """Replace text by gaps; line breaks are kept."""
    return re.sub(r"\S", GAP, text)


def prose(code: str) -> str:
    """Keep comments and strings of more than one word at their places, and hide the rest."""
    lines = [hidden(line) for line in code.splitlines()]
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        text = token.string
        if token.type == tokenize.STRING and re.search(r"\s", text):
            if re.match(r"\w*f", text, flags=re.I):
                text = re.sub(r"\{[^{}]*\}", lambda found: hidden(found[0]), text)
            text = re.sub(r"\\n|^\w*['\"]+|['\"]+$", lambda found: " " * len(found[0]), text)
        elif token.type != tokenize.COMMENT:
            continue
        first, start = token.start
        for line, part in enumerate(text.split("\n"), first - 1):
            lines[line] = lines[line][:start] + part + lines[line][start + len(part) :]
            start = 0
    return "\n".join(lines)


def texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of a file, or of each cell of a notebook."""
    text = (ROOT / path).read_text()
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(text)["cells"], 1):
            source = "".join(cell["source"])
            yield f"{path}, cell {number}", prose(source) if cell["cell_type"] == "code" else source
    else:
        yield str(path), prose(text) if any(path.match(pattern) for pattern in CODE) else text


def findings(text: str, words: dict[str, str]) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the phrase and its replacement, for each phrase of the list in a text."""
    text = re.sub(r"\0+|```.*?```|``.+?``|`[^`\n]+`", lambda found: GAP + "\n" * found[0].count("\n"), text, flags=re.S)
    longest_first = sorted(words, key=len, reverse=True)
    phrases = "|".join(re.escape(phrase).replace(r"\ ", r"[\s#]+") for phrase in longest_first)
    for found in re.finditer(rf"\b(?<!-)(?:{phrases})\b(?!-)", text, flags=re.I):
        phrase = re.sub(r"[\s#]+", " ", found[0])
        yield text.count("\n", 0, found.start()) + 1, phrase, words[phrase.lower()]


def files(paths: list[str], leave: list[str]) -> list[Path]:
    """List git's files with prose under the paths, without the paths to leave."""
    leave = [f":(exclude){path}" for path in leave]
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths, *leave]
    listed = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = sorted({Path(name) for name in listed.split("\0") if name})
    return [
        path
        for path in found
        if (ROOT / path).is_file() and any(path.match(pattern) for pattern in (*CODE, *TEXT, "*.ipynb"))
    ]


def main(paths: list[str]) -> int:
    """Print every finding; the exit status is 1 if there is one."""
    words = word_list()
    todo = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["wording"]["todo"]
    count = 0
    for path in files(paths or ["."], [] if paths else todo):
        for place, text in texts(path):
            for line, phrase, write in findings(text, words):
                print(f"{place}:{line}: {phrase!r} -> {write}")
                count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
