import numpy as np
import pytest
from factories.stimuli import FRAME_S, MOVIE_FRAMES, made_stimuli

from neurohorizon.modalities.signals import (
    Signal,
    behaviour_signal,
    movie_intervals,
    of_movie_seconds,
    presented_images,
    show_images,
    shuffled_pieces,
)
from neurohorizon.session import Series
from neurohorizon.timeline import Intervals, to_us

COMPONENTS = {
    "natural_movie_one": np.arange(MOVIE_FRAMES, dtype=np.float32)[:, None] + np.array([0, 1000], np.float32),
    "natural_scenes": np.arange(4, dtype=np.float32)[:, None] * -10 + np.array([-5, 0], np.float32),
    "gray": np.array([[0.5, 0.25]], np.float32),
}


def ramp_signal():
    # pieces of 10, 20, 30 us; the middle one is unknown
    return Signal(np.array([0, 10, 30, 60]), np.array([[1.0], [0.0], [4.0]], np.float32), np.array([True, False, True]))


def at_each_microsecond(signal, start_us, stop_us):
    """Average the values of every microsecond: the definition, computed slowly."""
    us = np.arange(start_us, stop_us)
    piece = np.searchsorted(signal.edges_us, us, side="right") - 1
    inside = (us >= signal.edges_us[0]) & (us < signal.edges_us[-1])
    known = inside & signal.known[np.clip(piece, 0, len(signal.known) - 1)]
    values = signal.values[piece[known]]
    return (values.mean(axis=0) if known.any() else np.zeros(signal.n_channels)), known.mean()


@pytest.mark.parametrize(("start_us", "stop_us"), [(0, 10), (3, 8), (5, 35), (12, 28), (25, 60), (-20, 7), (55, 90)])
def test_a_mean_is_over_the_known_part_of_the_span(start_us, stop_us):
    mean, known = ramp_signal().means(np.array([start_us]), np.array([stop_us]))
    expected_mean, expected_known = at_each_microsecond(ramp_signal(), start_us, stop_us)
    np.testing.assert_allclose(mean[0], expected_mean, rtol=1e-6)
    np.testing.assert_allclose(known[0], expected_known, rtol=1e-6)


def test_means_of_random_signals_are_those_of_every_microsecond():
    rng = np.random.default_rng(0)
    edges = np.cumsum(rng.integers(1, 40, 60))
    signal = Signal(edges, rng.normal(size=(59, 3)).astype(np.float32), rng.random(59) < 0.8)
    start = rng.integers(-20, edges[-1], 100)
    stop = start + rng.integers(1, 200, 100)
    mean, known = signal.means(start, stop)
    for index in range(100):
        expected = at_each_microsecond(signal, start[index], stop[index])
        np.testing.assert_allclose(mean[index], expected[0], atol=1e-5)
        np.testing.assert_allclose(known[index], expected[1], atol=1e-6)


def test_a_shifted_signal_has_earlier_values():
    signal = ramp_signal()
    start, stop = np.array([5, 20]), np.array([9, 40])
    np.testing.assert_array_equal(signal.shifted(7).means(start + 7, stop + 7)[0], signal.means(start, stop)[0])


def test_behaviour_is_on_the_scale_of_its_reference_window():
    times_s = np.arange(0, 20, 0.1)
    values = np.where(times_s < 10, np.sin(times_s), 100 * np.sin(times_s))
    reference = Intervals(to_us(np.array([0.0])), to_us(np.array([10.0])))
    signal = behaviour_signal(Series(times_s, values, "rad/s"), reference)
    inside = values[times_s < 10]
    mean, known = signal.means(to_us(times_s[:100]), to_us(times_s[:100] + 0.1))
    np.testing.assert_allclose(mean[:, 0], (inside - inside.mean()) / inside.std(), atol=1e-5)
    magnitude = np.abs(inside)
    np.testing.assert_allclose(mean[:, 1], (magnitude - magnitude.mean()) / magnitude.std(), atol=1e-5)
    assert (known == 1).all()
    late, _ = signal.means(to_us(times_s[110:]), to_us(times_s[110:] + 0.1))
    assert np.abs(late).max() <= 5, "values far outside of the reference window's range are clipped"


def test_behaviour_in_pauses_or_without_a_number_is_unknown():
    times_s = np.array([0.0, 0.5, 1.0, 4.0, 4.5, 5.0])
    values = np.array([1.0, np.nan, 2.0, 4.0, 7.0, 1.0])
    reference = Intervals(to_us(np.array([0.0])), to_us(np.array([6.0])))
    signal = behaviour_signal(Series(times_s, values, "cm/s"), reference)
    start_s = np.array([0.1, 0.6, 1.1, 2.1, 4.1, 5.1, 6.1])
    known = signal.means(to_us(start_s), to_us(start_s + 0.3))[1]
    np.testing.assert_allclose(known, [1, 0, 1, 0, 1, 1, 0], atol=1e-6)


def test_behaviour_that_is_constant_in_the_reference_window_is_unknown():
    times_s = np.arange(0, 20, 0.1)
    reference = Intervals(to_us(np.array([0.0])), to_us(np.array([10.0])))
    still = behaviour_signal(Series(times_s, np.where(times_s < 10, 3.0, 5.0), "cm/s"), reference)
    assert not still.known.any()


