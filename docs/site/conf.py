"""Settings of Sphinx for the site; ``make docs`` runs it on the pages that tools/docs_site.py stages."""

import logging
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
# notebooks run in other processes
os.environ["PYTHONPATH"] = str(HERE.parents[1])

from neurohorizon import __version__  # noqa: E402

project = "NeuroHorizon"
release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_external_toc",
]
external_toc_path = str(HERE / "toc.yml")
external_toc_exclude_missing = False
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4  # links to headings, as code hosts make them
logging.getLogger("traitlets").setLevel(logging.WARNING)
# a notebook that fails stops the build
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_merge_streams = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_use_ivar = True
napoleon_use_rtype = False
copybutton_prompt_text = "$ "
html_theme = "furo"
html_title = "NeuroHorizon"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"


def inline_math(translator: object, node: nodes.math) -> None:
    """Write a formula in a line as MathML, which browsers show without a script."""
    translator.body.append(tex2mathml(node.astext()))  # type: ignore[attr-defined]
    raise nodes.SkipNode


def displayed_math(translator: object, node: nodes.math_block) -> None:
    """Write a formula in its own line as MathML."""
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')  # type: ignore[attr-defined]
    raise nodes.SkipNode


def add_mermaid(app: Sphinx, name: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Load Mermaid's script on pages with a diagram only."""
    if '<pre class="mermaid">' in context.get("body", ""):
        app.add_js_file("mermaid.js", loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")


def copy_mermaid(app: Sphinx, error: Exception | None) -> None:
    """Copy the script for browsers that the package mermaidx carries."""
    if error is None:
        (package,) = find_spec("mermaidx").submodule_search_locations  # type: ignore[union-attr, misc]
        shutil.copy(Path(package) / "assets" / "mermaid.js", app.outdir / "_static" / "mermaid.js")


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.add_html_math_renderer("mathml", (inline_math, None), (displayed_math, None))
    app.connect("html-page-context", add_mermaid)
    app.connect("build-finished", copy_mermaid)
