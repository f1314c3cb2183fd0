"""Driver of AllenSDK, run by the interpreter of its environment; tests read its results.

It simulates a small release, opens it with AllenSDK, ingests it, provokes errors, and downloads it from a local server
that stands in for the bucket; there is no other network. ``python allen_driver.py FOLDER`` writes files there, and
``outcomes.json`` with the results of the calls. ``python allen_driver.py ingest FOLDER`` only ingests the first session
of the release there, and prints the memory that this takes.
"""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the environment of AllenSDK has no pytest

from factories.big_allen import enlarge
from factories.file_server import Answer, FileServer, serving
from neurohorizon.cohort import Row
from neurohorizon.config import AllenSource, SimulatedAllen, Splits, Timeline
from neurohorizon.ingest import downloads
from neurohorizon.ingest.allen import ingest_allen
from neurohorizon.ingest.allen_download import download_session, export_images
from neurohorizon.ingest.allen_release import fetch_allen_release
from neurohorizon.ingest.simulated import allen as simulate_allen
from neurohorizon.ingest.simulated.allen import simulate_allen_release, simulated_allen_sessions
from neurohorizon.session import Session, write_session

SIMULATED = SimulatedAllen(
    animals=3,
    units=(22, 26),
    blocks=2,
    movie_s=4.0,
    movie_repeats=4,
    scenes=12,
    gratings=3,
    latents=3,
    drift=0.1,
    image_drive=0.8,
)
TIMELINE = Timeline(bin_ms=20, context_bins=10, horizon_bins=10, evaluation_stride_bins=20)
SILENT_S = (55.0, 60.0)
"""Time from which the spikes of one probe are moved."""
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=0.5)


def source(folder: Path, **changes: object) -> AllenSource:
    usual = {
        "mode": "local",
        "folder": str(folder),
        "base_url": "http://127.0.0.1:9",
        "isi_violations_maximum": 0.5,
        "amplitude_cutoff_maximum": 0.1,
        "presence_ratio_minimum": 0.95,
        "outage_hours": 0.5 / 3600,
    }
    return AllenSource(**(usual | changes))


def row(index: int, **changes: object) -> Row:
    session = simulated_allen_sessions(SIMULATED)[index]
    usual = {"session": session.session, "subject": session.subject, "date": session.date}
    return Row(**(usual | changes), source="allen", lab="allen", role="train", fold="", why="")


def recording(folder: Path, index: int = 0) -> Path:
    session = simulated_allen_sessions(SIMULATED)[index].session
    return folder / f"session_{session}" / f"session_{session}.nwb"


