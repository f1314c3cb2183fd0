"""The configuration is complete, strict, and explains what is wrong with it."""

import json

import jsonschema
import pytest
import yaml
from factories import ROOT
from pydantic import ValidationError

from neurohorizon.config import (
    Cohort,
    Config,
    ConfigError,
    Run,
    expand_folder,
    parse_config,
    read_config,
    short_schema,
)

FOLDER = ROOT / "config"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
DEMO = FOLDER / "demo.yaml"
ARRAYS = {"manifest": "manifest.tsv", "hold_out": "animals", "minimum_reference_s": 60.0, "minimum_units": 5}
NAMED_BY_USERS = {("scaling", "sizes")}
"""Mappings whose keys are names of the user's choice."""


def demo() -> dict:
    return yaml.safe_load(DEMO.read_text())


def leaves(values: dict, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in values.items():
        inside = leaves(value, (*path, key)) if isinstance(value, dict) else []
        found += inside if path in NAMED_BY_USERS else [(*path, key), *inside]
    return found


def section(values: dict, path: tuple[str, ...]) -> dict:
    for key in path:
        values = values[key]
    return values


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_valid_for_the_code_and_for_editors(path):
    read_config(path)
    schema = json.loads((FOLDER / "schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_exported_schema_is_that_of_the_code():
    exported = json.loads((FOLDER / "schema.json").read_text())
    assert exported == Config.model_json_schema(), "run `make schema`"


@pytest.mark.parametrize("path", leaves(demo()), ids=".".join)
def test_no_key_has_a_hidden_default(path):
    values = demo()
    del section(values, path[:-1])[path[-1]]
    with pytest.raises(ConfigError, match=rf"{'.'.join(path)}: missing"):
        parse_config(values)


@pytest.mark.parametrize("path", leaves(demo()), ids=".".join)
def test_a_misspelt_key_is_named_with_the_right_one(path):
    values = demo()
    inside = section(values, path[:-1])
    wrong = path[-1][0] + path[-1]
    inside[wrong] = inside.pop(path[-1])
    with pytest.raises(ConfigError) as error:
        parse_config(values)
    assert f"{'.'.join((*path[:-1], wrong))}: unknown key; did you mean {path[-1]!r}?" in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("timeline", "horizon_bins"), "50", "timeline.horizon_bins: .*integer.*'50'"),
        (("timeline", "horizon_bins"), 50.0, "timeline.horizon_bins: .*integer"),
        (("timeline", "bin_ms"), 0, r"timeline.bin_ms: .*greater than 0.*\(found 0\)"),
        (("splits", "reference_fraction"), 1.0, "splits.reference_fraction: .*less than 1"),
        (("cohort", "on_fatal"), "ignore", "cohort.on_fatal: .*'stop' or 'leave_out'.*'ignore'"),
        (("cohort", "arrays"), ARRAYS, "heldout_fraction is None and cohort.arrays.hold_out is animals"),
        (("cohort", "arrays"), ARRAYS | {"hold_out": "studies"}, "cohort.arrays needs sources.nwb"),
        (("run",), None, "run: .*"),
        (("splits", "gap_s"), 1.9, "gap_s is 1.9; context and horizon need at least 2.0"),
        (("model", "heads"), 5, "model.width 48 must be a multiple"),
        (("model", "history_edges_bins"), [1, 2], r"history_edges_bins must rise to .* 50, .* found \[1, 2\]"),
        (("model", "history_edges_bins"), [1, 40, 200], r"rise to timeline.context_bins 50, or through it, found \[1"),
        (("model", "readout", "span_edges_bins"), [2, 51], r"at most timeline.context_bins 50, found \[2, 51\]"),
        (("sources", "ibl"), None, "sources.ibl, which must be set"),
        (("evaluation", "horizons_ms"), [100, 900], r"must rise to the horizon of 1000 ms, found \[100, 900\]"),
        (("evaluation", "horizons_ms"), [110, 1000], r"multiples of timeline.bin_ms 20, found \[110\]"),
        (("scaling", "arm_sessions"), 4, r"hold scaling.arm_sessions 4, found \[2, 3\]"),
        (("cross_session", "units"), [20, 10], r"cross_session.units must rise, found \[20, 10\]"),
        (("cross_session", "reference_s"), [5.0, 30.0], "reference_s.0: Input should be greater than or equal to 10"),
        (("run", "seeds"), [], r"run.seeds: .* at least 1 .*\(found \[\]\)"),
        (("ablations", "seeds"), [1, 0, 1], "ablations.seeds: .*1 is listed more than once"),
        (("baselines", "shrinkage"), [0.1, 0.5, 0.1], "baselines.shrinkage: .*0.1 is listed more than once"),
        (("training", "feedback", "share"), 0.0, r"share above 0 .*or rollout\.decodings to \[\]"),
        (("model", "population"), False, "feedback needs the decoder: set model.population to true"),
        (("rollout",), None, "teacher_forcing_only needs the section rollout, which is null"),
        (("baselines", "learned_embedding"), None, "learned_embedding needs the section baselines.learned_embedding"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(path, value, complaint):
    values = demo()
    section(values, path[:-1])[path[-1]] = value
    with pytest.raises(ConfigError, match=complaint):
        parse_config(values)


NO_PATH = ["$(ls)", "a`b`", "a'b", 'a"b', "a\nb", "a\n", "-rf", "a/-b", "a;b", "a|b", "a{b}", "a&b", "~/a", "*"]


@pytest.mark.parametrize("value", [*NO_PATH, "../a", "a/../b", "a b", "a//b", "./a", "a/", "/", ""])
def test_a_run_writes_only_to_a_folder_whose_name_is_safe_in_a_shell(value):
    run = {"name": "a", "seed": 0, "seeds": [0]}
    with pytest.raises(ValidationError, match=r"names between / have letters, digits and \. _ - \+ = @ ,"):
        Run.model_validate_json(json.dumps(run | {"results": value}))
    for good in ("results/demo", "/scratch/mine-2.1/run_3", ".hidden/ü"):
        assert Run.model_validate_json(json.dumps(run | {"results": good})).results == good


@pytest.mark.parametrize("value", NO_PATH)
def test_a_path_that_a_run_reads_holds_nothing_that_a_shell_replaces(value, monkeypatch):
    cohort = demo()["cohort"]
    with pytest.raises(ValidationError, match="names between / have letters, digits, blanks"):
        Cohort.model_validate_json(json.dumps(cohort | {"table": value}))
    monkeypatch.setenv("RECORDINGS", value)
    with pytest.raises(ValueError, match=r"names between / have letters, digits, blanks|variable or a user"):
        expand_folder("$RECORDINGS")
    good = "../My recordings (old)/a"
    assert Cohort.model_validate_json(json.dumps(cohort | {"table": good})).table == expand_folder(good) == good


@pytest.mark.parametrize(
    "path",
    [("run", "results"), ("sources", "ibl", "folder"), ("cohort", "table"), ("multimodal", "images", "dinov2")],
)
def test_every_path_of_a_configuration_is_checked(path):
    values = demo()
    section(values, path[:-1])[path[-1]] = "a;b"
    with pytest.raises(ConfigError) as error:
        parse_config(values)
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"  {'.'.join(path)}: ") and "letters, digits" in line


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("run", "name"), "--> <script>"),
        (("multimodal", "images", "sets"), ["../a"]),
        (("scaling", "sizes"), {"a/b": {}}),
    ],
)
def test_a_name_that_becomes_part_of_a_path_is_a_name(path, value):
    values = demo()
    section(values, path[:-1])[path[-1]] = value
    with pytest.raises(ConfigError, match=rf"{'.'.join(path)}.*should match pattern"):
        parse_config(values)


