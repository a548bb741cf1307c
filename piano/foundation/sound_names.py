"""Names of sound files: which suffixes are taken for music, and which are known and cannot be read."""

import os
from collections.abc import Iterator
from pathlib import Path

FFMPEG_SUFFIXES = frozenset({
    ".m4a", ".m4b", ".m4r", ".mp4", ".mov", ".3gp", ".3g2", ".aac", ".adts", ".ac3", ".eac3", ".ec3",
    ".dts", ".dtshd", ".wma", ".asf", ".webm", ".mka", ".mkv", ".wv", ".ape", ".tta", ".tak", ".mpc",
    ".mp+", ".mpp", ".amr", ".shn", ".dsf", ".dff", ".ra", ".rm",
})  # fmt: skip
"""Formats that libsndfile cannot read; they need an ffmpeg program."""

AUDIO_SUFFIXES = FFMPEG_SUFFIXES | {
    ".mp3", ".mp2", ".mp1", ".mpga", ".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".flac", ".fla",
    ".ogg", ".oga", ".opus", ".spx", ".aif", ".aiff", ".aifc", ".afc", ".caf", ".au", ".snd", ".voc",
    ".svx", ".8svx", ".iff", ".nist", ".sph", ".ircam", ".sf", ".pvf", ".sds",
}  # fmt: skip
"""Suffixes (lower case) of the files that are taken for music."""

UNKNOWN_SUFFIXES = frozenset({
    ".mid", ".midi", ".kar", ".rmi", ".mod", ".xm", ".it", ".s3m", ".mtm", ".sid", ".nsf", ".spc",
    ".vgm", ".gbs", ".m4p", ".aax", ".aaxc", ".ofr", ".ofs", ".la", ".vqf", ".qcp", ".mqa", ".cda",
    ".nki", ".sf2", ".sf3", ".sfz", ".gig", ".als", ".flp", ".ptx", ".rpp",
})  # fmt: skip
"""Of sound or scores, but not of sound that can be decoded here."""


def sounds_below(folder: Path | str) -> Iterator[str]:
    """Names of the sound files in a folder and the folders inside it, by their suffixes; links are not followed."""
    for _, _, names in os.walk(folder):
        yield from (name for name in names if Path(name).suffix.lower() in AUDIO_SUFFIXES)