def outcome(call: Callable[[], object]) -> str:
    """Return the result of a call: "fine", or the type of its error and its text."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "fine"


_connect = socket.socket.connect


def only_this_machine(self: socket.socket, address: tuple) -> None:
    """Connect to servers of this process only."""
    if address[0] != "127.0.0.1":
        raise ConnectionRefusedError("a test must not use the network")
    _connect(self, address)


def download(one: Row, listing: Path, **changes: object) -> None:
    """Download a session and write the list of its files."""
    listing.write_text(json.dumps(download_session(one, source=source(**changes)), indent=1))


@contextmanager
def units_untouched() -> Iterator[list[str]]:
    """Collect each table of units or electrodes, and each spike train, that AllenSDK makes."""
    from allensdk.brain_observatory.ecephys._channels import Channels
    from allensdk.brain_observatory.ecephys._units import Units
    from allensdk.brain_observatory.ecephys.probes import Probes
    from hdmf.common import DynamicTable

    made: list[str] = []
    usual = {DynamicTable: "to_dataframe", Units: "from_nwb", Probes: "from_nwb", Channels: "from_nwb"}
    before = {owner: owner.__dict__[name] for owner, name in usual.items()}

    def frame(table: DynamicTable, *arguments: object, **options: object) -> object:
        if table.name in ("units", "electrodes"):
            made.append(table.name)
        return before[DynamicTable](table, *arguments, **options)

    def recorded(owner: type) -> classmethod:
        def from_nwb(_: type, *arguments: object, **options: object) -> object:
            made.append(owner.__name__)
            return before[owner].__func__(owner, *arguments, **options)

        return classmethod(from_nwb)

    DynamicTable.to_dataframe = frame
    for owner in (Units, Probes, Channels):
        owner.from_nwb = recorded(owner)
    try:
        yield made
    finally:
        for owner, name in usual.items():
            setattr(owner, name, before[owner])


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    drawn = simulate_allen._units

    def with_falling_ids(*arguments: object) -> object:
        """Simulate units whose ids do not rise with their probes, as in the release."""
        units = drawn(*arguments)
        return dataclasses.replace(units, id=units.id[::-1].copy())

    simulate_allen._units = with_falling_ids
    socket.socket.connect = only_this_machine
    downloads._FIRST_WAIT_S, downloads._LONGEST_WAIT_S, downloads.TIMEOUT_S = 0.05, 0.1, (1.0, 0.5)
    release, found = folder / "release", {}
    simulate_allen_release(release, folder / "truth", simulated_allen=SIMULATED, timeline=TIMELINE, seed=5)
    alone = SIMULATED.model_copy(update={"animals": 1})
    simulate_allen_release(folder / "alone", folder / "truth_alone", simulated_allen=alone, timeline=TIMELINE, seed=5)
    with units_untouched() as made:
        for index in range(SIMULATED.animals):
            download(row(index), folder / f"{index}.json", folder=release)
            session = ingest_allen(folder / f"{index}.json", row(index), source=source(release), splits=SPLITS)
            write_session(folder / f"{index}.h5", session)
        found["made by ingest"] = list(made)
        found["allensdk"] = as_allensdk_reads_it(release)
        found["made by allensdk"] = sorted(set(made))
    for image_set in ("natural_movie_one", "natural_scenes", "gray"):
        export_images(image_set, allen=source(release), output=folder / f"{image_set}.h5")
    found["faults"] = faults(folder, folder / "alone")
    with serving(release) as bucket:
        found["remote"] = remote(folder, bucket)
    found["memory"] = memory(folder)
    (folder / "outcomes.json").write_text(json.dumps(found, indent=1))


def as_allensdk_reads_it(release: Path) -> dict:
    """Read the release by the cache's own calls, as its users do."""
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache

    cache = EcephysProjectCache.from_warehouse(manifest=str(release / "manifest.json"))
    sessions = cache.get_session_table()
    first = cache.get_session_data(int(sessions.index[0]))
    every = [cache.get_session_data(int(number)) for number in sessions.index]
    order = ["probe_description", "unit_id"]
    units = [one.units.rename_axis("unit_id").reset_index().sort_values(order) for one in every]
    for index, (one, table) in enumerate(zip(every, units, strict=True)):
        trains = [np.asarray(one.spike_times[unit]) for unit in table["unit_id"]]
        np.savez(
            release.parent / f"allensdk_{index}.npz",
            id=table["unit_id"].to_numpy(str),
            probe=table["probe_description"].to_numpy(str),
            region=table["structure_acronym"].to_numpy(str),
            **{name: table[name] for name in ("isi_violations", "amplitude_cutoff", "presence_ratio")},
            times_s=np.concatenate(trains),
            counts=[len(train) for train in trains],
        )
    return {
        "sessions": sessions["session_type"].to_dict(),
        "unit_count": sessions["unit_count"].to_dict(),
        "units": len(cache.get_units()),
        "session_units": {str(unit): region for unit, region in first.units["ecephys_structure_acronym"].items()},
        "stimuli": first.stimulus_names,
        "movie": cache.get_natural_movie_template(1).shape,
        "scene": cache.get_natural_scene_template(117).shape,
        "invalid": len(first.invalid_times),
    }