def test_a_file_that_yaml_allows_and_a_configuration_does_not_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(DEMO.read_text().replace("  seed: 0\n", "  seed: 0\n  seed: 1\n", 1))
    with pytest.raises(ConfigError, match=r"mine\.yaml, line \d+, column 3: the key seed is there twice"):
        read_config(path)


def test_the_archive_has_no_units_below_the_label_of_1():
    values = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert values["sources"]["ibl"]["mode"] == "archive", "the paper needs no account"
    values["sources"]["ibl"]["minimum_label"] = 0.667
    with pytest.raises(ConfigError, match=r"0\.667, and the archive has only units of label 1: set it to 1\.0"):
        parse_config(values)
    values["sources"]["ibl"]["mode"] = "remote"
    assert parse_config(values).sources.ibl.minimum_label == 0.667


def test_a_configuration_never_changes():
    config = read_config(DEMO)
    with pytest.raises(ValidationError, match="frozen"):
        config.timeline.horizon_bins = 3


def test_a_folder_may_name_the_home_folder_and_environment_variables(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("RECORDINGS", "/data/mine")
    monkeypatch.delenv("NOT_SET", raising=False)
    folders = ("~/a", "$HOME/a", "${RECORDINGS}/a", "data/a")
    assert [expand_folder(one) for one in folders] == ["/home/somebody/a"] * 2 + ["/data/mine/a", "data/a"]
    values = yaml.safe_load((ROOT / "config" / "steinmetz.yaml").read_text())
    values["sources"]["nwb"]["folder"] = "$RECORDINGS/nwb"
    assert parse_config(values).sources.nwb.folder == "/data/mine/nwb"
    for folder in ("$NOT_SET/a", "~nobody-of-this-name/a", " "):
        values["sources"]["nwb"]["folder"] = folder
        with pytest.raises(ConfigError, match=r"sources\.nwb\.folder: .*(write the path|a folder is needed)"):
            parse_config(values)


def short(**changes: dict) -> dict:
    return {
        "extends": "continuous",
        "run": {"name": "mine", "results": "results/mine"},
        "cohort": {"table": "mine/cohort.tsv"},
        "sources": {"nwb": {"folder": "mine"}},
    } | changes


PRESET_NAMES = sorted(path.stem for path in (FOLDER / "presets").glob("*.yaml"))
WHAT_USERS_SET = [("run", "name"), ("run", "results"), ("cohort", "table"), ("sources", "nwb", "folder")]


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_lacks_only_what_every_user_sets(name):
    preset = yaml.safe_load((FOLDER / "presets" / f"{name}.yaml").read_text())
    lacking = ["this configuration cannot be used:", *(f"  {'.'.join(path)}: missing" for path in WHAT_USERS_SET)]
    with pytest.raises(ConfigError) as error:
        parse_config(preset)
    assert str(error.value).splitlines() == lacking
    parse_config(short(extends=name))


@pytest.mark.parametrize(("name", "origin"), [("continuous", "hippocampus"), ("trials", "steinmetz")])
def test_a_preset_has_the_numbers_of_the_configuration_that_it_comes_from(name, origin):
    preset, shipped = parse_config(short(extends=name)), read_config(FOLDER / f"{origin}.yaml")
    for section_name in ("timeline", "splits", "regressions", "adaptive", "evaluation"):
        assert getattr(preset, section_name) == getattr(shipped, section_name)
    # the hippocampal network has no encoder and no relational features, which its own recordings decided
    assert preset.features == shipped.features.model_copy(update={"groups": preset.features.groups})
    assert preset.model == shipped.model.model_copy(update={"feedback": False, "population": True})
    assert preset.poyo is preset.rollout is preset.ablations is preset.baselines.learned_embedding is None


def test_a_number_with_an_exponent_is_a_number_as_yaml_1_1_reads_it_too():
    values = read_config(FOLDER / "demo.yaml").model_dump(mode="json")
    values["training"]["learning_rate"], values["evaluation"]["minimum_rate_hz"] = "2e-3", "1E+1"
    found = parse_config(values)
    assert (found.training.learning_rate, found.evaluation.minimum_rate_hz) == (0.002, 10.0)
    values["training"]["learning_rate"] = "fast"
    with pytest.raises(ConfigError, match=r"learning_rate: .*valid number.*'fast'"):
        parse_config(values)


def test_a_short_configuration_replaces_single_values_and_whole_lists():
    changed = short(training={"steps": 7}, features={"coupling_lags_bins": [3]}, regressions=None)
    plain, found = parse_config(short()), parse_config(changed)
    assert found.training == plain.training.model_copy(update={"steps": 7})
    assert found.features.coupling_lags_bins == (3,) and found.features.groups == plain.features.groups
    assert found.regressions is None and found.model == plain.model
    assert changed["training"] == {"steps": 7}, "the given values stay as they are"


def test_what_a_run_records_of_a_short_configuration_is_complete():
    values = parse_config(short(training={"steps": 7})).model_dump(mode="json")
    assert "extends" not in values and parse_config(values).training.steps == 7


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"extends": "trails"}, "extends: found 'trails'; expected one of .* continuous, trials; .* 'trials'?"),
        ({"extends": None}, "extends: found None; expected one of the presets continuous, trials$"),
        ({"extends": "../demo"}, r"extends: found '\.\./demo'; expected one of the presets"),
        ({"training": {"stps": 7}}, r"training\.stps: unknown key; did you mean 'steps'\?"),
        ({"trraining": {"steps": 7}}, r"trraining: unknown key; did you mean 'training'\?"),
        ({"training": 7}, r"training: Input should be .* \(found 7\)"),
    ],
)
def test_a_fault_of_a_short_configuration_is_named(changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        parse_config(short(**changes))


def test_a_misspelt_extends_is_named():
    values = short()
    values["extend"] = values.pop("extends")
    with pytest.raises(ConfigError, match=r"extend: unknown key; did you mean 'extends'\?"):
        parse_config(values)


def test_editors_check_a_short_configuration_with_the_exported_schema():
    exported = json.loads((FOLDER / "schema_short.json").read_text())
    assert exported == short_schema(), "run `make schema`"
    validator = jsonschema.Draft202012Validator(exported)
    validator.validate(short(training={"steps": 7}))
    for path in [("extends",), *WHAT_USERS_SET]:
        values = json.loads(json.dumps(short()))
        del section(values, path[:-1])[path[-1]]
        assert not validator.is_valid(values), path
    for wrong in (short(extends="mine"), short(training={"stps": 7}), short(training={"steps": "7"})):
        assert not validator.is_valid(wrong)


def test_a_forecaster_that_is_the_network_of_own_history_with_readout_is_not_listed_twice():
    values = yaml.safe_load((FOLDER / "hippocampus.yaml").read_text())
    assert parse_config(values).other_networks == ("own_history",)
    values["baselines"]["networks"].append("own_history_readout")
    with pytest.raises(ConfigError, match=r"is the forecaster itself .*: set baselines\.networks to \['own_history'\]"):
        parse_config(values)
    # with relational features it is another network
    values["features"]["groups"].append("relational")
    assert parse_config(values).other_networks == ("own_history", "own_history_readout")
    values["baselines"]["networks"] = []
    with pytest.raises(ConfigError, match="release needs all experts"):
        parse_config(values)
