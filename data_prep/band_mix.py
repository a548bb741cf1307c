"""The sound of a piece for a band: every player sounded alone, balanced by loudness, in one room, gently saturated."""

import numpy as np
from scipy.signal import fftconvolve

from data_prep.band_piece import Piece
from data_prep.soundfont import TAIL_SECONDS, Instruments, to_peak

FRAME_SECONDS = 0.1
SOUNDING_DECIBELS = -35.0
"""Frames this far below a player's loudest one do not count for its loudness."""
INAUDIBLE_DECIBELS = -60.0
"""Against the loudest moment; what comes after the last sample above it is cut off."""
DRY_ROLES = {"bass": 0.15, "drums": 0.6, "timpani": 1.0}
"""How much of a player reaches the room, where it is not all of it."""
PREDELAY_SECONDS = 0.012


def mix_band(piece: Piece, instruments: Instruments, random: np.random.Generator) -> np.ndarray:
    """Sound a piece.

    Parameters
    ----------
    piece : Piece
    instruments : Instruments
        A General MIDI soundfont.
    random : numpy.random.Generator
        Of the room.

    Returns
    -------
    ndarray of float32 [shape=(2, samples)]
        Its peak is 0.89.
    """
    rate = instruments.sample_rate
    seconds = piece.end + TAIL_SECONDS
    samples = round(seconds * rate)
    dry = np.zeros((2, samples), dtype=np.float32)
    sent = np.zeros((2, samples), dtype=np.float32)
    for player in piece.players:
        sound = instruments.sound(
            player.performance,
            seconds=seconds,
            channel=player.channel,
            bank=player.bank,
            program=player.program,
            pan=player.pan,
        )
        gain = np.float32(10.0 ** (player.level / 20.0) * 0.1 / max(loudness(sound, rate), 1e-6))
        sound = sound * gain
        dry += sound
        if piece.room > 0.0:
            sent += sound * np.float32(DRY_ROLES.get(player.role, 1.0))
    if piece.room > 0.0:
        dry += np.float32(piece.room) * in_room(sent, rate, piece.room_seconds, random)
    return to_peak(without_tail(saturate(dry, piece.drive), rate)).astype(np.float32)


def without_tail(sound: np.ndarray, rate: int) -> np.ndarray:
    """A sound up to a moment after it has died away [shape=(2, samples)]."""
    level = np.abs(sound).max(axis=0)
    heard = np.flatnonzero(level > level.max() * 10.0 ** (INAUDIBLE_DECIBELS / 20.0))
    return sound[:, : heard[-1] + round(FRAME_SECONDS * rate)] if heard.size else sound


def loudness(sound: np.ndarray, rate: int) -> float:
    """Root mean square of where a player sounds [sound: shape=(2, samples)]; 0 for silence."""
    frame = max(1, round(FRAME_SECONDS * rate))
    whole = sound.shape[1] // frame * frame
    power = np.square(sound[:, :whole], dtype=np.float32).mean(axis=0).reshape(-1, frame).mean(axis=1)
    if power.size == 0 or power.max() <= 0.0:
        return 0.0
    sounding = power[power > power.max() * 10.0 ** (SOUNDING_DECIBELS / 10.0)]
    return float(np.sqrt(sounding.mean()))


def in_room(sound: np.ndarray, rate: int, room_seconds: float, random: np.random.Generator) -> np.ndarray:
    """Reverberation: noise that decays by 60 dB in some seconds, darker as it goes, without the lowest octaves.

    Parameters
    ----------
    sound : ndarray [shape=(2, samples)]
    rate : int
    room_seconds : float
        Until the level is down by 60 dB.
    random : numpy.random.Generator

    Returns
    -------
    ndarray of float32 [shape=(2, samples)]
        As loud as the sound itself.
    """
    length = round(room_seconds * rate)
    times = np.arange(length) / rate
    noise = random.normal(0.0, 1.0, (2, length))
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    spectrum = np.fft.rfft(noise)
    bright = np.fft.irfft(spectrum * high_pass(frequencies), length)
    dark = np.fft.irfft(spectrum * high_pass(frequencies) / (1.0 + (frequencies / 2500.0) ** 2), length)
    decay = 10.0 ** (-3.0 * times / room_seconds)
    response = bright * decay**2 * 0.7 + dark * decay
    response = np.pad(response, ((0, 0), (round(PREDELAY_SECONDS * rate), 0)))
    response /= np.sqrt(np.square(response).sum(axis=1, keepdims=True))
    return fftconvolve(sound, response.astype(np.float32), axes=1)[:, : sound.shape[1]].astype(np.float32)


def high_pass(frequencies: np.ndarray) -> np.ndarray:
    """Gain of a second-order high-pass at 200 Hz."""
    ratio = (frequencies / 200.0) ** 2
    return ratio / (1.0 + ratio)


def saturate(sound: np.ndarray, drive: float) -> np.ndarray:
    """Round off the peaks, as a loud master does: the tanh of the sound, scaled by its own loud peaks."""
    loud = float(np.quantile(np.abs(sound), 0.999))
    if loud <= 0.0:
        return sound
    return np.tanh(sound * np.float32(0.8 * drive / loud))
