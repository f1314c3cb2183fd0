"""Verdicts of recordings whose answer is known, and the form of an answer."""

import math
from dataclasses import replace

from answer.conftest import EVERY_S

from neurohorizon.answer.answer import SCHEMA, Answer, Estimate, LengthPoint, ReferenceLength, json_schema
from neurohorizon.answer.evaluate import answer_for
from neurohorizon.answer.verdict import Findings, judge


def test_a_rhythmic_recording_works(answer):
    assert answer.verdict == "works", answer.found
    assert answer.score.low > 0.02 and not answer.carrier
    assert answer.blocks >= 8 and answer.block_s >= 30 - 1e-9


def test_a_recording_without_structure_fails(random):
    found = answer_for(random, every_s=EVERY_S)
    assert found.verdict == "fails", found.found
    assert found.score.value < 0.01


def test_too_little_time_units_or_spikes_cannot_be_answered(network, rhythmic):
    session = rhythmic.session
    times = [session.spike_times_us[session.spike_unit == unit] / 1e6 for unit in range(6)]
    short = network.fit_reference(times, reference=(0.0, 60.0), valid=(0.0, 100.0))
    found = answer_for(short)
    assert found.verdict == "cannot" and found.score.low is None and "1 block " in found.sentence
    nothing = network.fit_reference(times, reference=(0.0, 60.0), valid=(0.0, 60.2))
    assert answer_for(nothing).verdict == "cannot"
    few = answer_for(rhythmic, every_s=EVERY_S, minimum_rate_hz=19.0)
    needed = "3 units that reach 19 Hz in the reference window are needed, and it has "
    assert few.verdict == "cannot" and needed in few.sentence


def test_sentences_and_advice_follow_from_the_numbers(answer):
    window = ReferenceLength(
        windows=9, points=[LengthPoint(minutes=1.0, score=0.1)], sufficient_min=None, sentence="It is too short."
    )
    findings = Findings(
        recording=answer.recording,
        blocks=answer.blocks,
        score=answer.score,
        methods=answer.methods,
        units=answer.units,
        carrier=None,
        without_carrier=answer.score,
        horizon=answer.horizon,
        outside=None,
        reference_length=window,
        calibration=None,
    )
    assert any(one.startswith("Use a longer reference window") for one in judge(findings).advice)
    simple = next(one for one in answer.methods if one.kind == "closed_form")
    near = simple.model_copy(update={"lead": Estimate(value=-0.01, low=-0.09, high=0.08)})
    tied = judge(replace(findings, methods=[answer.methods[0], near]))
    assert tied.sentence.endswith("about as much as the best simple method.")
    ahead = simple.model_copy(update={"lead": Estimate(value=0.05, low=0.01, high=0.09)})
    assert "more than the best simple" in judge(replace(findings, methods=[answer.methods[0], ahead])).sentence
    short = judge(replace(findings, blocks=1))
    assert short.verdict == "cannot"
    assert short.advice == ["Record longer, or make the reference window shorter, so that more time can be scored."]


def test_an_answer_depends_on_the_seed_only(rhythmic):
    first, again, other = (answer_for(rhythmic, every_s=6.0, seed=seed) for seed in (0, 0, 1))
    assert again == first
    assert other.score.value == first.score.value and other.score.low != first.score.low


def test_the_json_has_no_nan_and_names_its_schema(answer, as_json):
    assert as_json["schema_name"] == SCHEMA
    assert set(as_json) == set(json_schema()["properties"])
    assert Answer.model_validate(as_json) == answer

    def finite(value):
        if isinstance(value, dict):
            return all(map(finite, value.values()))
        if isinstance(value, list):
            return all(map(finite, value))
        return not isinstance(value, float) or math.isfinite(value)

    assert finite(as_json)


def test_progress_rises_to_one(rhythmic):
    shares = []
    answer_for(rhythmic, every_s=6.0, progress=lambda step, share: shares.append(share))
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_a_recording_of_the_training_data_has_no_plain_verdict(rhythmic):
    seen = replace(rhythmic, card=replace(rhythmic.card, sessions=("made",)))
    last = "The network was trained on a recording of this name, so the score is not zero-shot."
    assert answer_for(seen, every_s=6.0).sentence.endswith(last)
    assert last not in answer_for(rhythmic, every_s=6.0).sentence
