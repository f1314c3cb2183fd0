"""The diagrams of the rules in docs are those of the current workflow."""

import subprocess
import sys

import pytest
from factories import ROOT
from rule_graph import PAGES, boxed, draw, read_graph, reduced, stages, with_diagrams

SNAKEMAKE = """---
title: DAG
---
flowchart TB
	id0[all]
	id1[draw_main]
	id2[make_tables]
	id3[score]
	id4[draw_paired]
	style id1 fill:#C1D957,stroke-width:2px,color:#333333
	id1 --> id0
	id2 --> id1
	id3 --> id1
	id3 --> id2
	id3 --> id3
	id2 --> id4
	id4 --> id0
"""


SCORE = """rule score:
    output: "a"

checkpoint draw_oracle:
    output: "b"
"""
MAIN = """for _one in "ab":

    rule:
        name:
            f"draw_{_one}"

rule make_tables:
    input: "a"
"""


@pytest.fixture
def project(tmp_path):
    """Write rules in two files, some of them named by a loop."""
    (tmp_path / "rules" / "experiments").mkdir(parents=True)
    (tmp_path / "rules" / "score.smk").write_text(SCORE)
    (tmp_path / "rules" / "experiments" / "main.smk").write_text(MAIN)
    return tmp_path


def test_a_rule_reads_from_the_rules_that_point_to_it_and_targets_are_excluded():
    assert read_graph(SNAKEMAKE) == {
        "draw_main": {"make_tables", "score"},
        "make_tables": {"score"},
        "score": set(),
        "draw_paired": {"make_tables"},
    }


def test_only_edges_that_a_longer_path_implies_are_removed():
    graph = {"d": {"a", "b", "c"}, "c": {"a", "b"}, "b": {"a"}, "a": set(), "e": {"a"}}
    assert reduced(graph) == {"d": {"c"}, "c": {"b"}, "b": {"a"}, "a": set(), "e": {"a"}}


def test_a_cycle_of_stages_stays_a_cycle():
    assert reduced({"a": {"b"}, "b": {"a"}}) == {"a": {"b"}, "b": {"a"}}


def test_only_rules_that_draw_from_the_same_tables_share_a_box():
    graph = {"draw_a": {"make"}, "draw_b": {"make"}, "draw_c": {"score"}, "score_a": {"make"}, "score_b": {"make"}}
    graph |= {"make": set(), "score": set()}
    assert set(boxed(graph)) == {"draw_a\ndraw_b", "draw_c", "score_a", "score_b", "make", "score"}


def test_a_rule_belongs_to_the_file_that_names_it_before_one_that_composes_its_name(project):
    found = stages(["score", "draw_oracle", "draw_main", "make_tables"], project)
    assert found == {
        "score": "score",
        "draw_oracle": "score",
        "draw_main": "experiments/main",
        "make_tables": "experiments/main",
    }


def test_a_rule_of_no_file_is_an_error(project):
    with pytest.raises(ValueError, match="no file under rules/ defines the rule train"):
        stages(["train"], project)


def test_stages_have_the_order_of_their_files_and_mark_the_rules_of_others(project):
    diagrams = draw(read_graph(SNAKEMAKE), project)
    assert diagrams["stages"].count("-->") == 1
    score, main = diagrams["rules"].split("### experiments/main")
    assert score.startswith("### score") and "outside" not in score
    assert '(["score"]):::outside' in main and '["draw_main<br/>draw_paired"]' in main


def test_a_page_keeps_its_text_around_a_new_diagram():
    page = "a\n<!-- graph: stages, written by `make graph` -->\nold\n<!-- end of graph -->\nb\n"
    once = with_diagrams(page, {"stages": "new"})
    assert once.startswith("a\n<!--") and once.endswith("-->\nb\n") and "\nnew\n" in once and "old" not in once
    assert with_diagrams(once, {"stages": "new"}) == once


@pytest.mark.parametrize("page", ["no mark", "<!-- graph: stages, written by `make graph` -->\nnot closed"])
def test_a_page_without_a_closed_mark_is_an_error(page):
    with pytest.raises(ValueError, match="expected one of"):
        with_diagrams(page, {"stages": "new"})


@pytest.mark.slow
def test_the_pages_in_docs_show_the_current_workflow(workflow):
    done = subprocess.run(
        [sys.executable, "workflow/rule_graph.py"],
        cwd=workflow.root,
        env=workflow.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        assert (workflow.root / page).read_text() == (ROOT / page).read_text(), f"{page} is old: run `make graph`"
    assert "embed_images" in (ROOT / PAGES[-1]).read_text(), "rules after the checkpoint are missing"
