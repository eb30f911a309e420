"""What is heard, and what a face makes of it; sounds by formulas of their own."""

import numpy as np
import pytest

from rendering.driving.live_link import ARKIT_NAMES
from rendering.driving.speech.features import FEATURE_RATE, Features, features
from rendering.driving.speech.idle import blinks, head_turns
from rendering.driving.speech.mouth import REACH
from rendering.driving.speech.sound import RATE, Sound, read_sound
from rendering.driving.speech.speaking import speak
from tests.rendering.driving.speech.sounds import vowel, write
from utils.errors import UserError

FORMATS = [
    *((f"a_{rate}.wav", rate, ("-c:a", "pcm_s16le")) for rate in (8000, 22050, 44100, 48000)),
    *((f"{codec}.wav", 16000, ("-c:a", codec)) for codec in ("pcm_s24le", "pcm_s32le", "pcm_f32le")),
    *((name, 44100, ()) for name in ("a.mp3", "a.m4a", "a.flac")),
]


@pytest.mark.parametrize(("name", "rate", "codec"), FORMATS, ids=lambda value: str(value))
def test_sounds_of_every_kind_become_the_same_samples(tmp_path, name, rate, codec):
    times = np.arange(rate) / rate
    left, right = 0.6 * np.sin(2 * np.pi * 440 * times), 0.2 * np.sin(2 * np.pi * 440 * times)
    write(tmp_path / name, np.stack([left, right], axis=1), rate, codec)
    sound = read_sound(tmp_path / name)
    # A codec with frames adds a part of one.
    assert sound.seconds == pytest.approx(1, abs=0.06)
    middle = sound.samples[RATE // 4 : 3 * RATE // 4]
    at = np.arange(RATE // 4, 3 * RATE // 4) / RATE
    wave = np.exp(-2j * np.pi * 440 * at)
    # The mean of both channels, of which MP3 at its usual bit rate keeps 95 %.
    assert 2 * np.abs(np.mean(middle * wave)) == pytest.approx(
        0.4, abs=0.03 if name.endswith("mp3") else 0.01
    )


def test_what_is_no_speech_is_one_line(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    write(tmp_path / "short.wav", np.zeros(200))
    write(tmp_path / "nan.wav", np.full(RATE, np.nan), codec=("-c:a", "pcm_f32le"))
    write(tmp_path / "long.wav", np.zeros(1801 * 100), 100)
    for name, what in (
        ("none.wav", "no such file"),
        (".", "is a folder"),
        ("text.wav", "nothing that ffmpeg can decode"),
        ("empty.wav", "nothing that ffmpeg can decode"),
        ("short.wav", "at least 0.1 s"),
        ("nan.wav", "expected samples"),
        ("long.wav", "at most 30 minutes"),
    ):
        with pytest.raises(UserError, match=f"--audio .*{what}"):
            read_sound(tmp_path / name)


def test_a_burst_opens_the_mouth_at_its_frame_and_silence_shuts_it(tmp_path):
    samples = np.zeros(3 * RATE)
    samples[RATE : 2 * RATE] = vowel("a", 1)
    write(tmp_path / "burst.wav", samples)
    spoken = speak(tmp_path / "burst.wav", 25)
    jaw = spoken.coefficients[:, spoken.names.index("jawOpen")]
    assert len(jaw) == 75
    is_open = jaw > jaw.max() / 2
    assert abs(int(is_open.argmax()) - 25) <= 1 and abs(75 - int(is_open[::-1].argmax()) - 50) <= 1
    mouth = [i for i, name in enumerate(spoken.names) if name.startswith(("jaw", "mouth"))]
    assert np.abs(spoken.coefficients[:18, mouth]).max() < 0.01
    assert np.abs(spoken.coefficients[57:, mouth]).max() < 0.01


def heard(*vowels_):
    """Features in the middle of each vowel of half a second, with pauses between them."""
    pause = np.zeros(RATE // 2)
    samples = np.concatenate([part for name in vowels_ for part in (pause, vowel(name, 0.5))])
    found = features(Sound(None, samples.astype(np.float32)))
    return [Features(*(column[75 + 100 * i] for column in found)) for i in range(len(vowels_))]


def test_lips_are_round_in_boo_spread_in_bee_and_the_jaw_is_low_in_bar():
    a, i, u = heard("a", "i", "u")
    assert a.openness > 0.6 and i.openness < a.openness / 2 and u.openness < a.openness
    assert u.rounding > 0.6 > 0.2 > max(i.rounding, a.rounding)
    assert i.spreading > 0.6 > 0.2 > max(u.spreading, a.spreading)
    assert max(a.hissing, i.hissing, u.hissing) < 0.2


def test_lips_are_pressed_in_a_short_gap_but_not_in_a_pause():
    def middle_of_gap(seconds):
        gap = np.zeros(round(seconds * RATE))
        samples = np.concatenate([vowel("a", 0.5), gap, vowel("a", 0.5)])
        return features(Sound(None, samples.astype(np.float32))).pressing[round(50 + 50 * seconds)]

    assert middle_of_gap(0.09) > 0.6
    assert middle_of_gap(0.6) < 0.01


def test_noise_above_the_voice_is_hissing():
    noise = np.random.default_rng(0).standard_normal(RATE)
    spectrum = np.fft.rfft(noise)
    spectrum[:4500] = 0
    samples = 0.1 * np.fft.irfft(spectrum)
    found = features(Sound(None, samples.astype(np.float32)))
    assert found.hissing[50] > 0.2 and found.openness[50] < 0.3 and found.rounding[50] < 0.1


def test_silence_is_told_and_leaves_blinks_alone(tmp_path):
    write(tmp_path / "silent.wav", np.zeros(20 * RATE))
    spoken = speak(tmp_path / "silent.wav", 25)
    assert "stays shut" in spoken.notes[0]
    moved = {name for name, column in zip(spoken.names, spoken.coefficients.T, strict=True) if column.any()}
    assert moved == {f"eye{what}{side}" for what in ("Blink", "LookDown") for side in ("Left", "Right")}


def test_blinks_come_as_often_as_they_should_and_are_short():
    shut = blinks(600 * FEATURE_RATE, np.random.default_rng(1))
    is_shut = shut > 0.5
    starts = np.flatnonzero(is_shut[1:] & ~is_shut[:-1])
    # Ten minutes at 18.75 a minute; three deviations of a Poisson process of 187 are 41.
    assert abs(len(starts) - 187) < 41
    assert shut.max() == 1 and 0.1 < is_shut.sum() / FEATURE_RATE / len(starts) < 0.3
    assert np.diff(starts).min() >= 0.75 * FEATURE_RATE
    assert np.array_equal(shut, blinks(len(shut), np.random.default_rng(1)))


def test_the_head_turns_little_and_smoothly_by_its_seed():
    quiet = Features(*[np.zeros(60 * FEATURE_RATE)] * 6)
    turns = np.rad2deg(head_turns(quiet, 1.0, np.random.default_rng(2)))
    assert np.abs(turns[:, 0]).max() < 3.3 and 0.8 < turns[:, 0].std() < 2.4
    assert np.abs(np.diff(turns, axis=0)).max() * FEATURE_RATE < 10
    twice = head_turns(quiet, 2.0, np.random.default_rng(2))
    assert np.rad2deg(twice) == pytest.approx(2 * turns)
    assert not head_turns(quiet, 0.0, np.random.default_rng(2)).any()


def test_the_seed_changes_blinks_and_head_but_not_the_mouth(tmp_path):
    write(tmp_path / "a.wav", vowel("a", 6))
    one, other = (speak(tmp_path / "a.wav", 25, seed=seed) for seed in (0, 1))
    differs = (one.coefficients != other.coefficients).any(axis=0)
    assert {name for name, d in zip(one.names, differs, strict=True) if d} <= {
        f"eye{what}{side}" for what in ("Blink", "LookDown") for side in ("Left", "Right")
    }
    assert (one.rotations != other.rotations).any()


def test_every_coefficient_of_the_table_is_arkits():
    assert set(REACH) <= set(ARKIT_NAMES)
