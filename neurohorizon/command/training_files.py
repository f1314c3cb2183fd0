"""A cohort table and a short configuration for training on one's own NWB files."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from neurohorizon.cohort import CohortError, Row, folds, read_cohort, write_cohort
from neurohorizon.config import EXTENDS, PRESETS, Config, ConfigError, NwbSource, parse_config
from neurohorizon.files import replacing
from neurohorizon.ingest.own_cohort import (
    Described,
    Examined,
    choose_reading,
    choose_region,
    common_folder,
    describe,
    examine,
    preset_of,
    rows_of,
    with_roles,
)
from neurohorizon.methods import FORECASTER, OWN_HISTORY_READOUT
from neurohorizon.printed_names import one_line
from neurohorizon.session import SessionError
from neurohorizon.starting_weights import KEY, Start, StartError, check_unseen, differences, find_start, start_cards
from neurohorizon.strict_yaml import parse_yaml

COHORT, CONFIG = "cohort.tsv", "config.yaml"
SCHEMA = "schema_short.json"
_MOST_FINDINGS = 3
_WINDOW = ("context_bins", "horizon_bins")
_LEAST = {
    "run": {"name": "mine", "results": "results/mine"},
    "cohort": {"table": "cohort.tsv"},
    "sources": {"nwb": {"folder": "."}},
}
"""What every user sets in addition to a preset."""


class InitError(ValueError):
    """Files or a folder that training cannot start with; the message gives the found, the expected and what to do."""


@dataclass(frozen=True)
class Proposal:
    """Files that were written, and what they were proposed from.

    Attributes:
        cohort: The cohort table.
        config: The configuration.
        preset: Preset that the configuration extends.
        reason: Reason for the preset and for the valid time, as a clause.
        claim: What the folds hold out, as a clause.
        recordings: All files, in their order.
        start_from: Weights that the training starts from; None: random ones.
    """

    cohort: Path
    config: Path
    preset: str
    reason: str
    claim: str
    recordings: tuple[Examined, ...]
    start_from: str | None = None


def init(
    folder: str | Path,
    recordings: Sequence[str | Path] = (),
    *,
    start_from: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Proposal:
    """Write ``cohort.tsv`` and a short ``config.yaml`` for training on NWB files.

    Each animal is held out in turn; of a single animal, each recording day. A file that cannot be used is a row with
    the role ``left_out`` and the reason.

    Args:
        folder: Folder of the two files.
        recordings: NWB files, or folders that hold them; none: those below ``folder``.
        start_from: Name of released weights, or path of a network of a run, that the training starts from.
        progress: Receives a line before each file is read.

    Raises:
        InitError: One of the two files exists, there are no NWB files, they are no cohort, or the training cannot start
            from the weights.
    """
    folder = Path(folder)
    cohort_path, config_path = folder / COHORT, folder / CONFIG
    for path in (cohort_path, config_path):
        if path.exists():
            raise InitError(f"{path} exists, and nothing is overwritten; choose another folder, or delete it")
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(os.path.abspath(folder)).name).lstrip("-._") or "mine"
    results = f"results/{name}"
    if Path(results).exists():
        raise InitError(f"{results} exists: it has the results of another run; choose a folder of another name")
    paths = nwb_files(recordings or [folder])
    start = None if start_from is None else _start(start_from)
    report = progress or (lambda line: None)
    described = []
    for index, path in enumerate(paths):
        report(f"{path.name} ({index + 1} of {len(paths)})")
        described.append(describe(path))
    chosen = choose_reading(described)
    if chosen is None:
        raise InitError(_none_usable(described))
    place, preset = common_folder(paths), preset_of(chosen)
    text = config_text(
        name=name,
        results=results,
        cohort=os.path.abspath(cohort_path),
        folder=str(place),
        preset=preset,
        chosen=chosen,
        region=choose_region(described),
    )
    if start is not None:
        text += start_text(start, preset)
    try:
        config = parse_config(cast(dict, parse_yaml(text)))
    except ConfigError as error:
        raise InitError(f"{error}\nrename the folder, or copy the files to another one") from None
    source = config.sources.nwb
    if not isinstance(source, NwbSource):
        raise InitError(f"the preset {preset} has no section sources.nwb; install neurohorizon again")
    examined = []
    for index, (one, row) in enumerate(zip(described, rows_of(described, place), strict=True)):
        report(f"{one.path.name}: checks ({index + 1} of {len(paths)})")
        examined.append(examine(one, row, config, source))
    try:
        done, claim = with_roles(examined)
    except SessionError as error:
        raise InitError(f"{table(examined)}\n\n{error}") from None
    if start is not None:
        _check_unseen(start, [one.row for one in done])
    proposal = Proposal(cohort_path, config_path, preset, chosen.reason, claim, tuple(done), start_from)
    _write(proposal, text + _proposed_exclusions(done))
    return proposal


def nwb_files(recordings: Sequence[str | Path]) -> list[Path]:
    """Return the absolute paths of NWB files, those of folders included, each once.

    Raises:
        InitError: A path does not exist or is no NWB file, or a folder has none.
    """
    found: dict[Path, None] = {}
    for one in map(Path, recordings):
        if one.is_dir():
            inside = sorted(path for path in one.rglob("*.nwb") if not path.name.startswith("."))
            if not inside:
                raise InitError(f"{one} has no NWB files (*.nwb); name files or a folder that holds some")
        elif one.is_file() and one.suffix == ".nwb":
            inside = [one]
        else:
            state = "is no NWB file (*.nwb)" if one.exists() else "does not exist"
            raise InitError(f"{one} {state}; name NWB files or a folder that holds some")
        # links are kept: the name of their target may be no .nwb
        found |= dict.fromkeys(Path(os.path.abspath(path)) for path in inside)
    return list(found)


def config_text(
    *, name: str, results: str, cohort: str, folder: str, preset: str, chosen: Described, region: str | None
) -> str:
    """Return the text of a short configuration.

    Args:
        name: Name of the run.
        results: Folder of its results.
        cohort: Path of the cohort table.
        folder: Folder of the recordings.
        preset: Preset that it extends.
        chosen: File whose way of reading all files have.
        region: Column of regions.
    """
    schema = PRESETS.resolve().parent / SCHEMA
    editors = f"# yaml-language-server: $schema={schema}\n" if schema.is_file() else ""
    return f"""{editors}# Written by `neurohorizon init`: only what differs from config/presets/{preset}.yaml.
