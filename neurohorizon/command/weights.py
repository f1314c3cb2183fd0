"""``neurohorizon weights``: the released weights, and the card of one of them."""

import argparse
import json
from typing import TYPE_CHECKING

from neurohorizon.command.cards import lengths_of
from neurohorizon.command.usage import UsageError
from neurohorizon.files import bytes_as_text
from neurohorizon.methods import ADAPTIVE
from neurohorizon.network_files import weights_path

if TYPE_CHECKING:
    from neurohorizon.forecasts.release import About

SCHEMA = "neurohorizon-weights-1"
"""Name of the form of the JSON document."""
EXAMPLES = """\
examples:
  neurohorizon weights
  neurohorizon weights hippocampus
  neurohorizon weights --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of these weights")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(options: argparse.Namespace) -> int:
    """Print the released weights, and return the exit status."""
    from neurohorizon.forecasts.release import released

    abouts = {one.name: one for one in released()}
    if options.name is not None and options.name not in abouts:
        raise UsageError(
            f"there are no released weights {options.name}; expected one of: "
            + (", ".join(abouts) or "none, this copy of the package has no released weights")
        )
    chosen = [abouts[options.name]] if options.name else list(abouts.values())
    if options.json:
        print(json.dumps({"schema": SCHEMA, "weights": [_as_json(one) for one in chosen]}, indent=1))
    elif options.name:
        print(card(chosen[0]))
    else:
        print("\n".join(map(summary, chosen)) or "this copy of the package has no released weights")
    return 0


def summary(about: "About") -> str:
    """Return the main facts about some weights as text."""
    lengths = lengths_of(about.name)
    licences = ", ".join(dict.fromkeys(one["licence"] for one in about.data))
    return (
        f"{about.name} {about.version}: {about.summary}\n"
        f"  bins of {lengths.bin_ms} ms, context {lengths.context_s:g} s, horizon {lengths.horizon_s:g} s, "
        f"{bytes_as_text(_size(about))}; data: {licences}\n"
        f"  held out: {_score(about)}"
    )


def card(about: "About") -> str:
    """Return the card of some weights as text."""
    lines = [
        summary(about),
        f"  {about.preparation}, {', '.join(about.species)}",
        "Data:",
        *(
            f"  {one['name']}: {one['recordings']} recordings of {one['animals']} animals, {one['licence']}. "
            f"{one['citation']}"
            for one in about.data
        ),
        "Scores on held-out recordings, in bits per spike:",
        *(
            f"  {one['method']}: {_with_interval(one)} over {one['null']}, {one['sessions']} sessions, {one['heldout']}"
            for one in about.scores
        ),
        f"SHA-256: {about.sha256}",
        f"Code: {about.code}",
        f"Made by: {about.made_by}",
    ]
    return "\n".join(lines)


def _as_json(about: "About") -> dict:
    lengths = lengths_of(about.name)
    return {
        "name": about.name,
        "version": about.version,
        "summary": about.summary,
        "species": list(about.species),
        "preparation": about.preparation,
        "bin_ms": lengths.bin_ms,
        "context_s": lengths.context_s,
        "horizon_s": lengths.horizon_s,
        "bytes": _size(about),
        "data": list(about.data),
        "scores": list(about.scores),
        "sha256": about.sha256,
        "code": about.code,
        "made_by": about.made_by,
    }


def _size(about: "About") -> int:
    return weights_path(about.name).stat().st_size


def _score(about: "About") -> str:
    """Return the score of the adaptive forecast, which is the one that a user gets; else the first score."""
    rows = sorted(about.scores, key=lambda one: one["method"] != ADAPTIVE)
    if not rows:
        return "no score"
    best = rows[0]
    return f"{_with_interval(best)} bits per spike ({best['method']}, {best['sessions']} sessions, {best['heldout']})"


def _with_interval(score: dict) -> str:
    return f"{score['bits_per_spike']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
