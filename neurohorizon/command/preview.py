"""A preview of a run: released weights forecast one of its sessions, before any network of the run is trained."""

from pathlib import Path

from neurohorizon.answer.answer import Answer
from neurohorizon.answer.evaluate import answer_for
from neurohorizon.answer.page import write_page
from neurohorizon.files import replacing
from neurohorizon.recordings.network import load
from neurohorizon.session import read_session


def preview_session(
    *, weights: Path, session: Path, minimum_rate_hz: float, seed: int, output_page: Path, output_score: Path
) -> None:
    """Forecast the second half of a session with released weights, and write a page and a score.

    The weights were trained on other recordings, and nothing is trained here.

    Args:
        weights: Released weights.
        session: Session file.
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit.
        output_page: HTML page to write, with the picture of one forecast and all numbers.
        output_score: File to write with the score and the path of the page.

    Raises:
        SessionError: The session is excluded, or cannot be forecast.
    """
    recording = load(weights).fit_reference(read_session(session))
    answer = answer_for(recording, minimum_rate_hz=minimum_rate_hz, seed=seed)
    with replacing(output_page) as temporary:
        write_page(answer, temporary)
    with replacing(output_score) as temporary:
        temporary.write_text(describe_preview(answer, output_page))


def describe_preview(answer: Answer, page: Path) -> str:
    """Return the score of a preview and the path of its page as two lines."""
    recorded, score = answer.recording, answer.score
    found = "there is no score" if score.value is None else f"{score.value:+.3f} bits/spike"
    if score.low is not None and score.high is not None:
        found += f" (95 % interval {score.low:+.3f} to {score.high:+.3f})"
    return (
        f"First result: the weights {answer.network.name}, which were trained on other recordings, forecast "
        f"{recorded.name}: {found} over the mean rate of each unit, {recorded.scored_units} units.\n"
        f"Its page: {page}\n"
    )