# The run stores the complete configuration in {results}/config.yaml.
{EXTENDS}: {preset}
run:
  name: {_quoted(name)}
  results: {_quoted(results)}
cohort:
  table: {_quoted(cohort)}
sources:
  nwb:
    folder: {_quoted(folder)}
    # {one_line(chosen.reason)}
    valid_time: {chosen.valid_time}
    region: {region or "null"}
"""


def _start(name: str) -> Start:
    """Return the weights of a name or a path; a path becomes absolute, since the run may be in another folder."""
    try:
        found = find_start(name)
        return found if len(Path(name).parts) == 1 and not Path(name).exists() else find_start(os.path.abspath(name))
    except StartError as error:
        raise InitError(str(error).replace(KEY, "--start-from")) from None


def start_text(start: Start, preset: str) -> str:
    """Return lines of the configuration for a training that starts from weights: the key, and what else must differ.

    Raises:
        InitError: The weights have windows of other lengths than the preset.
    """
    config = parse_config({**_LEAST, EXTENDS: preset})
    try:
        card = start_cards(start).get(FORECASTER)
    except StartError as error:
        raise InitError(str(error).replace(KEY, "--start-from")) from None
    if card is None:
        raise InitError(f"--start-from {start.name}: {start.path} has no network {FORECASTER}; name other weights")
    found = differences(card, timeline=config.timeline, features=config.features, model=config.model)
    if any(key.startswith("timeline.") for key in found):
        times = " and ".join(f"{card['timeline'][key] * card['timeline']['bin_ms']} ms" for key in _WINDOW)
        mine = " and ".join(f"{getattr(config.timeline, key) * config.timeline.bin_ms} ms" for key in _WINDOW)
        raise InitError(
            f"--start-from {start.name}: its context and horizon are {times}, and these recordings need the preset "
            f"{preset}, {mine}; `neurohorizon weights` lists others, or leave the option out"
        )
    lines = ["training:\n", f"  start_from: {_quoted(start.name)}\n"]
    for section in ("features", "model"):
        values = {
            key: card[section][key]
            for key in dict.fromkeys(name.split(".")[1] for name in found if name.startswith(f"{section}."))
        }
        if values:
            lines += [f"# as the weights of {KEY} need it\n", f"{section}:\n"]
            lines += [f"  {key}: {json.dumps(value)}\n" for key, value in values.items()]
    other = _other_networks(config, card)
    if other != config.baselines.networks:
        lines += [f"# the forecaster of these weights is {OWN_HISTORY_READOUT} itself\n", "baselines:\n"]
        lines.append(f"  networks: {json.dumps(other)}\n")
    return "".join(lines)


def _other_networks(config: Config, card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the networks of own history that a preset trains, without one that is the forecaster of a card."""
    model = config.model.model_copy(update={"population": card["model"]["population"]})
    features = config.features.model_copy(update={"groups": tuple(card["features"]["groups"])})
    differ = config.model_copy(update={"model": model, "features": features}).other_networks
    return tuple(name for name in config.baselines.networks if name in differ)


