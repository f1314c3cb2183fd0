"""Build the documentation site: ``make docs``.

Pages of the project stay plain Markdown with relative links. This program copies them to a folder for Sphinx, with
three changes: the README becomes the first page, links to files that are no pages become text, and diagrams become
elements that Mermaid's script draws. Reference pages are added. A warning of Sphinx is an error.
"""

import argparse
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"
PICTURES = {".png", ".svg"}
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$\n?", flags=re.M | re.S)
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """List the pages, relative to the project: Markdown and notebooks."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.ipynb")]
    found += [ROOT / "config" / "README.md", ROOT / "weights" / "README.md"]
    return sorted(path.relative_to(ROOT) for path in found)


def staged(page: Path) -> Path:
    """Return the path of a page in the folder for Sphinx."""
    return Path("index.md") if page == Path("README.md") else page


def converted(text: str, page: Path, listed: set[Path]) -> str:
    """Return the text of a page for Sphinx.

    Args:
        text: Text of the page.
        page: Its path in the project.
        listed: All pages.
    """
    parts, start = [], 0
    for fence in FENCE.finditer(text):
        parts += [_links(text[start : fence.start()], page, listed), _diagram(fence)]
        start = fence.end()
    return "".join([*parts, _links(text[start:], page, listed)])


def _links(text: str, page: Path, listed: set[Path]) -> str:
    def link(found: re.Match) -> str:
        label, address = found.groups()
        name, _, anchor = address.partition("#")
        if not name or re.match(r"\w+:", name):
            return found[0]
        target = Path(os.path.normpath(page.parent / name))
        if target.suffix in PICTURES:
            return found[0]
        if target not in listed:
            return label
        path = os.path.relpath(staged(target), staged(page).parent)
        return f"[{label}]({path}{'#' + anchor if anchor else ''})"

    return LINK.sub(link, text)


def _diagram(fence: re.Match) -> str:
    indent, language, code = fence.groups()
    if language != "mermaid":
        return fence[0]
    return f'{indent}```{{raw}} html\n<pre class="mermaid">\n{html.escape(code)}</pre>\n{indent}```\n'


def stage(folder: Path) -> None:
    """Write all pages and pictures to a folder, and remove other files there."""
    from tools.reference_pages import PAGES

    listed = set(pages())
    wanted: dict[Path, bytes] = {}
    for page in listed:
        text = (ROOT / page).read_text()
        if page.suffix == ".md":
            text = converted(text, page, listed)
        wanted[staged(page)] = text.encode()
    for picture in ROOT.glob("docs/**/*"):
        if picture.suffix in PICTURES:
            wanted[picture.relative_to(ROOT)] = picture.read_bytes()
    for name, write in PAGES.items():
        wanted[Path("docs/reference") / f"{name}.md"] = write().encode()
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def main(arguments: list[str] | None = None) -> int:
    """Build the site, and print the path of its first page; the exit status is Sphinx's."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "docs", help="folder (build/docs)")
    parser.add_argument("--without-notebooks", action="store_true", help="do not run the notebooks: faster, no output")
    given = parser.parse_args(arguments)
    stage(given.output / "pages")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "--conf-dir", SITE]
    options += ["--doctree-dir", given.output / "doctrees"]
    if given.without_notebooks:
        options += ["-D", "nb_execution_mode=off"]
    site = given.output / "html"
    status = subprocess.call([sys.executable, "-m", "sphinx", *options, given.output / "pages", site])
    if status == 0:
        print(f"Site: {os.path.relpath(site / 'index.html')}")
    return status


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
