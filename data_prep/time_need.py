"""How much of a processor a preparation will need, from how fast this one is at a part of the work."""

import time

import numpy as np
import soxr

from data_prep.disk_need import music_time
from piano.foundation.fingerprint import Fingerprinter
from piano.foundation.levels import LevelMeter

_RATE = 16_000
_SECONDS = 4
_WHOLE = 1.7
"""All of the work by the part that is tried, for MP3s: 1.6 at 16 kHz mono, 1.9 at 44.1 kHz stereo."""
_WORTH_SAYING = 60.0


def time_need(seconds: float) -> str:
    """A sentence about the time of one core for so many seconds of music; empty below a minute."""
    if seconds < _WORTH_SAYING:
        return ""
    need = seconds * _share()
    return "" if need < _WORTH_SAYING else f" One core needs about {music_time(need)} for it, several share that."


def _share() -> float:
    """Seconds of one core for a second of music: the fastest of three tries, for other programs run as well."""
    noise = (0.1 * np.random.default_rng(0).standard_normal((_SECONDS * 44_100, 2))).astype(np.float32)
    tries = []
    for _ in range(3):
        started = time.process_time()
        sound = soxr.resample(noise, 44_100, _RATE).mean(axis=1, dtype=np.float32)[np.newaxis]
        for taker in (LevelMeter(_RATE), Fingerprinter(_RATE)):
            taker.add(sound)
        tries.append(time.process_time() - started)
    return _WHOLE * min(tries) / _SECONDS