def faults(folder: Path, release: Path) -> dict[str, object]:
    """Make faults on purpose in a release of only the first session, and repair the release after each."""
    listing, file = folder / "fault.json", recording(release)
    whole = file.read_bytes()

    def get(one: Row, **changes: object) -> str:
        return outcome(lambda: download(one, listing, **({"folder": release} | changes)))

    def ingest(**changes: object) -> str:
        return outcome(lambda: ingest_allen(listing, row(0), source=source(release, **changes), splits=SPLITS))

    def export(image_set: str) -> str:
        return outcome(lambda: export_images(image_set, allen=source(release), output=folder / "no.h5"))

    found: dict[str, object] = {}
    found["another session"] = get(row(1))
    found["another animal"] = get(row(0, subject="SIM-A09"))
    found["no number"] = get(row(0, session="sim_1"))
    found["no folder"] = get(row(0), folder=folder / "nowhere")
    (release / "manifest.json").rename(release / "kept.json")
    found["no manifest"] = get(row(0))
    (release / "manifest.json").write_text(json.dumps({"manifest": [{"type": "manifest_version", "value": "0.2.1"}]}))
    found["old manifest"] = get(row(0))
    (release / "kept.json").replace(release / "manifest.json")
    listing.unlink()
    sessions = release / "sessions.csv"
    table = sessions.read_bytes()
    sessions.write_bytes(b"")
    found["empty table"] = get(row(0))
    found["empty table stays"] = sessions.read_bytes() == b""
    sessions.write_bytes(b"id,name\n1,a\n")
    found["another table"] = get(row(0))
    sessions.write_bytes(table)
    found["list of a failed download"] = listing.exists()
    file.write_bytes(whole[: len(whole) // 2])
    found["cut short"] = get(row(0))
    found["cut file stays"] = file.read_bytes() == whole[: len(whole) // 2]
    file.write_bytes(whole)
    found["put right"] = get(row(0))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    file.write_bytes(flipped)
    found["changed"] = ingest()
    found["changed file stays"] = file.read_bytes() == bytes(flipped)
    file.unlink()
    found["gone"] = ingest()
    found["never there"] = get(row(0))
    found["files of a failed download"] = sorted(path.name for path in file.parent.iterdir())
    file.write_bytes(whole)
    found["too strict"] = ingest(presence_ratio_minimum=1.0)
    lax = source(release, isi_violations_maximum=9.0, amplitude_cutoff_maximum=1.0, presence_ratio_minimum=0.0)
    found["lax"] = ingest_allen(listing, row(0), source=lax, splits=SPLITS).n_units

    found["silent probe"] = with_a_silent_probe(file, lambda: ingest_after(listing, release, get))
    file.write_bytes(whole)

    movie = release / "natural_movie_templates" / "natural_movie_1.h5"
    frames = movie.read_bytes()
    movie.write_bytes(frames[:1000])
    found["movie cut short"] = export("natural_movie_one")
    found["movie stays"] = movie.read_bytes() == frames[:1000]
    movie.write_bytes(frames)
    (release / "natural_scene_templates" / "natural_scene_7.tiff").unlink()
    found["no scene"] = export("natural_scenes")
    found["no such set"] = export("natural_movie_two")
    found["no movie three"] = export("natural_movie_three")
    return found


def ingest_after(listing: Path, release: Path, get: Callable) -> Session:
    """Download and read the first session."""
    assert get(row(0)) == "fine"
    return ingest_allen(listing, row(0), source=source(release), splits=SPLITS)


def with_a_silent_probe(file: Path, read: Callable[[], Session]) -> dict[str, object]:
    """Move the spikes of one probe out of five seconds, read the session, and return its valid time and findings."""
    before = read()
    probe = before.units["probe"][0]
    units = set(before.units["id"][before.units["probe"] == probe].astype(int))
    with h5py.File(file, "r+") as opened:
        times, ends = opened["units/spike_times"], opened["units/spike_times_index"][:]
        for first, last, unit in zip(np.append(0, ends[:-1]), ends, opened["units/id"][:], strict=True):
            if int(unit) in units:
                one = times[first:last]
                hole = (one >= SILENT_S[0]) & (one < SILENT_S[1])
                one[hole] = SILENT_S[0] - (SILENT_S[1] - one[hole]) / 100
                times[first:last] = one
    after = read()
    return {
        "probe": str(probe),
        "before": np.stack([before.domain.start_us, before.domain.stop_us], axis=1).tolist(),
        "after": np.stack([after.domain.start_us, after.domain.stop_us], axis=1).tolist(),
        "findings": [one["message"] for one in json.loads(after.provenance["findings"]) if one["code"] == "dropout"],
    }


def remote(folder: Path, bucket: FileServer) -> dict[str, object]:
    """Download from a server that stands in for the bucket, and is slow, stalls, breaks off and lacks files."""
    release, cache = folder / "release", folder / "downloaded"
    session, movie = "session_{0}/session_{0}.nwb", "natural_movie_templates/natural_movie_1.h5"
    names = [session.format(one.session) for one in simulated_allen_sessions(SIMULATED)]
    size = recording(release).stat().st_size
    found: dict[str, object] = {}

    def get(index: int, **changes: object) -> str:
        usual = {"folder": cache, "mode": "remote", "base_url": bucket.url}
        return outcome(lambda: download(row(index), folder / f"remote_{index}.json", **(usual | changes)))

    def export(name: str, **changes: object) -> str:
        settings = source(cache, **({"mode": "remote", "base_url": bucket.url} | changes))
        return outcome(lambda: export_images(name, allen=settings, output=folder / f"downloaded_{name}.h5"))

    def table(**changes: object) -> str:
        settings = source(cache, **({"mode": "remote", "base_url": bucket.url} | changes))
        return outcome(lambda: fetch_allen_release(folder / "table.csv", allen=settings))

    found["no network"] = get(0, base_url="http://127.0.0.1:9")
    found["files after it"] = sorted(path.name for path in cache.rglob("*") if path.is_file())
    bucket.always["sessions.csv"] = Answer(status=404)
    found["no table"] = table()
    bucket.always["sessions.csv"] = Answer(body=b"<html>Please log in</html>")
    found["a page instead of the table"] = table()
    del bucket.always["sessions.csv"]
    found["table"] = table()
    found["table again"] = (table(base_url="http://127.0.0.1:9"), bucket.count("sessions.csv"))
    found["table of a null section"] = outcome(lambda: fetch_allen_release(folder / "table.csv", allen=None))
    before = len(bucket.requests)
    # a timeout is half a second here; the first session takes longer, stalls, breaks off, and is refused for a while
    bucket.script[names[0]] = [
        Answer(pause_s=0.1, piece=size // 20, cut_after=size // 2),
        Answer(stall_after=size // 8),
        Answer(status=503, headers={"Retry-After": "0"}),
        Answer(pause_s=0.1, piece=size // 20),
    ]
    start = time.monotonic()
    found["slow, stalled, cut"] = get(0)
    found["seconds"] = time.monotonic() - start
    found["asked from"] = [first for name, first in bucket.requests[before:] if name == names[0]]
    found["sent"] = bucket.sent[names[0]] / size
    found["names"] = sorted({name for name, _ in bucket.requests[before:]} - {names[0]})
    before = len(bucket.requests)
    found["again"] = get(0, base_url="http://127.0.0.1:9")
    found["requests of it"] = len(bucket.requests) - before
    cut = recording(cache).read_bytes()[: size // 2]
    recording(cache).write_bytes(cut)
    found["cut file there"] = get(0)
    found["set aside"] = Path(f"{recording(cache)}.damaged").read_bytes() == cut
    found["same bytes"] = recording(cache).read_bytes() == recording(release).read_bytes()
    bucket.always[names[1]] = Answer(status=404)
    found["no session"] = get(1)
    bucket.always[names[1]] = Answer(body=recording(release, 1).read_bytes()[: size // 2])
    found["damaged each time"] = get(1)
    bucket.always[names[1]] = Answer(body=recording(release, 2).read_bytes())
    found["another session's file"] = get(1)
    del bucket.always[names[1]]
    bucket.script[names[1]] = [Answer(body=b"\0" * 1000)]
    found["damaged once"] = get(1)
    bucket.always[names[2]] = Answer(status=403)
    found["refused"] = get(2)
    bucket.always[names[2]] = Answer(status=500)
    found["outage"] = get(2)
    found["partial files"] = sorted(path.name for path in cache.rglob("*.part*"))
    ingested = ingest_allen(folder / "remote_0.json", row(0), source=source(cache, mode="remote"), splits=SPLITS)
    found["spikes"] = len(ingested.spike_times_us)
    found["release"] = (ingested.provenance["release"], bucket.url)
    bucket.script[movie] = [Answer(body=b"half"), Answer(stall_after=200_000)]
    found["movie"] = export("natural_movie_one")
    bucket.always["natural_scene_templates/natural_scene_7.tiff"] = Answer(status=404)
    found["no scene"] = export("natural_scenes")
    return found


def memory(folder: Path) -> dict[str, float]:
    """Ingest a small release and a big one, each in its own process, and return bytes of spikes and of memory."""
    found: dict[str, float] = {}
    for name, spikes in (("small", 0), ("big", 400_000)):
        release = folder / f"memory_{name}"
        shutil.copytree(folder / "alone", release)
        if spikes:
            found["spikes"], found["kept"] = enlarge(recording(release), spikes_per_unit=spikes)
        command = [sys.executable, __file__, "ingest", str(release)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        shutil.rmtree(release)
    return found


def ingest_and_measure(release: Path) -> int:
    """Return the peak of this process's memory after ingestion and writing, in bytes."""
    warnings.simplefilter("ignore")
    listing = release / "list.json"
    download(row(0), listing, folder=release)
    write_session(release / "made.h5", ingest_allen(listing, row(0), source=source(release), splits=SPLITS))
    # ru_maxrss would include the process that started this one
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    if sys.argv[1] == "ingest":
        print(ingest_and_measure(Path(sys.argv[2])))
    else:
        np.seterr(all="raise", under="ignore")
        main(Path(sys.argv[1]))
