"""The table of methods, and what derives from it."""

from neurohorizon.methods import (
    ADAPTIVE,
    BASELINES,
    CLASS_DESCRIPTIONS,
    CLASS_ORDER,
    CLASS_WORDS,
    CLOSED_FORM,
    CONTROLS,
    DECLARED_FAMILY,
    DECODINGS,
    ENSEMBLE,
    FORECASTER,
    LATENT_READOUT,
    METHOD_ORDER,
    METHODS,
    ORACLE,
    REGRESSIONS,
    WITHIN_SESSION,
    class_word,
    method_label,
    method_phrase,
)


def test_each_method_has_one_part_in_the_comparison():
    parts = [*BASELINES, FORECASTER, LATENT_READOUT, ENSEMBLE, ADAPTIVE, *DECODINGS, *WITHIN_SESSION, *CONTROLS, ORACLE]
    assert sorted(parts) == sorted(METHODS)
    assert tuple(parts) == METHOD_ORDER, "the order of tables is that of the parts"


def test_a_method_that_fits_the_session_is_no_baseline_and_not_in_the_declared_family():
    fits = {"history_glm", "coupled_glm", "learned_embedding"}
    assert {name for name, one in METHODS.items() if one.kind == "fitted"} == fits == set(WITHIN_SESSION)
    assert not fits & set(BASELINES)
    assert set(DECLARED_FAMILY) == {(FORECASTER, name) for name in BASELINES}


def test_every_class_has_words_and_every_method_a_class():
    assert set(CLASS_ORDER) == set(CLASS_WORDS) == set(CLASS_DESCRIPTIONS) == {one.kind for one in METHODS.values()}
    assert class_word("zero_shot") == "zero-shot"


def test_every_closed_form_is_zero_shot_and_two_regressions_are_not():
    assert {METHODS[name].kind for name in CLOSED_FORM} == {"zero_shot"}
    assert [METHODS[name].kind for name in REGRESSIONS].count("fitted") == 2


def test_names_that_are_no_methods_are_shown_as_they_are():
    assert method_label("neurohorizon_teacher_forced") == method_phrase("neurohorizon_teacher_forced")
    assert method_label("neurohorizon_teacher_forced") == "neurohorizon teacher forced"
    assert method_label("ar_glm") == "pooled AR-GLM" and method_phrase("ar_glm") == "the pooled AR-GLM"
