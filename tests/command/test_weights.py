"""`neurohorizon weights` lists what the package ships."""

import json

from factories.releases import ABOUT

from neurohorizon.command.main import main
from neurohorizon.files import bytes_as_text


def test_each_release_has_its_lengths_score_size_and_licence(shipped, capsys):
    assert main(["weights"]) == 0
    printed = capsys.readouterr().out
    size = bytes_as_text((shipped / "hippocampus.safetensors").stat().st_size)
    for part in (
        "arrays 1.0: Trained on nothing.",
        "hippocampus 1.0",
        "bins of 20 ms, context 0.2 s, horizon 0.12 s",
        size,
    ):
        assert part in printed
    assert printed.count("CC0-1.0") == 2
    assert "held out: 0.250 [0.200, 0.300] bits per spike (neurohorizon_adaptive, 6 sessions" in printed


def test_a_card_has_data_scores_and_hash(shipped, capsys):
    assert main(["weights", "hippocampus"]) == 0
    printed = capsys.readouterr().out
    about = json.loads((shipped / "hippocampus.json").read_text())["about"]
    for part in ("made: 2 recordings of 1 animals, CC0-1.0. nobody", "own_history: 0.100", about["sha256"], "pytest"):
        assert part in printed
    assert "arrays" not in printed
    assert main(["weights", "hippocampus", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "neurohorizon-weights-1"
    (found,) = document["weights"]
    assert found["sha256"] == about["sha256"]
    assert found["data"] == ABOUT["data"]
    assert (found["bin_ms"], found["context_s"]) == (20, 0.2)


def test_an_unknown_name_is_wrong_use_with_the_names(shipped, capsys):
    assert main(["weights", "hippocampoos"]) == 2
    assert "expected one of: arrays, hippocampus" in capsys.readouterr().err


def test_without_releases_this_is_printed(shipped, capsys):
    for path in shipped.glob("*.json"):
        path.unlink()
    assert main(["weights"]) == 0
    assert "has no released weights" in capsys.readouterr().out
