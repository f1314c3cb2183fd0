"""Driver of DANDI's client, run by the interpreter of its environment; tests read its results.

It downloads from a local archive that has faults. ``python dandi_driver.py FOLDER`` reads the NWB files in
``FOLDER/made``, downloads to ``FOLDER/dandi``, and writes ``FOLDER/outcomes.json`` with the results of the calls.
"""

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factories.dandi_server import KEY, VERSION, Asset, DandiServer, Fault
from neurohorizon.cohort import Row
from neurohorizon.config import DandiSource
from neurohorizon.ingest import dandi as dandi_module
from neurohorizon.ingest import downloads
from neurohorizon.ingest.dandi import TOKEN, download_dandi, download_session, draft_cohort

ADA = "sub-Ada/sub-Ada_desc-train_behavior+ecephys.nwb"
"""An asset whose name is unique."""
BOB = "sub-Bob/day (2)/ecephys.nwb"
"""An asset whose name another one has too, in a folder that no session can be named after."""
OUTSIDE = "derivatives/sub-Ada_sorted.nwb"
"""An asset that the filter leaves out."""
READING = {
    "valid_time": "obs_intervals",
    "region": "location",
    "behaviour": {"position": "processing/behavior/Position/track"},
    "trials": True,
    "unit_filters": {},
}


def source(folder: Path, api_url: str, **changes: Any) -> DandiSource:
    usual = {
        "dandiset": "000129",
        "version": VERSION,
        "assets": "sub-*/*.nwb",
        "folder": str(folder),
        "api_url": api_url,
        "outage_hours": 0.002,
    }
    return DandiSource(**(READING | usual | changes))


def row(session: str = "sub-Ada_desc-train_behavior+ecephys", file: str = "") -> Row:
    return Row(session, "dandi", "Ada", "", "", "train", "", "", {"file": file} if file else {})


def outcome(call: Callable[[], Any]) -> str:
    """Return the result of a call: "fine", or the type of its error and its text."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "fine"


class Scenes:
    """Downloads from an archive with two recordings, each to an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {name: (folder / "made" / f"{name}.nwb").read_bytes() for name in ("ada", "bob")}

    def archive(self, **changes: Any) -> DandiServer:
        ada, bob = self.files["ada"], self.files["bob"]
        paths = {ADA: ada, BOB: bob, "sub-Ada/ecephys.nwb": bob + b" ", OUTSIDE: ada + b" "}
        return DandiServer([Asset(path, content) for path, content in paths.items()], **changes)

    def run(
        self, one: Row, *faults: Fault, edit: Callable[[DandiServer], Any] | None = None, key: str = "", **changes: Any
    ) -> dict[str, Any]:
        """Download a session under faults, and return the outcome."""
        folder, archive = self.folder / "scene", self.archive()
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(TOKEN, None)
        os.environ.update({TOKEN: key} if key else {})
        archive.faults += faults
        if edit:
            edit(archive)
        began, listed = time.monotonic(), {}
        result = outcome(
            lambda: listed.update(download_session(one, source=source(folder, archive.api_url, **changes)))
        )
        archive.close()
        there = {str(path.relative_to(folder)): path for path in folder.rglob("*.nwb")} if folder.exists() else {}
        paths = [path for path, _, _ in archive.requests]
        return {
            "result": result,
            "seconds": time.monotonic() - began,
            "files": listed.get("files", {}),
            "same": {name: path.read_bytes() in self.files.values() for name, path in there.items()},
            "parts": sorted(path.name for path in folder.rglob("*.part")) if folder.exists() else [],
            "blobs": sum(path.startswith("/blobs/") for path in paths),
            "continued": [begin for path, _, begin in archive.requests if path.startswith("/blobs/") and begin],
            "keys": sorted({(path.startswith("/blobs/"), key) for path, key, _ in archive.requests}),
        }

    def good(self) -> dict[str, Any]:
        """Download sessions by name, by path and of two assets to the folder that tests read; then again."""
        archive, folder = self.archive(), self.folder / "dandi"
        sessions = {"name": row(), "path": row("day2", BOB), "two": row("both", f"{ADA}; {BOB}")}
        found: dict[str, Any] = {}
        for name, one in sessions.items():
            before = len(archive.requests)
            where = {"dandi": source(folder, archive.api_url), "output": self.folder / f"{name}.json"}
            download_dandi(row=one, on_fatal="stop", attempt=0, **where)
            found[name] = [path for path, _, _ in archive.requests[before:] if path.startswith("/blobs/")]
        draft = source(folder, archive.api_url, version="draft")
        download_dandi(row=row(), dandi=draft, on_fatal="stop", attempt=3, output=self.folder / "draft.json")
        draft_cohort(dandi=source(folder, archive.api_url), output=self.folder / "cohort.tsv")
        none = source(folder, archive.api_url, assets="no-*")
        found["no asset"] = outcome(lambda: draft_cohort(dandi=none, output=self.folder / "no.tsv"))
        archive.close()
        return found


