"""Driver of AllenSDK, run by the interpreter of its environment; tests read its results.

It simulates a small release, opens it with AllenSDK, ingests it, and provokes errors, all without a network.
``python allen_driver.py FOLDER`` writes files there, and ``outcomes.json`` with the results of the calls.
"""

import dataclasses
import json
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from neurohorizon.cohort import Row
from neurohorizon.config import AllenSource, SimulatedAllen, Splits, Timeline
from neurohorizon.ingest import allen
from neurohorizon.ingest.allen import download_session, export_images, ingest_allen
from neurohorizon.ingest.simulated import allen as simulate_allen
from neurohorizon.ingest.simulated.allen import simulate_allen_release, simulated_allen_sessions
from neurohorizon.session import write_session

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
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=0.5)


def source(folder: Path, **changes: object) -> AllenSource:
    usual = {
        "mode": "local",
        "folder": str(folder),
        "isi_violations_maximum": 0.5,
        "amplitude_cutoff_maximum": 0.1,
        "presence_ratio_minimum": 0.95,
        "download_attempts": 2,
    }
    return AllenSource(**(usual | changes))


def row(index: int, **changes: str) -> Row:
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


def no_network(*_: object) -> None:
    raise ConnectionRefusedError("a test must not use the network")


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    drawn = simulate_allen._units

    def with_falling_ids(*arguments: object) -> object:
        """Simulate units whose ids do not rise with their probes, as in the release."""
        units = drawn(*arguments)
        return dataclasses.replace(units, id=units.id[::-1].copy())

    simulate_allen._units = with_falling_ids
    socket.socket.connect = socket.getaddrinfo = no_network
    allen._RETRY_WAIT_S = 0.0
    release, found = folder / "release", {}
    simulate_allen_release(release, folder / "truth", simulated_allen=SIMULATED, timeline=TIMELINE, seed=5)
    alone = SIMULATED.model_copy(update={"animals": 1})
    simulate_allen_release(folder / "alone", folder / "truth_alone", simulated_allen=alone, timeline=TIMELINE, seed=5)
    for index in range(SIMULATED.animals):
        download_session(row(index), source=source(release), manifest=folder / f"{index}.json")
        session = ingest_allen(folder / f"{index}.json", row(index), source=source(release), splits=SPLITS)
        write_session(folder / f"{index}.h5", session)
    for image_set in ("natural_movie_one", "natural_scenes", "gray"):
        export_images(image_set, allen=source(release), output=folder / f"{image_set}.h5")
    found["allensdk"] = as_allensdk_sees_it(release)
    found["faults"] = faults(folder, folder / "alone")
    found["remote"] = remote(folder)
    (folder / "outcomes.json").write_text(json.dumps(found, indent=1))


def as_allensdk_sees_it(release: Path) -> dict:
    """Read the release by the cache's own calls, as its users do."""
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache

    cache = EcephysProjectCache.from_warehouse(manifest=str(release / "manifest.json"))
    sessions = cache.get_session_table()
    first = cache.get_session_data(int(sessions.index[0]))
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
    manifest, file = folder / "fault.json", recording(release)
    whole = file.read_bytes()

    def download(one: Row, **changes: object) -> str:
        return outcome(lambda: download_session(one, source=source(release, **changes), manifest=manifest))

    def ingest(**changes: object) -> str:
        return outcome(lambda: ingest_allen(manifest, row(0), source=source(release, **changes), splits=SPLITS))

    def export(image_set: str) -> str:
        return outcome(lambda: export_images(image_set, allen=source(release), output=folder / "no.h5"))

    found: dict[str, object] = {}
    found["another session"] = download(row(1))
    found["another animal"] = download(row(0, subject="SIM-A09"))
    found["no number"] = download(row(0, session="sim_1"))
    nowhere = source(folder / "nowhere")
    found["no cache"] = outcome(lambda: download_session(row(0), source=nowhere, manifest=manifest))
    sessions = release / "sessions.csv"
    table = sessions.read_bytes()
    sessions.write_bytes(b"")
    found["empty table"] = download(row(0), mode="remote")
    found["empty table stays"] = sessions.read_bytes() == b""
    sessions.write_bytes(table)
    found["manifest of a failed download"] = manifest.exists()
    for mode in ("local", "remote"):
        file.write_bytes(whole[: len(whole) // 2])
        found[f"cut short, {mode}"] = download(row(0), mode=mode)
        found[f"unchanged, {mode}"] = file.read_bytes() == whole[: len(whole) // 2]
    file.write_bytes(whole)
    found["put right"] = download(row(0))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    file.write_bytes(flipped)
    found["changed"] = ingest()
    found["changed file stays"] = file.read_bytes() == bytes(flipped)
    file.unlink()
    found["gone"] = ingest()
    found["never there"] = download(row(0))
    found["files of a failed download"] = sorted(path.name for path in file.parent.iterdir())
    file.write_bytes(whole)
    found["too strict"] = ingest(presence_ratio_minimum=1.0)
    lax = source(release, isi_violations_maximum=9.0, amplitude_cutoff_maximum=1.0, presence_ratio_minimum=0.0)
    found["lax"] = ingest_allen(manifest, row(0), source=lax, splits=SPLITS).n_units

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


def remote(folder: Path) -> dict[str, object]:
    """Download from a simulated warehouse of the release's own files, which first sends half of a file."""
    from allensdk.brain_observatory.ecephys.ecephys_project_api import EcephysProjectWarehouseApi as Warehouse
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import read_csv

    release, cache = folder / "release", folder / "downloaded"
    calls: list[str] = []
    found: dict[str, object] = {}
    found["no network"] = outcome(
        lambda: download_session(row(0), source=source(cache, mode="remote"), manifest=folder / "remote.json")
    )
    found["files after it"] = sorted(path.name for path in cache.rglob("*") if path.is_file())

    def table(name: str) -> Callable:
        def get(_: object) -> object:
            calls.append(name)
            return read_csv(release / f"{name}.csv")

        return get

    def session(_: object, session_id: int) -> object:
        calls.append("session")
        content = recording(release).read_bytes()
        assert str(session_id) in recording(release).name
        return iter([content[:5000], content[5000 : len(content) if calls.count("session") > 1 else len(content) // 2]])

    def movie(_: object, number: int) -> object:
        calls.append(f"movie {number}")
        return iter([(release / "natural_movie_templates" / f"natural_movie_{number}.h5").read_bytes()])

    for name in allen.TABLES:
        setattr(Warehouse, f"get_{name}", table(name))
    Warehouse.get_session_data = session
    Warehouse.get_natural_movie_template = movie
    for number in range(2):
        download_session(row(0), source=source(cache, mode="remote"), manifest=folder / f"remote_{number}.json")
        found[f"requests {number}"] = sorted(calls)
    export_images("natural_movie_one", allen=source(cache, mode="remote"), output=folder / "downloaded_movie.h5")
    found["last request"] = calls[-1]
    ingested = ingest_allen(folder / "remote_1.json", row(0), source=source(cache, mode="remote"), splits=SPLITS)
    found["spikes"] = len(ingested.spike_times_us)
    found["same bytes"] = recording(cache).read_bytes() == recording(release).read_bytes()
    found["partial files"] = sorted(path.name for path in cache.rglob(".part*"))
    found["release"] = ingested.provenance["release"]
    return found


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main(Path(sys.argv[1]))
