"""The first result of a run states its score, its recording and its page, also where there is no score."""

from pathlib import Path

from neurohorizon.answer.answer import Estimate
from neurohorizon.command.preview import describe_preview

PAGE = Path("results/demo/preview/answer.html")


def test_the_first_result_states_the_score_with_its_interval_and_the_page(answer):
    text = describe_preview(answer, PAGE)
    assert f"{answer.score.value:+.3f} bits/spike" in text
    assert f"(95 % interval {answer.score.low:+.3f} to {answer.score.high:+.3f})" in text
    assert answer.recording.name in text and f"{answer.recording.scored_units} units" in text
    assert text.endswith(f"Its page: {PAGE}\n")


def test_a_first_result_without_a_score_or_an_interval_has_no_number(answer):
    without = describe_preview(answer.model_copy(update={"score": Estimate(value=None)}), PAGE)
    assert "there is no score" in without and "bits/spike" not in without
    bare = describe_preview(answer.model_copy(update={"score": Estimate(value=0.25)}), PAGE)
    assert "+0.250 bits/spike over" in bare and "interval" not in bare