def replace_asset(path: str, **changes: Any) -> Callable[[DandiServer], None]:
    """Return an edit of the assets of an archive."""

    def edit(archive: DandiServer) -> None:
        for one in archive.assets:
            if one.path == path:
                for name, value in changes.items():
                    setattr(one, name, value)

    return edit


def scenes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the outcome of each scene by its name."""
    made = Scenes(folder)
    metadata, download = r"/assets/[\w-]+/$", r"/download/$"
    listing, blob = r"/versions/[\w.]+/assets/$", "^/blobs/"
    embargoed = {"edit": lambda archive: setattr(archive, "embargoed", True)}
    only_etag = {"sha256": ""}
    return {
        "quiet": made.run(row()),
        "no asset": made.run(row("sub-Ada_ses-9")),
        "other case": made.run(row("SUB-ADA_desc-train_behavior+ecephys")),
        "two of a name": made.run(row("ecephys")),
        "outside by name": made.run(row("sub-Ada_sorted")),
        "outside by path": made.run(row("x", OUTSIDE)),
        "prefix of a path": made.run(row("x", ADA.removesuffix(".nwb"))),
        "no version": made.run(row(), version="0.1.2"),
        "no dandiset": made.run(row(), dandiset="999999"),
        "embargoed": made.run(row(), **embargoed),
        "embargoed, key": made.run(row(), **embargoed, key=KEY),
        "wrong key": made.run(row(), key="no-key"),
        "zarr": made.run(row(), edit=replace_asset(ADA, zarr=True)),
        "outside of its folder": made.run(
            row("out"),
            edit=lambda archive: archive.assets.append(Asset("sub-x/../../../out.nwb", b"x")),
        ),
        "500 of lists": made.run(row(), Fault(listing, 500, times=3)),
        "503 of metadata": made.run(row(), Fault(metadata, 503, times=2)),
        "429 of addresses": made.run(row(), Fault(download, 429, {"Retry-After": "1"})),
        "429 of lists": made.run(row(), Fault(listing, 429, {"Retry-After": "1"})),
        "page of an error": made.run(row(), Fault(listing, 200)),
        "other form of lists": made.run(row(), Fault(listing, 200, text='{"next": null, "results": [{}]}')),
        "down for long": made.run(row(), Fault("", 503, times=10**6)),
        "list stalls": made.run(row(), Fault(listing, stall=True, at=10)),
        "blob stalls": made.run(row(), Fault(blob, stall=True, at=50_000, times=2)),
        "blob is cut": made.run(row(), Fault(blob, cut=True, at=70_000)),
        "damaged once": made.run(row(), Fault(blob, flip=True)),
        "damaged always": made.run(row(), Fault(blob, flip=True, times=10**6)),
        "other hash": made.run(row(), edit=replace_asset(ADA, sha256="0" * 64)),
        "metadata gone": made.run(row(), Fault(metadata, 404)),
        "metadata gone, draft": made.run(row(), Fault(metadata, 404), version="draft"),
        "blob gone": made.run(row(), Fault(blob, 404)),
        "blob gone, draft": made.run(row(), Fault(blob, 404), version="draft"),
        "only etag": made.run(row(), edit=replace_asset(ADA, **only_etag), version="draft"),
        "only etag, damaged once": made.run(row(), Fault(blob, flip=True), edit=replace_asset(ADA, **only_etag)),
        "other etag": made.run(row(), edit=replace_asset(ADA, **only_etag, etag="0" * 32 + "-1"), version="draft"),
        "no hash": made.run(row(), edit=replace_asset(ADA, **only_etag, **{"etag": ""}), version="draft"),
    }


def main(folder: Path) -> None:
    from dandi import dandiapi

    downloads.TIMEOUT_S = dandi_module.TIMEOUT_S = (2.0, 0.7)
    downloads.CHUNK_BYTES = 1000
    downloads._FIRST_WAIT_S = 0.1
    dandiapi.REQUEST_RETRIES = 1
    connect, elsewhere = socket.socket.connect, []

    def local(self: socket.socket, address: Any) -> Any:
        if address[0] != "127.0.0.1":
            elsewhere.append(str(address))
            raise ConnectionRefusedError("a test must not use the network")
        return connect(self, address)

    socket.socket.connect = local
    found = {"good": Scenes(folder).good(), "scenes": scenes(folder)}
    found["network"] = {"elsewhere": elsewhere, "etelemetry": "etelemetry" in sys.modules}
    (folder / "outcomes.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
