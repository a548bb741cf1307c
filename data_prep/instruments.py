"""General MIDI: the families of its 128 instruments, the keys that each can play, and the keys of its drum kit."""

import argparse

FAMILIES: dict[str, range] = {
    name: range(8 * i, 8 * i + 8)
    for i, name in enumerate(
        (
            "piano",
            "chromatic-percussion",
            "organ",
            "guitar",
            "bass",
            "strings",
            "ensemble",
            "brass",
            "reed",
            "pipe",
            "synth-lead",
            "synth-pad",
            "synth-effects",
            "ethnic",
            "percussive",
            "sound-effects",
        )
    )
}
"""Programs of each family, counted from 0, as the General MIDI level 1 sound set orders them."""

_FAMILY_KEYS = {
    "piano": (21, 108),
    "chromatic-percussion": (48, 96),
    "organ": (36, 96),
    "guitar": (40, 86),
    "bass": (28, 60),
    "strings": (36, 96),
    "ensemble": (36, 96),
    "brass": (40, 82),
    "reed": (44, 88),
    "pipe": (60, 96),
    "synth-lead": (36, 100),
    "synth-pad": (36, 96),
    "synth-effects": (36, 96),
    "ethnic": (43, 88),
    "percussive": (36, 84),
    "sound-effects": (36, 84),
}
_KEYS = {
    8: (60, 108),  # celesta
    9: (72, 108),  # glockenspiel
    11: (53, 89),  # vibraphone
    13: (65, 108),  # xylophone
    14: (60, 77),  # tubular bells
    21: (53, 89),  # accordion
    22: (60, 84),  # harmonica
    23: (53, 89),
    40: (55, 100),  # violin
    41: (48, 88),
    42: (36, 76),  # cello
    43: (28, 60),  # contrabass
    46: (24, 103),  # harp
    47: (36, 57),  # timpani
    52: (43, 84),  # choir
    53: (43, 84),
    54: (43, 84),
    55: (48, 72),  # orchestra hit
    56: (55, 82),  # trumpet
    57: (40, 72),  # trombone
    58: (28, 58),  # tuba
    59: (55, 82),
    60: (41, 77),  # horn
    61: (36, 84),  # brass section
    64: (54, 88),  # soprano saxophone
    65: (49, 80),
    66: (44, 75),
    67: (36, 69),
    68: (58, 91),  # oboe
    69: (52, 81),
    70: (34, 72),  # bassoon
    71: (50, 91),  # clarinet
    72: (74, 102),  # piccolo
    77: (55, 84),  # shakuhachi
    87: (28, 84),  # bass and lead
    38: (24, 60),  # synth basses go lower than strings do
    39: (24, 60),
}

DRUM_KEYS: dict[str, int] = {
    "kick": 36,
    "rim": 37,
    "snare": 38,
    "clap": 39,
    "snare2": 40,
    "floor": 41,
    "hat": 42,
    "low": 45,
    "pedal": 44,
    "open": 46,
    "mid": 47,
    "crash": 49,
    "high": 50,
    "ride": 51,
    "china": 52,
    "bell": 53,
    "tambourine": 54,
    "splash": 55,
    "cowbell": 56,
    "crash2": 57,
    "bongo": 60,
    "bongo2": 61,
    "slap": 62,
    "conga": 63,
    "conga2": 64,
    "timbale": 65,
    "timbale2": 66,
    "agogo": 67,
    "agogo2": 68,
    "cabasa": 69,
    "maracas": 70,
    "guiro": 73,
    "claves": 75,
    "block": 76,
    "block2": 77,
    "triangle": 81,
    "shaker": 82,
}
"""Keys of the drum channel by the names that grooves use."""


def family_of(program: int) -> str:
    """Family of a program, 0 to 127."""
    return list(FAMILIES)[program // 8]


def keys_of(program: int) -> tuple[int, int]:
    """Lowest and highest key (MIDI numbers) that an instrument of this program plays."""
    return _KEYS.get(program, _FAMILY_KEYS[family_of(program)])


def read_programs(text: str) -> list[int]:
    """For argparse: numbers from 0 to 127 and names of families with commas between, as programs in that order."""
    programs: list[int] = []
    for word in text.split(","):
        if word in FAMILIES:
            programs += FAMILIES[word]
        elif word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= 127:
            programs.append(int(word))
        else:
            raise argparse.ArgumentTypeError(
                f"{word[:40]!r} is neither a whole number from 0 to 127 nor one of the families {', '.join(FAMILIES)}"
            )
    return programs
