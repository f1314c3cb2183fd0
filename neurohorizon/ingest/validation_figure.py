"""The picture of a validation report, in its own module because only it needs matplotlib."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from neurohorizon.config import Splits as SplitSettings
from neurohorizon.config import Timeline
from neurohorizon.files import replacing
from neurohorizon.ingest.validation import Report, validate_session, write_report
from neurohorizon.printed_names import in_figure
from neurohorizon.session import Session, read_session
from neurohorizon.timeline import MICROSECONDS, Intervals, bin_domain, to_s

RASTER_UNITS = 60
"""Most units in the raster excerpt."""
RASTER_S = 10.0
"""Length of the excerpt of a continuous session."""
RASTER_INTERVALS = 8
"""Intervals in the excerpt of a session of trials."""
RATE_POINTS = 600
"""Points along the population rate."""
DRAWN_PAUSES = 40
"""With more pauses than this, as between trials, single ones are too thin to draw."""

# colours of Wong (2011), which colour-blind readers distinguish too
_PART_COLOURS = {"reference": "#56B4E9", "test": "#D55E00", "train": "#009E73", "validation": "#E69F00"}
_STIMULUS_COLOURS = ("#0072B2", "#CC79A7", "#F0E442", "#56B4E9", "#D55E00", "#009E73", "#E69F00")
_GRAY_SCREEN = "#BBBBBB"
_INK = "#222222"


def validate_file(
    session: Path,
    *,
    findings: Path,
    picture: Path,
    timeline: Timeline,
    splits: SplitSettings,
) -> Report:
    """Check a session file and write what was found, as JSON and as a picture.

    A session that was left out gives a report and a picture that say why.

    Args:
        session: The session file.
        findings: JSON file to write.
        picture: Picture to write; its suffix decides the format.
        timeline: Bins and windows of the run.
        splits: Splits of the run.

    Raises:
        SessionError: The file is missing or broken.
    """
    loaded = read_session(session)
    report = validate_session(loaded, timeline=timeline, splits=splits)
    draw_report(picture, loaded, report)
    write_report(findings, report)
    return report


def draw_report(path: str | Path, session: Session, report: Report) -> None:
    """Draw population rate with domain and splits, unit rates, a raster excerpt and the findings."""
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    FigureCanvasAgg(figure)
    if report.left_out is None:
        parts_height = 1.3 if len(session.stimuli["start"]) else 0.7
        grid = figure.add_gridspec(4, 2, height_ratios=[parts_height, 2.2, 2.8, 1.8], width_ratios=[1, 1.7])
        over_time = figure.add_subplot(grid[1, :])
        _draw_parts(figure.add_subplot(grid[0, :], sharex=over_time), session)
        _draw_population_rate(over_time, session)
        _draw_unit_rates(figure.add_subplot(grid[2, 0]), session)
        _draw_raster(figure.add_subplot(grid[2, 1]), session)
        _write_findings(figure.add_subplot(grid[3, :]), report)
    else:
        _write_findings(figure.add_subplot(), report)
    about = (report.source, report.subject, report.lab, report.date)
    title = f"{report.session}   ({', '.join(in_figure(text) for text in about if text)})"
    figure.suptitle(title, fontsize=12, color=_INK)
    path = Path(path)
    dated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata=dated.get(path.suffix))


def _draw_parts(axes: Axes, session: Session) -> None:
    rows = (("when forecast", ("reference", "test")), ("when trained on", ("train", "validation")))
    for row, (_, names) in enumerate(rows):
        for name in names:
            part = getattr(session.splits, name)
            start_s, stop_s = float(to_s(part.start_us[0])), float(to_s(part.stop_us[-1]))
            bars = _spans(part) if len(part) <= DRAWN_PAUSES else [(start_s, stop_s - start_s)]
            axes.broken_barh(bars, (row - 0.4, 0.8), color=_PART_COLOURS[name], linewidth=0)
            label = f"{name}, {part.duration_us / MICROSECONDS:.0f} s"
            box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
            axes.text((start_s + stop_s) / 2, row, label, ha="center", va="center", fontsize=8, color=_INK, bbox=box)
    labels = [label for label, _ in rows]
    if len(session.stimuli["start"]):
        _draw_stimuli(axes, session, row=len(labels))
        labels.append("on the screen")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(bottom=False, labelbottom=False, left=False)
    axes.spines[:].set_visible(False)


def _draw_stimuli(axes: Axes, session: Session, *, row: int) -> None:
    """Runs of the same stimulus as bars, the gray screen in gray, all named in a legend."""
    stimuli = session.stimuli
    names = np.where(stimuli["image_set"] == "gray", "gray", stimuli["name"])
    first = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    last = np.r_[first[1:], len(names)] - 1
    shown = [name for name in dict.fromkeys(names[first].tolist()) if name != "gray"]
    colours = {name: _STIMULUS_COLOURS[index % len(_STIMULUS_COLOURS)] for index, name in enumerate(shown)}
    for name, colour in [*colours.items(), ("gray", _GRAY_SCREEN)]:
        runs = [
            (float(stimuli["start"][begin]), float(stimuli["end"][end] - stimuli["start"][begin]))
            for begin, end in zip(first, last, strict=True)
            if names[begin] == name
        ]
        if runs:
            axes.broken_barh(runs, (row - 0.4, 0.8), color=colour, linewidth=0, label=in_figure(name.replace("_", " ")))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, fontsize=7, frameon=False)


def _draw_population_rate(axes: Axes, session: Session) -> None:
    domain, times_us = session.domain, session.spike_times_us
    longest_us = int((domain.stop_us - domain.start_us).max())
    width_us = max(MICROSECONDS // 10, int(domain.duration_us / RATE_POINTS / MICROSECONDS + 1) * MICROSECONDS)
    if width_us > longest_us:  # trials: a point for each
        start_us, stop_us = domain.start_us, domain.stop_us
        style = {"linestyle": "none", "marker": ".", "markersize": 4}
        what = "one point an interval"
    else:
        binned = bin_domain(domain, width_us)
        start_us, stop_us = binned.start_us, binned.start_us + width_us
        style = {"linewidth": 0.9}
        what = f"in {width_us / MICROSECONDS:g} s"
    spikes = np.searchsorted(times_us, stop_us) - np.searchsorted(times_us, start_us)
    rate_hz = spikes / to_s(stop_us - start_us) / session.n_units
    middle_s = to_s((start_us + stop_us) // 2)
    if width_us <= longest_us:  # break the line where valid time does
        breaks = np.flatnonzero(np.diff(binned.segment)) + 1
        rate_hz, middle_s = np.insert(rate_hz, breaks, np.nan), np.insert(middle_s, breaks, np.nan)
    axes.plot(middle_s, rate_hz, color=_INK, **style)
    pauses = Intervals(domain.start_us[:1], domain.stop_us[-1:]).without(domain)
    valid = f"{domain.duration_us / MICROSECONDS:.0f} s valid in {len(domain)} interval(s)"
    if 0 < len(pauses) <= DRAWN_PAUSES:
        valid += ", pauses shaded"
        for start_s, length_s in _spans(pauses):
            axes.axvspan(start_s, start_s + length_s, color="#999999", alpha=0.25, linewidth=0)
    axes.set_title(f"Population rate, {what}; {valid}", fontsize=9, loc="left")
    axes.set_xlabel("time on the session clock (s)")
    axes.set_ylabel("spikes/s per unit")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_unit_rates(axes: Axes, session: Session) -> None:
    rates_hz = []
    for name in ("reference", "test"):
        part = getattr(session.splits, name)
        inside = part.contains(session.spike_times_us)
        spikes = np.bincount(session.spike_unit[inside], minlength=session.n_units)
        # a unit silent in a part is drawn at half a spike, so that a logarithmic axis can show it
        rates_hz.append(np.maximum(spikes, 0.5) / (part.duration_us / MICROSECONDS))
    reference_hz, test_hz = rates_hz
    edges = np.array([min(map(np.min, rates_hz)) / 1.5, max(map(np.max, rates_hz)) * 1.5])
    axes.plot(edges, edges, color="#999999", linewidth=0.8, zorder=0)
    axes.scatter(reference_hz, test_hz, s=7, color=_INK, alpha=0.5, linewidths=0)
    axes.set(xscale="log", yscale="log", xlim=edges, ylim=edges, aspect="equal")
    few_decades = np.log10(edges[1] / edges[0]) < 2
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if few_decades else (1.0,)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("rate in reference (Hz)")
    axes.set_ylabel("rate in test (Hz)")
    axes.set_title(f"Rates of {session.n_units} units (silent: half a spike)", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_raster(axes: Axes, session: Session) -> None:
    test = session.splits.test
    excerpt = Intervals(test.start_us[:RASTER_INTERVALS], test.stop_us[:RASTER_INTERVALS])
    start_us = int(excerpt.start_us[0])
    if excerpt.stop_us[0] - start_us > RASTER_S * MICROSECONDS:
        excerpt = excerpt.clip(start_us, start_us + int(RASTER_S * MICROSECONDS))
    spikes = np.bincount(session.spike_unit, minlength=session.n_units)
    # spread over the range of rates, the busiest on top
    order = np.argsort(-spikes, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, RASTER_UNITS).round().astype(int))]
    row_of = np.full(session.n_units, -1)
    row_of[shown] = np.arange(len(shown))
    segment = excerpt.index_of(session.spike_times_us)
    kept = (segment >= 0) & (row_of[session.spike_unit] >= 0)
    # intervals stand side by side, without the pauses between them
    lengths_us = excerpt.stop_us - excerpt.start_us
    shift_us = np.cumsum(lengths_us) - lengths_us - excerpt.start_us
    shown_s = to_s(session.spike_times_us[kept] + shift_us[segment[kept]])
    axes.plot(shown_s, row_of[session.spike_unit[kept]], "|", color=_INK, markersize=3.2, markeredgewidth=0.7)
    for edge_s in to_s(np.cumsum(lengths_us))[:-1]:
        axes.axvline(edge_s, color=_PART_COLOURS["test"], linewidth=0.8)
    axes.set_xlim(0, to_s(lengths_us.sum()))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    pieces = f"{len(excerpt)} intervals side by side, " if len(excerpt) > 1 else ""
    axes.set_title(f"First spikes of test: {pieces}{len(shown)} units by rate", fontsize=9, loc="left")
    axes.set_xlabel(f"valid time from {start_us / MICROSECONDS:.2f} s (s)")
    axes.set_ylabel("unit, busiest on top")
    axes.spines[["top", "right"]].set_visible(False)


def _write_findings(axes: Axes, report: Report) -> None:
    lines = []
    messages = [f"{finding.severity}: {finding.message}" for finding in report.findings]
    if report.proposals:
        reasons = "; ".join(f"{one.unit} ({one.reason}: {one.detail})" for one in report.proposals)
        messages.insert(len(report.fatal), f"proposed to be excluded: {reasons}. Under cohort:  {report.exclude}")
    for message in messages:
        first, *others = textwrap.wrap(in_figure(message), 165)
        lines += [first, *(f"    {line}" for line in others)]
    if len(lines) > 9:
        lines = [*lines[:8], f"... and {len(lines) - 8} lines more in the JSON report"]
    axes.set_title("Findings" if lines else "Nothing found that is wrong or odd", fontsize=9, loc="left")
    axes.text(0, 1, "\n".join(lines), va="top", fontsize=8, color="#A00000" if report.fatal else _INK, wrap=False)
    axes.set_axis_off()


def _spans(intervals: Intervals) -> list[tuple[float, float]]:
    """Start and length of each interval in seconds, as matplotlib takes bars."""
    starts_s, lengths_s = to_s(intervals.start_us), to_s(intervals.stop_us - intervals.start_us)
    return list(zip(starts_s.tolist(), lengths_s.tolist(), strict=True))
