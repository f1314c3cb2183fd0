"""Draw the rule graph of the demo into pages of docs: `make graph`.

Snakemake's own graph has some 90 rules and 270 edges. Here the rules of one file form a stage. One diagram shows
the stages, and one per stage shows its rules with the rules of other stages that they read from. Edges that a longer
path implies are removed. Rules that draw from the same tables share a box.
"""

import json
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = "config/demo.yaml"
PAGES = ("docs/index.md", "docs/rule_graph.md")
CHECKPOINT_OUTPUT = "results/demo/weights/dinov2"
"""Output of the checkpoint `dinov2_weights`; Snakemake lists the rules after it only if this file exists."""
DRAWING = frozenset({"draw", "plot", "notebook"})
"""First words of the names of rules that make figures and notebooks from tables."""
ON_REQUEST = ("poyo", "paper")
"""Targets that are not part of `all`."""
TARGETS = frozenset({"all", "figures", *ON_REQUEST})
Graph = dict[str, set[str]]
"""Rule or stage -> the rules or stages whose files it reads."""


def main() -> None:
    """Draw the graph of the current workflow into all pages."""
    diagrams = draw(snakemake_graph(ROOT), ROOT)
    for page in PAGES:
        path = ROOT / page
        path.write_text(with_diagrams(path.read_text(), diagrams))


def snakemake_graph(root: Path) -> Graph:
    """Return the graph that Snakemake plans for the demo in an empty folder, which has no finished result."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / CHECKPOINT_OUTPUT
        weights.mkdir(parents=True)
        weights.with_suffix(".json").write_text(json.dumps({"available": True, "reason": None}))
        command = ["snakemake", "all", *ON_REQUEST, "--dry-run", "--rulegraph", "mermaid-js", "--directory", folder]
        command += ["--snakefile", str(root / "Snakefile"), "--configfile", str(root / CONFIG)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"snakemake found no rule graph for {CONFIG}:\n{done.stderr}{done.stdout}")
    return read_graph(done.stdout)


def read_graph(mermaid: str) -> Graph:
    """Parse Snakemake's Mermaid text without targets, which only collect files."""
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]$", mermaid, flags=re.M))
    graph: Graph = {name: set() for name in names.values() if name not in TARGETS}
    for source, reader in re.findall(r"^\s*(id\d+) --> (id\d+)$", mermaid, flags=re.M):
        if names[reader] not in TARGETS and source != reader:
            graph[names[reader]].add(names[source])
    return graph


def reduced(graph: Graph) -> Graph:
    """Return the graph without the edges that a longer path implies (transitive reduction)."""
    kept = {name: set(inputs) for name, inputs in graph.items()}
    for name in sorted(kept):
        for source in sorted(kept[name]):
            if source in _upstream(kept, kept[name] - {source}):
                kept[name].remove(source)
    return kept


def _upstream(graph: Graph, start: set[str]) -> set[str]:
    found: set[str] = set()
    left = list(start)
    while left:
        new = graph[left.pop()] - found
        found |= new
        left += new
    return found


def boxed(graph: Graph) -> Graph:
    """Return the graph with one box for all rules that draw from the same inputs; its name lists them, one per line."""
    groups = defaultdict(list)
    for name in sorted(graph):
        groups[frozenset(graph[name]) if name.split("_")[0] in DRAWING else name].append(name)
    box = {name: "\n".join(names) for names in groups.values() for name in names}
    joined: Graph = {label: set() for label in box.values()}
    for name, inputs in graph.items():
        joined[box[name]] |= {box[source] for source in inputs}
    return joined


def stages(rules: Iterable[str], root: Path) -> dict[str, str]:
    """Return the stage of each rule: the file under `rules/` that defines it, without its suffix.

    Raises:
        ValueError: No file defines the rule.
    """
    patterns = []
    for path in sorted(root.glob("rules/**/*.smk")):
        stage = path.relative_to(root / "rules").with_suffix("").as_posix()
        text = path.read_text()
        literal = re.findall(r"^\s*(?:rule|checkpoint) (\w+):", text, flags=re.M)
        composed = re.findall(r"^\s*name:\s*f?\"([^\"]+)\"", text, flags=re.M)  # names of rules that a loop defines
        patterns += [(re.sub(r"\{[^}]*\}", r"\\w+", name), stage) for name in (*literal, *composed)]
    # a literal name has priority over one that a loop composes
    patterns.sort(key=lambda pattern: len(pattern[0].replace(r"\w+", "")), reverse=True)
    found = {}
    for rule in rules:
        fitting = [stage for pattern, stage in patterns if re.fullmatch(pattern, rule)]
        if not fitting:
            raise ValueError(f"no file under rules/ defines the rule {rule}")
        found[rule] = fitting[0]
    return found


def draw(graph: Graph, root: Path) -> dict[str, str]:
    """Return the Markdown of each diagram: ``stages`` for the overview, ``rules`` for a section per stage."""
    stage = stages(graph, root)
    overview: Graph = {one: set() for one in stage.values()}
    for name, inputs in graph.items():
        overview[stage[name]] |= {stage[source] for source in inputs} - {stage[name]}
    sections = [f"### {one}\n\n{_diagram('LR', *_of_stage(reduced(graph), stage, one))}" for one in _in_order(overview)]
    return {"stages": _diagram("TD", reduced(overview), set()), "rules": "\n\n".join(sections)}


def _of_stage(graph: Graph, stage: dict[str, str], one: str) -> tuple[Graph, set[str]]:
    own = {name: inputs for name, inputs in graph.items() if stage[name] == one}
    outside = {source for inputs in own.values() for source in inputs} - own.keys()
    return boxed(own | {name: set() for name in outside}), outside


def _in_order(graph: Graph) -> list[str]:
    order: list[str] = []
    while left := graph.keys() - set(order):
        order += sorted(name for name in left if not graph[name] & left) or [min(left)]
    return order


def _diagram(direction: str, graph: Graph, outside: set[str]) -> str:
    number = {label: f"n{index}" for index, label in enumerate(sorted(graph))}
    lines = [f"flowchart {direction}"]
    for label, identifier in number.items():
        text = label.replace("\n", "<br/>")
        is_outside = label.split("\n")[0] in outside
        lines.append(f'    {identifier}(["{text}"]):::outside' if is_outside else f'    {identifier}["{text}"]')
    for label, identifier in number.items():
        if graph[label]:
            lines.append(f"    {' & '.join(number[source] for source in sorted(graph[label]))} --> {identifier}")
    if outside:
        lines.append("    classDef outside stroke-dasharray: 4 3")
    return "\n".join(["```mermaid", *lines, "```"])


def with_diagrams(text: str, diagrams: dict[str, str]) -> str:
    """Insert each diagram between its marks in a page.

    Raises:
        ValueError: A mark does not name a diagram, or is not closed.
    """
    page = re.compile(r"(<!-- graph: (\w+), written by `make graph` -->\n).*?(\n<!-- end of graph -->)", flags=re.S)
    names = [mark[1] for mark in page.findall(text)]
    if not names or not set(names) <= diagrams.keys() or text.count("<!-- graph:") != len(names):
        raise ValueError(f"a page marks the graphs {names}; expected one of {list(diagrams)} for each opening mark")
    return page.sub(lambda mark: f"{mark[1]}\n{diagrams[mark[2]]}\n{mark[3]}", text)


if __name__ == "__main__":
    main()