def _check_unseen(start: Start, rows: Sequence[Row]) -> None:
    try:
        for fold in folds(rows):
            check_unseen(start, rows, fold)
    except StartError as error:
        raise InitError(str(error).replace(KEY, "--start-from")) from None


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z/][\w./-]*", value) else '"' + value.replace("\\", "\\\\") + '"'


def _proposed_exclusions(recordings: Sequence[Examined]) -> str:
    """Return lines of comments that exclude all units that are likely no single neurons."""
    lines = []
    for one in recordings:
        if one.proposals and one.row.role != "left_out":
            ids = ", ".join(f'"{unit}"' for unit in dict.fromkeys(proposal.unit for proposal in one.proposals))
            lines.append(f"#     {one.row.session}: [{ids}]\n")
    if not lines:
        return ""
    start = "# Units that are likely no single neurons; see docs/own-recording.md. To exclude them, add to `cohort`:\n"
    return "".join([start, "#   exclude_units:\n", *lines])


def _write(proposal: Proposal, text: str) -> None:
    """Write both files, or none."""
    try:
        write_cohort(proposal.cohort, [one.row for one in proposal.recordings])
        read_cohort(proposal.cohort)
        with replacing(proposal.config) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except CohortError as error:
        proposal.cohort.unlink(missing_ok=True)
        raise InitError(f"these files are no cohort: {error}") from None
    except BaseException:
        proposal.cohort.unlink(missing_ok=True)
        raise


def describe_proposal(proposal: Proposal) -> str:
    """Return what was found, what was written, what to check, and the command to run."""
    used = [one for one in proposal.recordings if one.row.role != "left_out"]
    lines = [table(proposal.recordings), "", f"Wrote {proposal.cohort} and {proposal.config}."]
    lines += [f"{EXTENDS}: {proposal.preset}, since {proposal.reason}.", f"Folds: {proposal.claim}."]
    if proposal.start_from is not None:
        lines.append(f"{KEY}: {proposal.start_from}; it was trained on none of the held-out animals, by their names.")
    lines += ["", "To check:"]
    if left_out := len(proposal.recordings) - len(used):
        lines.append(f"- {left_out} of {len(proposal.recordings)} files are left out; reasons: {proposal.cohort}")
    for one in used:
        for finding in one.findings[:_MOST_FINDINGS]:
            lines.append(f"- {one.row.session}: {one_line(finding.message)}")
        if (more := len(one.findings) - _MOST_FINDINGS) > 0:
            lines.append(f"- {one.row.session}: {more} more warnings; its validation lists them")
        if one.proposals:
            units = dict.fromkeys(proposal.unit for proposal in one.proposals)
            lines.append(
                f"- {one.row.session}: {len(units)} of its units {'are' if len(units) > 1 else 'is'} likely no single "
                f"neuron; {proposal.config.name} has the lines that exclude such units"
            )
    lines.append("- subjects: do two names mean one animal? Write one name (docs/own-recording.md, file_subject)")
    lines += ["", "Next:", f"  snakemake -n --configfile {proposal.config}           # plans the run"]
    lines.append(f"  snakemake --cores 2 --configfile {proposal.config}    # runs it")
    return "\n".join(lines)


def table(recordings: Sequence[Examined]) -> str:
    """Return a table of recordings as text."""
    rows = [("session", "subject", "date", "units", "valid min", "role", "fold or reason")]
    for one in recordings:
        row = one.row
        valid = f"{one.valid_s / 60:.1f}" if one.valid_s else ""
        rows.append(
            (row.session, row.subject, row.date, str(one.units), valid, row.role, row.fold or one_line(row.why))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(value.ljust(width) for value, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def _none_usable(described: Sequence[Described]) -> str:
    reasons = [f"  {one.path.name}: {one.fault}" for one in described]
    return "\n".join([f"none of {len(described)} files can be used:", *reasons])