def test_gray_fills_the_time_between_presentations():
    stimuli = made_stimuli(30.0)
    pieces = presented_images(stimuli)
    assert (pieces["start_us"][1:] == pieces["stop_us"][:-1]).all(), "an image is on the screen at all times"
    gray = pieces["image_set"] == "gray"
    between = np.column_stack([pieces["start_us"], pieces["stop_us"]])[gray][:3] / 1e6
    np.testing.assert_allclose(between - between[0, 0], [[0, 0.25], [0.5, 0.75], [1.0, 1.25]], atol=1e-5)
    assert not (pieces["image_set"] == "")[gray].any()


def test_every_image_shown_has_its_own_values():
    stimuli = made_stimuli(30.0)
    images = show_images(presented_images(stimuli), COMPONENTS, token_us=100_000)
    for row in (0, 57, MOVIE_FRAMES + 3, 2 * MOVIE_FRAMES, 2 * MOVIE_FRAMES + 3):
        middle = to_us((stimuli["start"][row : row + 1] + stimuli["end"][row : row + 1]) / 2)
        mean, known = images.signal.means(middle, middle + 100)
        expected = COMPONENTS[stimuli["name"][row]][stimuli["frame"][row]]
        np.testing.assert_allclose(mean[0], expected, rtol=1e-5)
        assert known[0] == 1
    grating = np.flatnonzero(stimuli["name"] == "drifting_gratings")[0]
    middle = to_us(stimuli["start"][grating : grating + 1] + 0.5)
    assert images.signal.means(middle, middle + 100)[1] == 0, "a grating has no image"


def test_a_scene_the_gray_and_the_next_scene_each_have_a_token():
    images = show_images(presented_images(made_stimuli(30.0)), COMPONENTS, token_us=100_000)
    scenes_s = 1.0 + 2 * MOVIE_FRAMES * FRAME_S
    first = np.searchsorted(images.token_start_us, to_us(np.array([scenes_s]))[0] - 10)
    np.testing.assert_array_equal(
        images.token_value[first : first + 4],
        np.stack(
            [
                COMPONENTS["natural_scenes"][0],
                COMPONENTS["gray"][0],
                COMPONENTS["natural_scenes"][1],
                COMPONENTS["gray"][0],
            ]
        ),
    )


def test_a_movie_has_a_token_every_tenth_of_a_second_and_each_begins_with_its_own_image():
    images = show_images(presented_images(made_stimuli(30.0)), COMPONENTS, token_us=100_000)
    first = images.token_start_us < to_us(np.array([1.0 + MOVIE_FRAMES * FRAME_S]))[0] - 10
    np.testing.assert_array_equal(images.token_value[first][:, 0], np.arange(0, MOVIE_FRAMES, 3))
    np.testing.assert_allclose(np.diff(images.token_start_us[first]), 100_000, atol=2)


def test_frames_that_are_slightly_early_or_late_share_the_same_tokens():
    stimuli = made_stimuli(30.0)
    jitter = np.random.default_rng(0).uniform(-0.001, 0.001, stimuli["start"].size)
    moved = {**stimuli, "start": stimuli["start"] + jitter, "end": stimuli["end"] + np.append(jitter[1:], 0)}
    plain, other = (
        show_images(presented_images(one), COMPONENTS, token_us=100_000).token_value[: MOVIE_FRAMES // 3]
        for one in (stimuli, moved)
    )
    np.testing.assert_array_equal(other, plain)


def test_a_frame_that_is_not_in_its_set_is_an_error():
    stimuli = made_stimuli(30.0)
    stimuli["frame"] = np.where(stimuli["frame"] == 7, MOVIE_FRAMES, stimuli["frame"])
    with pytest.raises(ValueError, match="natural_movie_one has 120 images; frame 120 was shown"):
        show_images(presented_images(stimuli), COMPONENTS, token_us=100_000)


def test_a_session_whose_images_are_not_known_has_none():
    stimuli = made_stimuli(30.0)
    grating = np.flatnonzero(stimuli["name"] == "drifting_gratings")[:1]
    only = {name: values[grating] for name, values in stimuli.items()}
    assert show_images(presented_images(only), COMPONENTS, token_us=100_000) is None


def test_shuffling_changes_only_the_order_of_images():
    pieces = presented_images(made_stimuli(60.0))
    mixed = shuffled_pieces(pieces, np.random.default_rng(0))
    for name in ("start_us", "stop_us", "series"):
        np.testing.assert_array_equal(mixed[name], pieces[name])
    known = pieces["image_set"] != ""
    assert (mixed["image_set"][~known] == "").all()

    def identities(of):
        return np.char.add(of["image_set"], of["frame"].astype(str))

    np.testing.assert_array_equal(np.sort(identities(mixed)), np.sort(identities(pieces)))
    assert (identities(mixed)[known] == identities(pieces)[known]).mean() < 0.05


def test_movie_seconds_are_found_in_every_repeat():
    stimuli = made_stimuli(30.0)
    chosen = of_movie_seconds(stimuli, [(1.0, 1.5), (3.0, 3.1)])
    assert set(stimuli["frame"][chosen]) == {*range(30, 45), *range(90, 93)}
    assert (stimuli["name"][chosen] == "natural_movie_one").all()
    intervals = movie_intervals(stimuli, [(1.0, 1.5)], after_us=40_000)
    starts_s = 1.0 + MOVIE_FRAMES * FRAME_S * np.array([0, 1, 3, 4, 6]) + 1.0
    np.testing.assert_allclose(intervals.start_us / 1e6, starts_s, atol=1e-5)
    np.testing.assert_allclose(intervals.stop_us / 1e6, starts_s + 0.54, atol=1e-5)
    assert len(movie_intervals(stimuli, [])) == 0
