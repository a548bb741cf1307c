"""The styles that the band plays: tempo, metre, harmony, and who plays what, one row each.

Lines of players are text on a grid, as in `band_grooves`: the signs of a bar are spread evenly over it, a comma starts
the next bar of a line of several bars, a dot is a rest and a dash holds the note before it.

- Bass: R root, r root softly, 3 5 7 tones of the chord, 8 octave, A a step from below or above into the next root,
  N the root of the next chord.
- Chords: a digit is the force of a stroke, 9 the hardest.
- Arpeggios: a digit is a voice of the chord from the bottom, 0 the lowest; beyond the top it goes on an octave higher.
"""

from typing import Any, NamedTuple

METRES: dict[str, int] = {"4/4": 4, "3/4": 3, "2/4": 2, "6/8": 2, "12/8": 4}
"""Beats of a bar; those of 6/8 and 12/8 are dotted quarters."""


class Plays(NamedTuple):
    """How a player makes notes of the chords."""

    kind: str
    """bass, walk, pedal, chords, strum, arp, pad, power, montuno, lead or second (a voice under the lead)."""
    lines: tuple[str, ...] = ()
    low: int = 52
    high: int = 76
    voices: int = 4
    gate: float = 0.95
    """Share of its time that a note is held."""
    rootless: bool = False
    is_open: bool = False


class Part(NamedTuple):
    """A player of the band."""

    role: str
    plays: Plays
    programs: tuple[int, ...]
    """General MIDI programs, one of which a piece draws."""
    level: float
    """Decibels, of what sounds of it, against the drums or whoever is loudest."""
    pan: float = 0.0
    """-1 is left, 1 is right; the side may be changed."""
    enters: float = 0.0
    """Sections at least so intense have this player."""


class Tune(NamedTuple):
    """How melodies of a style move."""

    beats: dict[float, int]
    """Lengths of notes, with weights."""
    rests: float = 0.2
    """How likely a rest follows a note."""
    syncopation: float = 0.3
    """How likely a note off the beat may last over the next one."""
    leaps: float = 0.15
    scale: str = ""
    """A key of SCALES; the mode of the piece if empty."""
    chromatic: float = 0.0
    """How likely a weak note becomes a half step into the next one."""
    ornaments: float = 0.0
    """How likely a grace note comes before a strong one."""
    span: int = 17
    """Semitones between its lowest and its highest note."""
    force: int = 88


class Style(NamedTuple):
    """A row of the table."""

    tempo: tuple[int, int]
    """Beats in a minute."""
    metre: str
    modes: dict[str, int]
    progressions: tuple[str, ...]
    """Degrees, a bar each; those of a mode that does not fit are left out (see `fits`)."""
    groove: str
    """A key of GROOVES; empty: no drums."""
    kits: tuple[int, ...]
    """Programs of bank 128."""
    tune: Tune
    parts: tuple[Part, ...]
    swing: tuple[float, float] = (0.5, 0.5)
    """Where in a beat its middle is played; 0.67 are triplets."""
    swung: float = 1.0
    """Beats in which the swing lies: 1 swings eighths, 0.5 sixteenths."""
    jitter: float = 0.006
    """Seconds, standard deviation of an onset."""
    drift: float = 0.01
    """How far the tempo wanders, as a share."""
    room: float = 0.12
    """Share of reverberation."""
    room_seconds: float = 0.9
    drive: float = 1.0
    """How hard the sum is driven into saturation; 1 hardly."""
    slows: bool = False
    """Whether the last bars slow down."""
    walks: float = 0.3
    """How often a progression comes from the Markov chain of the mode instead."""
    phrase: int = 8
    """Bars."""
    drums_level: float = 0.0


ELECTRONIC: dict[str, Any] = {"jitter": 0.001, "drift": 0.0}

# Tunes.
SONG = Tune({0.5: 5, 1: 4, 1.5: 2, 2: 2}, rests=0.22, syncopation=0.3)
SLOW_SONG = Tune({0.5: 3, 1: 5, 1.5: 2, 2: 3, 3: 1}, rests=0.25, syncopation=0.25, force=78)
PENTA = Tune({0.5: 6, 1: 3, 0.25: 1, 1.5: 2}, rests=0.25, syncopation=0.45, scale="minor pentatonic", ornaments=0.15)
BLUES = Tune(
    {0.5: 6, 1: 3, 1.5: 2, 2: 1}, rests=0.3, syncopation=0.4, scale="blues", ornaments=0.3, chromatic=0.05, force=92
)
JAZZ = Tune({0.5: 9, 1: 3, 1.5: 2, 2: 1}, rests=0.25, syncopation=0.5, chromatic=0.3, ornaments=0.1, span=20)
FUNK = Tune({0.25: 4, 0.5: 5, 0.75: 3, 1: 1}, rests=0.35, syncopation=0.6, scale="minor pentatonic", ornaments=0.1)
HOOK = Tune({0.25: 2, 0.5: 5, 0.75: 4, 1: 2}, rests=0.18, syncopation=0.6)
RUNS = Tune({0.25: 6, 0.5: 4, 1: 1}, rests=0.1, syncopation=0.2, leaps=0.25, span=20)
LONG = Tune({2: 3, 4: 3, 1: 2, 3: 2}, rests=0.2, syncopation=0.1, force=72)
LATIN = Tune({0.5: 6, 1: 2, 1.5: 4, 0.25: 1}, rests=0.25, syncopation=0.7, ornaments=0.12, chromatic=0.05)
WALTZ = Tune({1: 6, 0.5: 3, 2: 3, 1.5: 1}, rests=0.15, syncopation=0.1, force=80)
TRIPLE = Tune({1 / 3: 6, 2 / 3: 4, 1: 3}, rests=0.08, syncopation=0.2, force=84)
SLOW_TRIPLE = Tune({1 / 3: 3, 2 / 3: 3, 1: 5, 2: 2}, rests=0.22, syncopation=0.2, force=82)
HYMN = Tune({1: 8, 2: 3, 0.5: 1}, rests=0.05, syncopation=0.0, leaps=0.06, force=74, span=12)
FANFARE = Tune({1: 4, 0.5: 4, 1.5: 3, 2: 3, 0.25: 1}, rests=0.15, syncopation=0.15, leaps=0.3, force=96)

# Instruments.
PIANO, EPIANO, ORGAN = (0, 1, 2), (4, 5), (16, 17, 18)
STEEL, CLEAN, DIRTY = (25,), (27, 26), (29, 30)
FINGER, PICK, FRETLESS, SLAP, SYNTH_BASS = (33,), (34,), (35,), (36, 37), (38, 39)
UPRIGHT = (32,)
STRINGS, WARM = (48, 49, 50), (89, 88, 91, 94)
SAW, SQUARE = (81, 90), (80,)

# Chord and bass lines that several styles share.
DOWN_UP = ("7...6.5..56.5.5.", "7.5.6.5.7.5.6.5.", "7...6.55.56.5.55")
HELD = ("7---------------",)
HALVES = ("7-------6-------",)
QUARTERS = ("7---6---7---6---", "7---6---7--56---")
OFFBEATS = ("..8...8...8...8.",)
BROKEN = ("0-1-2-1-3-1-2-1-", "0-2-1-2-3-2-1-2-", "0-1-2-3-2-1-2-1-")
SIXTEENTHS = ("0123012301230123", "0213021302130213", "0120321001203210")
RISING = ("0-1-2-3-4-3-2-1-", "0-2-1-3-2-4-3-1-")


def bass(*lines: str, gate: float = 0.92, low: int = 31, high: int = 52) -> Plays:
    """A bass of lines."""
    return Plays("bass", lines, low=low, high=high, gate=gate)


STYLES: dict[str, Style] = {
    "rock": Style(
        tempo=(104, 144),
        metre="4/4",
        modes={"mixolydian": 3, "minor": 3, "major": 3},
        progressions=(
            "I bVII IV I",
            "I V vi IV",
            "I IV V IV",
            "i bVII bVI bVII",
            "i bIII bVII IV",
            "i bVI bIII bVII",
            "I I bVII IV",
        ),
        groove="rock",
        kits=(0, 8, 16),
        tune=PENTA,
        drive=2.2,
        parts=(
            Part("bass", bass("R.R.R.R.R.R.R.R.", "R--RR.R-R--RR.A.", "R.R.R.8.R.R.5.A."), (*FINGER, *PICK), -3),
            Part("comp", Plays("power", ("9-99.9999-99.999", "8.8.8.8.8.8.8.8.", "9-----9-9---9---")), DIRTY, -6, -0.6),
            Part("comp 2", Plays("strum", DOWN_UP, 45, 72, 5), (*CLEAN, *STEEL), -9, 0.6, 0.5),
            Part("pad", Plays("chords", HALVES, 55, 76, 3), (*ORGAN, *PIANO), -12, 0.25, 0.65),
            Part("lead", Plays("lead"), (29, 30, 27, 65, 18, 52), -3, 0.05, 0.45),
        ),
    ),
    "punk": Style(
        tempo=(164, 200),
        metre="4/4",
        modes={"major": 4, "minor": 1},
        progressions=("I V vi IV", "I IV V V", "I vi IV V", "I IV I V", "i bVI bVII i", "i bIII bVII bVI"),
        groove="punk",
        kits=(0, 8, 16),
        tune=SONG,
        drive=3.0,
        walks=0.15,
        parts=(
            Part("bass", bass("R.R.R.R.R.R.R.R.", "R.R.R.R.R.R.5.A."), PICK, -3),
            Part("comp", Plays("power", ("8.8.8.8.8.8.8.8.", "9.8.8.8.9.8.8.8.")), DIRTY, -4, -0.7),
            Part("comp 2", Plays("power", ("9---9---9---9-9-", "8.8.8.8.8.8.8.8.")), DIRTY, -5, 0.7, 0.5),
            Part("lead", Plays("lead"), (29, 27, 54, 18), -3, 0.0, 0.45),
        ),
    ),
    "metal": Style(
        tempo=(120, 184),
        metre="4/4",
        modes={"minor": 3, "phrygian": 3},
        progressions=("i5 i5 bVI5 bVII5", "i5 bII5 i5 bVII5", "i5 bVI5 iv5 v5", "i5 i5 bIII5 bII5", "i5 iv5 bII5 i5"),
        groove="metal",
        kits=(16, 0),
        tune=RUNS._replace(beats={0.25: 4, 0.5: 4, 1: 2, 2: 1}, force=98),
        drive=3.5,
        walks=0.0,
        parts=(
            Part("bass", bass("R.RRR.RRR.RRR.RR", "R.R.R.R.R.R.R.R.", "RRR.RRR.RRR.A.A."), PICK, -3),
            Part("comp", Plays("power", ("9.999.999.999.99", "9.99.99.9.99.99.", "999.999.999.9-9-")), (30,), -4, -0.8),
            Part("comp 2", Plays("power", ("9.999.999.999.99", "9-------9---9---")), (30, 29), -4, 0.8, 0.4),
            Part("pad", Plays("pad", (), 48, 72, 3), (52, 48, 95), -13, 0.0, 0.8),
            Part("lead", Plays("lead"), (30, 29), -3, 0.1, 0.6),
        ),
    ),
    "pop ballad": Style(
        tempo=(60, 84),
        metre="4/4",
        modes={"major": 4, "minor": 2},
        progressions=(
            "I V vi IV",
            "vi IV I V",
            "I vi ii7 V",
            "I iii IV V",
            "Iadd9 V vi7 IVmaj7",
            "i bVI bIII bVII",
            "i iv bVI V7",
        ),
        groove="ballad",
        kits=(0, 8, 40),
        tune=SLOW_SONG,
        room=0.2,
        room_seconds=1.6,
        slows=True,
        parts=(
            Part("comp", Plays("chords", QUARTERS, 52, 74, 4), (0, 1, 4, 5), -5, -0.2),
            Part("comp 2", Plays("arp", BROKEN, 48, 74, 4), (24, 25, 27), -10, 0.5, 0.5),
            Part(
                "bass",
                bass("R-------R-----5-", "R-----R-R-------", "R-----5-R---A---"),
                (*FINGER, *FRETLESS),
                -4,
                0.0,
                0.4,
            ),
            Part("pad", Plays("pad", (), 52, 79, 4, is_open=True), (*STRINGS, 89), -10, 0.2, 0.6),
            Part("lead", Plays("lead"), (52, 53, 65, 73, 40, 68, 26, 85), -3, 0.0, 0.42),
            Part("second", Plays("second"), (53, 48, 60), -9, -0.3, 0.8),
        ),
    ),
    "disco": Style(
        tempo=(110, 128),
        metre="4/4",
        modes={"minor": 3, "dorian": 3, "major": 2},
        progressions=(
            "i7 iv7 bVII bIIImaj7",
            "i7 IV7 i7 IV7",
            "i bVI bVII v",
            "I vi7 ii7 V7",
            "vi7 ii7 V7 Imaj7",
            "i7 bVII bVI V7",
        ),
        groove="disco",
        kits=(0, 8, 24),
        tune=HOOK,
        drive=2.0,
        jitter=0.004,
        drift=0.002,
        parts=(
            Part(
                "bass",
                bass("R.8.R.8.R.8.R.8.", "R..R8.R.R..R8.A.", "R.8R..8.R.8R5.A.", gate=0.7),
                (*FINGER, *SLAP, *SYNTH_BASS),
                -2,
            ),
            Part(
                "comp",
                Plays("strum", ("..75..75..75..75", "7.577.57.7577.57", "5577557755775577"), 52, 76, 4, gate=0.4),
                CLEAN,
                -9,
                0.6,
                0.4,
            ),
            Part(
                "comp 2",
                Plays("chords", ("..7...7...7...7.", "7..7..7...7.7..."), 55, 77, 4, gate=0.6),
                (4, 5, 7, 0),
                -9,
                -0.4,
            ),
            Part("pad", Plays("pad", (), 60, 84, 3), STRINGS, -9, 0.1, 0.55),
            Part(
                "hits",
                Plays("chords", ("................,............7.8-", "8.....8-........,................"), 55, 79, 3),
                (61, 62),
                -7,
                0.2,
                0.75,
            ),
            Part("lead", Plays("lead"), (52, 73, 62, 48, 65, 81), -4, 0.0, 0.5),
        ),
    ),
    "house": Style(
        tempo=(118, 128),
        metre="4/4",
        modes={"minor": 4, "dorian": 3},
        progressions=(
            "i7 bVImaj7 iv7 v7",
            "i9 iv9 i9 bVII9",
            "i7 bIIImaj7 bVII iv7",
            "i bVI bIII bVII",
            "i9 i9 iv9 v7",
        ),
        groove="house",
        kits=(24, 25, 0),
        tune=HOOK,
        drive=2.2,
        parts=(
            Part(
                "bass",
                bass("..R...R...R..R8.", "R..R..R..R..R.R.", "..RR..R8..RR..57", gate=0.75),
                (*SYNTH_BASS, 33),
                -2,
                0.0,
                0.3,
            ),
            Part(
                "comp",
                Plays("chords", ("8..8..8...8.8...", "..8..8....8..8..", "8..8...8..8..8.."), 55, 77, 4, gate=0.55),
                (0, 1, 4, 16, 5),
                -7,
                -0.2,
            ),
            Part("arp", Plays("arp", SIXTEENTHS, 60, 84, 4, gate=0.5), (81, 80, 87, 13), -13, 0.5, 0.7),
            Part("pad", Plays("pad", (), 52, 76, 4), (*WARM, 50, 48), -11, 0.0, 0.45),
            Part("lead", Plays("lead"), (81, 80, 54, 62, 11, 53), -5, 0.0, 0.65),
        ),
        **ELECTRONIC,
    ),
    "techno": Style(
        tempo=(124, 140),
        metre="4/4",
        modes={"minor": 2, "phrygian": 3},
        progressions=("i i i i", "i i bII i", "i i i bVI", "i i bVII bVII"),
        groove="techno",
        kits=(24, 25),
        tune=Tune({0.25: 5, 0.5: 4, 0.75: 3}, rests=0.3, syncopation=0.7, leaps=0.1, span=10),
        drive=2.8,
        walks=0.0,
        room=0.18,
        room_seconds=1.8,
        parts=(
            Part(
                "bass",
                bass("..R...R...R...R.", ".RRR.RRR.RRR.RRR", "R..R..R..R..R.8.", gate=0.6, low=28, high=46),
                SYNTH_BASS,
                -2,
            ),
            Part(
                "arp",
                Plays("arp", ("0..0.0..1.0..0.2", "00200030020003.1", "0.1.0.2.0.1.0.3."), 48, 76, 4, gate=0.4),
                (81, 80, 87, 38),
                -8,
                -0.3,
                0.4,
            ),
            Part(
                "comp",
                Plays("chords", ("...7.........7..", "7...............", "......7......7.."), 52, 74, 3, gate=0.5),
                (90, 62, 81, 16),
                -10,
                0.4,
                0.5,
            ),
            Part("pad", Plays("pad", (), 48, 72, 3), (93, 95, 97, 101, 89), -13, 0.0, 0.3),
            Part("lead", Plays("lead"), (81, 80, 84, 87), -8, 0.1, 0.75),
        ),
        **ELECTRONIC,
    ),
    "trance": Style(
        tempo=(132, 142),
        metre="4/4",
        modes={"minor": 5, "major": 1},
        progressions=("i bVI bIII bVII", "bVI bVII i i", "i bVII bVI bVII", "i iv bVI bVII", "vi IV I V", "I V vi IV"),
        groove="trance",
        kits=(24, 25),
        tune=HOOK._replace(rests=0.1, span=19),
        drive=2.4,
        room=0.22,
        room_seconds=2.2,
        walks=0.1,
        parts=(
            Part(
                "bass",
                bass("..R...R...R...R.", ".RRR.RRR.RRR.RRR", gate=0.7, low=28, high=48),
                SYNTH_BASS,
                -3,
                0.0,
                0.4,
            ),
            Part(
                "arp", Plays("arp", (*SIXTEENTHS, "0123210301232103"), 60, 86, 4, gate=0.6), (81, 80, 90), -7, 0.3, 0.3
            ),
            Part(
                "comp",
                Plays("chords", ("8..8..8..8..8.8.", "8.8..8.8.8..8.8."), 57, 81, 4, gate=0.5),
                (90, 62, 81),
                -8,
                -0.3,
                0.7,
            ),
            Part("pad", Plays("pad", (), 52, 79, 4, is_open=True), (*WARM, 50, 52), -8, 0.0, 0.2),
            Part("lead", Plays("lead"), (81, 90, 80), -4, 0.0, 0.6),
        ),
        **ELECTRONIC,
    ),
    "drum and bass": Style(
        tempo=(166, 178),
        metre="4/4",
        modes={"minor": 3, "dorian": 2},
        progressions=("i9 i9 bVImaj7 bVImaj7", "i7 iv7 bVImaj7 v7", "i i bVII bVI", "i9 bVII9 bVImaj7 v7"),
        groove="break",
        kits=(24, 0, 8),
        tune=LONG._replace(beats={0.5: 2, 1: 3, 2: 3, 4: 1}, scale="minor pentatonic"),
        drive=2.4,
        parts=(
            Part(
                "bass",
                bass("R-----R-...R8-..", "R-------....R-5-", "R.R...R-R.....8-", low=26, high=46),
                SYNTH_BASS,
                -1,
                0.0,
                0.4,
            ),
            Part(
                "comp",
                Plays("chords", ("7-----7-........", "..7---..7---....", "7---------------"), 55, 79, 4),
                (4, 5, 0, 11),
                -9,
                -0.3,
            ),
            Part("pad", Plays("pad", (), 52, 79, 4), (*WARM, 95, 48), -8, 0.0, 0.2),
            Part("arp", Plays("arp", ("0-1-2-3-", "0-2-3-1-"), 60, 84, 4), (11, 12, 81, 98), -13, 0.5, 0.6),
            Part("lead", Plays("lead"), (81, 53, 73, 80, 11), -5, 0.1, 0.5),
        ),
        **ELECTRONIC,
    ),
    "hip hop": Style(
        tempo=(80, 98),
        metre="4/4",
        modes={"minor": 3, "dorian": 3},
        progressions=("i7 i7 bVImaj7 V7", "i9 iv9 i9 iv9", "i7 bVII bVImaj7 bVII", "i7 iv7 i7 v7", "i9 ii7 i9 bII7"),
        groove="hip hop",
        kits=(0, 8, 24),
        tune=FUNK,
        swing=(0.53, 0.62),
        swung=0.5,
        jitter=0.008,
        drift=0.0,
        drive=2.2,
        walks=0.1,
        phrase=4,
        parts=(
            Part("bass", bass("R--.....R-R-....", "R-----.R..R-5-A-", "R-..R...8-R-..A-"), (33, 35, 38, 32), -1),
            Part(
                "comp",
                Plays("chords", ("7---..6-...7-...", "7-------6-----5-", "..7---..7---..6."), 53, 75, 4, rootless=True),
                (4, 5, 0, 7),
                -6,
                -0.2,
            ),
            Part(
                "arp",
                Plays("arp", ("0-2-3-1-0-2-4-3-", "3---2---1---0---"), 60, 82, 4),
                (45, 46, 24, 11, 12),
                -11,
                0.4,
                0.5,
            ),
            Part("pad", Plays("pad", (), 52, 76, 3), (48, 49, 52, 89), -13, 0.1, 0.6),
            Part("lead", Plays("lead"), (73, 56, 11, 81, 66, 53, 75), -6, 0.15, 0.55),
        ),
    ),
    "trap": Style(
        tempo=(66, 78),
        metre="4/4",
        modes={"minor": 3, "phrygian": 2},
        progressions=("i i bVI bVI", "i bVI i V7", "i i bII bII", "i iv bVI V7", "i bVII bVI bVI"),
        groove="trap",
        kits=(25, 24),
        tune=Tune({0.25: 3, 0.5: 5, 1: 3}, rests=0.3, syncopation=0.4, scale="minor"),
        drive=2.6,
        walks=0.0,
        phrase=4,
        parts=(
            Part(
                "bass",
                bass("R-----R---......", "R-------..R---8-", "R---....R-...5--", low=26, high=43),
                (38, 39, 87),
                0,
                0.0,
                0.3,
            ),
            Part(
                "comp",
                Plays("arp", ("0-1-2-1-3-1-2-1-", "0---2---1---3---", "0..1..2.0..1..3."), 57, 81, 4),
                (0, 9, 10, 46, 11),
                -6,
                -0.2,
            ),
            Part("pad", Plays("pad", (), 52, 76, 3), (52, 48, 91, 95), -11, 0.1, 0.4),
            Part("lead", Plays("lead"), (73, 14, 81, 80, 75, 9), -6, 0.2, 0.6),
        ),
        **ELECTRONIC,
    ),
    "lo-fi": Style(
        tempo=(68, 88),
        metre="4/4",
        modes={"major": 3, "dorian": 2},
        progressions=(
            "ii9 V7 Imaj9 vi7",
            "Imaj7 iii7 vi7 V7",
            "IVmaj7 iii7 ii7 Imaj7",
            "i9 IV7 i9 IV7",
            "ii9,V7 Imaj9 vi7,VI7 ii9,V7",
        ),
        groove="hip hop",
        kits=(40, 32, 8),
        tune=PENTA._replace(scale="major pentatonic", force=70, rests=0.35),
        swing=(0.55, 0.64),
        swung=0.5,
        jitter=0.01,
        drift=0.0,
        drive=1.8,
        room=0.16,
        walks=0.1,
        phrase=4,
        drums_level=-4,
        parts=(
            Part(
                "comp",
                Plays("chords", ("7-------..6-----", "7----7--------6-", "7---..6-....6---"), 52, 74, 5, rootless=True),
                (4, 5, 0, 11),
                -3,
                -0.15,
            ),
            Part("bass", bass("R-----..R---5---", "R---..R-8---A---"), (32, 33, 35), -4, 0.0, 0.4),
            Part(
                "comp 2", Plays("arp", ("0-1-2-3-....2-1-", "....3-2-1-0-...."), 55, 79, 4), (24, 27, 26), -9, 0.4, 0.5
            ),
            Part("pad", Plays("pad", (), 52, 76, 3), (89, 48, 52), -14, 0.0, 0.6),
            Part("lead", Plays("lead"), (11, 73, 26, 4, 75, 66), -6, 0.2, 0.55),
        ),
    ),
    "funk": Style(
        tempo=(92, 116),
        metre="4/4",
        modes={"dorian": 4, "mixolydian": 2},
        progressions=("i9 i9 i9 IV9", "i7 IV7 i7 IV7", "I9 I9 IV9 I9", "i7 bIII IV7 i7", "I7 I7 bVII7 IV7"),
        groove="funk",
        kits=(0, 8),
        tune=FUNK,
        swing=(0.5, 0.56),
        swung=0.5,
        walks=0.15,
        drive=1.8,
        parts=(
            Part(
                "bass",
                bass("R..R..8.R.7.5.A.", "R.rR..78..R.5.7.", "R--.R.r7..8.r5A.", "RrrR..R...8.7.5.", gate=0.7),
                (*SLAP, *FINGER),
                -1,
            ),
            Part(
                "comp",
                Plays(
                    "strum",
                    ("..7..57..7.57..5", "7.57..57.7.5..57", "....7..5....7.57"),
                    55,
                    79,
                    4,
                    gate=0.35,
                    rootless=True,
                ),
                CLEAN,
                -7,
                0.6,
            ),
            Part(
                "comp 2",
                Plays("arp", ("0.12.01.2.01.21.", "01.2.10.01.2.1.2"), 45, 67, 4, gate=0.5),
                (7,),
                -9,
                -0.6,
                0.5,
            ),
            Part("pad", Plays("chords", HALVES, 55, 76, 4), (16, 17, 18), -13, -0.3, 0.6),
            Part(
                "hits",
                Plays(
                    "chords",
                    (
                        "................,......8.......8.",
                        "8..8......8.....,................",
                        "................,................,................,8.8..8.8........",
                    ),
                    58,
                    81,
                    3,
                    gate=0.6,
                ),
                (61, 62),
                -5,
                0.3,
                0.6,
            ),
            Part("lead", Plays("lead"), (66, 65, 56, 27, 18, 62), -4, 0.05, 0.55),
        ),
    ),
    "reggae": Style(
        tempo=(68, 88),
        metre="4/4",
        modes={"major": 3, "minor": 3},
        progressions=(
            "I V vi IV",
            "I IV I V",
            "i iv i v",
            "i bVII bVI bVII",
            "I ii IV V",
            "vi ii V I",
            "i bVII i bVII",
        ),
        groove="reggae",
        kits=(0, 8),
        tune=SONG,
        swing=(0.5, 0.6),
        swung=0.5,
        room=0.2,
        parts=(
            Part(
                "bass",
                bass("R-..R.3.5-....R.", "....R-R.5.3.R-..", "R-..R-..5-3-R-A-", gate=0.85, low=29, high=50),
                (33, 35),
                0,
            ),
            Part("comp", Plays("chords", ("....8.......8...",), 57, 77, 4, gate=0.4), (27, 26, 0), -5, 0.5),
            Part(
                "comp 2",
                Plays("chords", ("..6.4.6...6.4.6.", "..6.456...6.456."), 55, 74, 3, gate=0.4),
                (16, 17, 18),
                -9,
                -0.5,
                0.4,
            ),
            Part("hits", Plays("chords", ("................,............7-8-",), 58, 81, 3), (61,), -8, 0.2, 0.7),
            Part("lead", Plays("lead"), (57, 66, 22, 52, 21, 27), -4, 0.0, 0.45),
        ),
    ),
    "ska": Style(
        tempo=(132, 164),
        metre="4/4",
        modes={"major": 4, "minor": 2},
        progressions=("I vi ii V", "I IV V IV", "I I IV V", "i iv V7 i", "i bVII bVI V7", "vi ii V I"),
        groove="ska",
        kits=(0, 8),
        tune=SONG._replace(syncopation=0.5, force=94),
        drive=1.6,
        parts=(
            Part("bass", Plays("walk", (), 31, 52), (33, 32, 34), -2),
            Part("comp", Plays("chords", OFFBEATS, 57, 77, 4, gate=0.35), (27, 26), -5, 0.6),
            Part("comp 2", Plays("chords", OFFBEATS, 55, 76, 3, gate=0.4), (16, 0, 17), -8, -0.6, 0.4),
            Part(
                "hits",
                Plays("chords", ("................,....8.8.8-......", "8--.8--.........,................"), 58, 81, 3),
                (61,),
                -5,
                -0.2,
                0.55,
            ),
            Part("lead", Plays("lead"), (57, 56, 66, 65), -3, 0.1, 0.45),
            Part("second", Plays("second"), (65, 57, 66), -8, -0.2, 0.75),
        ),
    ),
    "blues shuffle": Style(
        tempo=(88, 138),
        metre="4/4",
        modes={"mixolydian": 1},
        progressions=(
            "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
            "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
            "I7 IV7 I7 I7 IV7 #iv°7 I7 VI7 ii7 V7 I7,VI7 ii7,V7",
        ),
        groove="shuffle",
        kits=(0, 8, 40),
        tune=BLUES,
        swing=(0.62, 0.68),
        slows=True,
        walks=0.0,
        phrase=12,
        drive=1.6,
        parts=(
            Part("bass", bass("R---3---5---A---", "R.R.3.3.5.5.A.A.", "R---R---5---A---"), (33, 32), -2),
            Part("comp", Plays("power", ("8.6.8.6.8.6.8.6.",), gate=0.8), (27, 26, 29), -6, -0.5),
            Part(
                "comp 2",
                Plays(
                    "chords",
                    ("..7...7...7...7.", "7.....7.....7...", "....7.......7..."),
                    55,
                    77,
                    4,
                    gate=0.5,
                    rootless=True,
                ),
                (0, 16, 17, 3),
                -8,
                0.5,
                0.4,
            ),
            Part("lead", Plays("lead"), (22, 27, 29, 66, 26, 0), -2, 0.1, 0.42),
            Part("second", Plays("second"), (66, 57), -9, 0.3, 0.85),
        ),
    ),
    "slow blues": Style(
        tempo=(50, 72),
        metre="12/8",
        modes={"mixolydian": 2, "major": 2},
        progressions=(
            "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
            "I vi IV V I vi IV V I vi IV V",
            "I I7 IV iv I VI7 ii7,V7 I IV iv I V7",
        ),
        groove="slow twelve",
        kits=(0, 8, 40),
        tune=SLOW_TRIPLE._replace(scale="blues", ornaments=0.3),
        slows=True,
        walks=0.0,
        phrase=12,
        parts=(
            Part("bass", bass("R----RR----5", "R-----5--R-A", "R--3--5--A--"), (33, 32), -3),
            Part(
                "comp", Plays("chords", ("7--5--6--5--", "655655655655"), 55, 77, 4, gate=0.7), (0, 16, 3, 18), -6, -0.4
            ),
            Part("comp 2", Plays("arp", ("012321012321", "0-2-1-3-2-1-"), 52, 76, 4), (27, 26, 25), -9, 0.5, 0.45),
            Part("pad", Plays("pad", (), 52, 76, 4), (16, 17, 53), -13, 0.2, 0.6),
            Part("lead", Plays("lead"), (27, 66, 22, 29, 65, 53), -2, 0.1, 0.42),
        ),
    ),
    "swing jazz": Style(
        tempo=(112, 216),
        metre="4/4",
        modes={"major": 4, "minor": 2},
        progressions=(
            "ii7 V7 Imaj7 vi7",
            "Imaj7 VI7 ii7 V7",
            "Imaj7,vi7 ii7,V7 iii7,VI7 ii7,V7",
            "ii7 V7 Imaj7 IVmaj7 viiø III7 vi7 vi7",
            "i6 iiø,V7b9 i6 iiø,V7b9",
            "i7 iv7 bVII7 bIIImaj7 bVImaj7 iiø V7b9 i6",
            "Imaj7 Imaj7 ii7 V7 iii7 VI7 ii7 V7",
        ),
        groove="swing",
        kits=(32, 40),
        tune=JAZZ,
        swing=(0.6, 0.68),
        slows=True,
        walks=0.0,
        drums_level=-4,
        parts=(
            Part("bass", Plays("walk", (), 29, 52), UPRIGHT, -2),
            Part(
                "comp",
                Plays(
                    "chords",
                    ("7--...7.........", "..7...........6.", "......7-....6...", "7.....6-......6.,..7-......6....."),
                    52,
                    74,
                    4,
                    gate=0.6,
                    rootless=True,
                ),
                (0, 26, 4),
                -6,
                -0.35,
            ),
            Part(
                "hits",
                Plays(
                    "chords",
                    (
                        "................,................,................,..7-..8.....8-..",
                        "8-....8.........,................",
                    ),
                    58,
                    82,
                    4,
                    rootless=True,
                ),
                (61, 65),
                -7,
                0.3,
                0.8,
            ),
            Part("lead", Plays("lead"), (66, 65, 56, 71, 11, 26, 59, 64), -1, 0.1, 0.4),
            Part("second", Plays("second"), (57, 66, 71), -8, 0.35, 0.85),
        ),
    ),
    "jazz waltz": Style(
        tempo=(116, 176),
        metre="3/4",
        modes={"major": 3, "dorian": 2},
        progressions=(
            "ii7 V7 Imaj7 Imaj7",
            "i7 IV7 i7 IV7",
            "Imaj7 ii7 iii7 ii7",
            "Imaj7 vi7 ii7 V7",
            "i7 i7 bVII7 bVII7",
        ),
        groove="waltz",
        kits=(40, 32),
        tune=WALTZ._replace(chromatic=0.15, beats={0.5: 6, 1: 5, 1.5: 2, 2: 1}),
        swing=(0.58, 0.67),
        slows=True,
        drums_level=-5,
        parts=(
            Part("bass", Plays("walk", (), 29, 52), UPRIGHT, -2),
            Part(
                "comp",
                Plays("chords", ("....7---....", "7-------6---", "..7---6-...."), 52, 75, 4, rootless=True),
                (0, 4, 26),
                -5,
                -0.3,
            ),
            Part("lead", Plays("lead"), (73, 64, 11, 56, 26, 71, 66), -2, 0.15, 0.42),
            Part("pad", Plays("pad", (), 55, 79, 4), (48, 49), -12, 0.0, 0.8),
        ),
    ),
    "organ trio": Style(
        tempo=(96, 144),
        metre="4/4",
        modes={"dorian": 3, "mixolydian": 3},
        progressions=("i7 IV7 i7 IV7", "I7 I7 IV7 I7", "i7 i7 ii7 V7", "I7 bVII7 IV7 I7", "i7 bIII7 bVI7 V7"),
        groove="swing",
        kits=(32, 0),
        tune=BLUES._replace(chromatic=0.15),
        swing=(0.58, 0.67),
        drums_level=-2,
        parts=(
            Part("bass", Plays("walk", (), 31, 52), (16, 17, 32), -3),
            Part(
                "comp",
                Plays(
                    "chords",
                    ("..7---....6-....", "7-..6-....7.....", "....7-......6-.."),
                    53,
                    74,
                    4,
                    rootless=True,
                    gate=0.7,
                ),
                (26, 27),
                -6,
                0.6,
            ),
            Part("comp 2", Plays("pad", (), 55, 77, 3, rootless=True), (16, 17), -10, -0.3, 0.6),
            Part("lead", Plays("lead"), (16, 17, 18, 26, 66), -2, -0.2, 0.35),
        ),
    ),
    "bossa nova": Style(
        tempo=(112, 144),
        metre="4/4",
        modes={"major": 4, "minor": 2},
        progressions=(
            "Imaj7 Imaj7 II7 II7 ii7 V7 Imaj7 V7",
            "Imaj7 vi7 ii7 V7",
            "i6 i6 iiø V7b9",
            "Imaj7 bII7 ii7 V7",
            "iv7 bVII7 bIIImaj7 bVImaj7 iiø V7b9 i6 i6",
            "Imaj9 iv6 iii7 VI7 ii9 V7 Imaj9 V7",
        ),
        groove="bossa",
        kits=(40, 32, 0),
        tune=LATIN._replace(force=74, beats={0.5: 4, 1: 4, 1.5: 4, 2: 2}),
        room=0.18,
        slows=True,
        walks=0.0,
        drums_level=-6,
        parts=(
            Part(
                "comp",
                Plays(
                    "chords",
                    ("7..6..6...6..6..", "7..6..6..6..6...,..6..6..7...6...", "6.66.66.6.66.66."),
                    52,
                    74,
                    4,
                    gate=0.8,
                    rootless=True,
                ),
                (24, 25),
                -3,
                -0.3,
            ),
            Part("bass", bass("R--.5-R-R--.5-A-", "R-----5-5-----R-", "R--R5--5R--R5--A"), (32, 33, 35), -3, 0.0, 0.3),
            Part("pad", Plays("pad", (), 55, 79, 4), (48, 49, 89), -13, 0.2, 0.7),
            Part(
                "comp 2",
                Plays("chords", ("....7-....6.....", "..6-......7-...."), 58, 80, 4, rootless=True),
                (0, 4, 11),
                -9,
                0.4,
                0.5,
            ),
            Part("lead", Plays("lead"), (73, 66, 53, 75, 11, 64, 22), -2, 0.1, 0.42),
        ),
    ),
    "samba": Style(
        tempo=(92, 116),
        metre="4/4",
        modes={"major": 4, "minor": 1},
        progressions=("I VI7 ii7 V7", "I6 I6 ii7 V7", "I I7 IV iv6 I VI7 ii7 V7", "i iv7 V7 i", "vi II7 ii7 V7"),
        groove="samba",
        kits=(0, 8),
        tune=LATIN,
        drums_level=-1,
        parts=(
            Part(
                "comp",
                Plays("strum", ("7.57.75.7.57.75.", "75.7.75.75.7.7.5"), 55, 79, 4, gate=0.5),
                (24, 25, 105),
                -5,
                -0.4,
            ),
            Part("bass", bass("R--5R--5R--5R--A", "R..R5..5R..R5..5"), (33, 32), -3),
            Part(
                "comp 2",
                Plays("chords", ("..7..7..7...7...", "7...7..7..7...7."), 57, 79, 4, gate=0.5),
                (0, 16, 21),
                -9,
                0.4,
                0.5,
            ),
            Part("lead", Plays("lead"), (72, 73, 66, 57, 21, 71), -3, 0.1, 0.42),
            Part("second", Plays("second"), (65, 57, 71), -8, 0.3, 0.8),
        ),
    ),
    "salsa": Style(
        tempo=(164, 208),
        metre="4/4",
        modes={"minor": 3, "major": 2, "mixolydian": 1},
        progressions=(
            "i iv V7 iv",
            "i i V7 V7",
            "I IV V7 IV",
            "I I V7 V7",
            "ii7 V7 I vi",
            "i bVII bVI V7",
            "I bVII IV I",
        ),
        groove="salsa",
        kits=(0, 8),
        tune=LATIN._replace(force=94),
        walks=0.1,
        parts=(
            Part("bass", bass("......5-----N---", "R-----5-----N---", "......8-----N---", gate=0.85), (32, 33), -1),
            Part(
                "comp",
                Plays("montuno", ("8.8.88.8.8.8.8.8", "8..88.8.8.8.8.8.", "8.8.8.88.8.8.88."), 60, 84, 4, gate=0.7),
                (0, 1, 3),
                -4,
                -0.3,
            ),
            Part(
                "hits",
                Plays(
                    "chords",
                    (
                        "..8...8.........,................",
                        "................,8---..8.8.......",
                        "8.....8.....8---,................",
                    ),
                    58,
                    82,
                    4,
                    gate=0.7,
                ),
                (61, 56),
                -4,
                0.3,
                0.6,
            ),
            Part("lead", Plays("lead"), (56, 57, 73, 59, 52), -2, 0.1, 0.42),
            Part("second", Plays("second"), (57, 56), -8, 0.25, 0.75),
        ),
    ),
    "afrobeat": Style(
        tempo=(98, 122),
        metre="4/4",
        modes={"dorian": 3, "mixolydian": 2},
        progressions=("i7 i7 i7 IV7", "I IV I V", "I IV V IV", "i7 bVII i7 bVII", "I ii IV I"),
        groove="afro",
        kits=(0, 8),
        tune=FUNK._replace(scale="", beats={0.5: 5, 0.25: 2, 0.75: 3, 1: 2}),
        parts=(
            Part("bass", bass("R..R..5.8..5..R.", "R.R...3.5..R..A.", "..R.R..5..R.R.7."), (33,), -1),
            Part(
                "comp",
                Plays("arp", ("0.21.02.1.20.12.", "02.1.20.102.1.2.", "0-12-01-2-10-21-"), 60, 84, 4, gate=0.6),
                (27, 26, 24),
                -5,
                0.5,
            ),
            Part(
                "comp 2",
                Plays("arp", ("2..10..2..1.0.1.", "0.0.1..2.2.1..0."), 52, 72, 4, gate=0.6),
                (27, 25, 12, 108),
                -8,
                -0.5,
                0.4,
            ),
            Part(
                "pad",
                Plays("chords", ("..7..7....7..7..", "7...7...7..7...."), 55, 77, 4, gate=0.5),
                (16, 17, 4),
                -10,
                -0.2,
                0.55,
            ),
            Part(
                "hits",
                Plays("chords", ("8..8..8.........,................", "................,....8.8.8..8...."), 58, 82, 3),
                (61,),
                -5,
                0.2,
                0.65,
            ),
            Part("lead", Plays("lead"), (66, 65, 56, 16), -4, 0.0, 0.5),
        ),
    ),
    "tango": Style(
        tempo=(108, 132),
        metre="4/4",
        modes={"minor": 5, "major": 1},
        progressions=("i i V7 V7", "i iv V7 i", "i bVI iiø V7", "iv i V7 i", "I VI7 ii7 V7"),
        groove="tango",
        kits=(40, 0),
        tune=SONG._replace(beats={0.5: 5, 1: 3, 0.25: 2, 1.5: 2}, ornaments=0.2, chromatic=0.15, force=90),
        drift=0.025,
        slows=True,
        walks=0.15,
        drums_level=-9,
        parts=(
            Part("bass", bass("R---5---R---5---", "R-----R-R---A---", "R--RR---R---A---", gate=0.7), (32, 43), -2),
            Part(
                "comp",
                Plays("chords", ("8...7...8...7...", "8.....8.8...7...", "8..88...8...7..."), 55, 77, 4, gate=0.45),
                (0, 1),
                -3,
                -0.3,
            ),
            Part(
                "comp 2",
                Plays("chords", ("8...8...8...8...", "8.....8.8......."), 57, 81, 4, gate=0.5),
                (23, 21),
                -5,
                0.4,
                0.5,
            ),
            Part("pad", Plays("pad", (), 55, 79, 4), (48, 49), -10, 0.1, 0.7),
            Part("lead", Plays("lead"), (40, 23, 21, 41), -1, 0.2, 0.35),
            Part("second", Plays("second"), (42, 41, 40), -7, -0.3, 0.75),
        ),
    ),
    "waltz": Style(
        tempo=(120, 184),
        metre="3/4",
        modes={"major": 4, "minor": 2},
        progressions=(
            "I I V7 V7 V7 V7 I I",
            "I IV V7 I",
            "I vi ii7 V7",
            "i iv V7 i",
            "i i iv iv V7 V7 i i",
            "I I7 IV iv I VI7 ii7,V7 I",
        ),
        groove="waltz",
        kits=(48, 40),
        tune=WALTZ,
        drift=0.03,
        slows=True,
        room=0.2,
        room_seconds=1.5,
        drums_level=-10,
        parts=(
            Part("bass", bass("R---........", "R-------....", "R---....5---", gate=0.8), (43, 32, 58), -4),
            Part("comp", Plays("chords", ("....7-..6-..",), 55, 76, 4, gate=0.6), (48, 45, 0, 21, 24), -6, -0.3),
            Part("comp 2", Plays("arp", ("0-1-2-3-2-1-", "0-2-1-3-1-2-"), 52, 79, 4), (46, 0, 24), -10, 0.4, 0.6),
            Part("pad", Plays("pad", (), 55, 79, 4), (48, 49, 60), -11, 0.0, 0.55),
            Part("lead", Plays("lead"), (40, 71, 73, 21, 0, 68), -1, 0.15, 0.35),
            Part("second", Plays("second"), (41, 42, 71, 60), -7, -0.2, 0.7),
        ),
    ),
    "jig": Style(
        tempo=(104, 126),
        metre="6/8",
        modes={"major": 3, "dorian": 3, "mixolydian": 2},
        progressions=(
            "I I IV V",
            "I IV I V",
            "i bVII i bVII",
            "i i bVII bVII",
            "I bVII I bVII",
            "I V vi,IV V,I",
            "I bVII IV I",
        ),
        groove="jig",
        kits=(0, 8),
        tune=TRIPLE,
        walks=0.1,
        drums_level=-3,
        parts=(
            Part("comp", Plays("strum", ("7.57.5", "7.5756", "75.75."), 50, 74, 5, gate=0.8), (25, 24, 105), -5, -0.4),
            Part("bass", bass("R--5--", "R-----", "R--5-A"), (32, 33), -4, 0.0, 0.4),
            Part("pad", Plays("pad", (), 43, 67, 3), (109, 48, 20), -10, 0.2, 0.55),
            Part("lead", Plays("lead"), (40, 110, 73, 78, 72, 21), -1, 0.2, 0.3),
            Part("second", Plays("second"), (73, 110, 46, 21), -6, -0.2, 0.7),
        ),
    ),
    "country": Style(
        tempo=(92, 152),
        metre="4/4",
        modes={"major": 5},
        progressions=("I I IV I", "I IV I V", "I I V V", "I V IV I", "I I IV IV V V I I", "vi IV I V", "I II7 V I"),
        groove="country",
        kits=(0, 8, 40),
        tune=SONG._replace(scale="major pentatonic", ornaments=0.35),
        walks=0.15,
        parts=(
            Part("bass", bass("R---....5---....", "R---5---R---A---", "R---....5---..A-", gate=0.8), (33, 32), -3),
            Part(
                "comp",
                Plays("strum", ("....7.5.....7.5.", "7...75..6...75..", "7.5.7.5.7.5.7.5."), 48, 72, 5, gate=0.8),
                (25,),
                -6,
                -0.4,
            ),
            Part(
                "comp 2",
                Plays("arp", ("0-2-1-2-0-3-1-2-", "0123012301230123", "02130213021302.3"), 50, 76, 4),
                (105, 25, 27),
                -8,
                0.5,
                0.4,
            ),
            Part("pad", Plays("pad", (), 55, 76, 3), (26, 49, 16), -14, 0.2, 0.65),
            Part("lead", Plays("lead"), (40, 27, 22, 25, 0, 110), -2, 0.15, 0.4),
        ),
    ),
    "folk": Style(
        tempo=(76, 116),
        metre="4/4",
        modes={"major": 3, "dorian": 2, "minor": 2},
        progressions=("I V vi IV", "I IV I V", "i bVII bVI bVII", "i bIII bVII IV", "Iadd9 IVmaj7 vi7 V", "i iv i v"),
        groove="ballad",
        kits=(40, 0),
        tune=SONG._replace(force=76, ornaments=0.15),
        room=0.16,
        slows=True,
        drums_level=-7,
        parts=(
            Part(
                "comp",
                Plays("arp", ("0-2-1-3-0-2-1-3-", "0-1203120-120312", "02132132"), 48, 74, 5),
                (24, 25, 46),
                -3,
                -0.3,
            ),
            Part("bass", bass("R-------5-------", "R-----5-R-----A-"), (32, 35), -5, 0.0, 0.5),
            Part("pad", Plays("pad", (), 52, 76, 3), (48, 49, 20), -12, 0.1, 0.6),
            Part("lead", Plays("lead"), (73, 40, 22, 74, 53, 68, 71), -2, 0.2, 0.35),
            Part("second", Plays("second"), (42, 71, 53, 41), -7, -0.25, 0.7),
        ),
    ),
    "march": Style(
        tempo=(108, 126),
        metre="4/4",
        modes={"major": 5, "minor": 1},
        progressions=("I I V7 V7 V7 V7 I I", "I IV I V7", "I V7 I V7", "I vi ii V7", "i V7 i V7"),
        groove="march",
        kits=(48, 0),
        tune=FANFARE,
        room=0.18,
        room_seconds=1.3,
        walks=0.1,
        drums_level=-3,
        parts=(
            Part("bass", bass("R---5---R---5---", "R---5---R---A---", gate=0.7), (58,), -3),
            Part(
                "comp",
                Plays("chords", ("..7...7...7...7.", "....7.......7..."), 55, 76, 4, gate=0.5),
                (60, 61, 57),
                -6,
                -0.4,
            ),
            Part("lead", Plays("lead"), (56, 71, 61, 72), -1, 0.1, 0.3),
            Part("second", Plays("second"), (57, 60, 71), -5, -0.2, 0.6),
            Part("pad", Plays("chords", HALVES, 52, 72, 3), (57, 70, 61), -8, 0.4, 0.7),
        ),
    ),
    "film": Style(
        tempo=(72, 124),
        metre="4/4",
        modes={"minor": 4, "dorian": 1, "major": 2},
        progressions=(
            "i bVI bIII bVII",
            "i i bVI bVI",
            "i iv bVI V",
            "i bIII bVI iv",
            "I bVI IV I",
            "I iii IV iv",
            "i v bVI iv",
        ),
        groove="film",
        kits=(48,),
        tune=LONG._replace(beats={1: 4, 2: 4, 0.5: 2, 3: 2}, leaps=0.3, force=86),
        drift=0.02,
        room=0.32,
        room_seconds=2.4,
        slows=True,
        drums_level=-4,
        parts=(
            Part("pad", Plays("pad", (), 48, 79, 5, is_open=True), (48, 49), -4, 0.1),
            Part(
                "arp",
                Plays("chords", ("7.5.6.5.7.5.6.5.", "7.557.557.5.7.5.", "7555655575556555"), 52, 74, 3, gate=0.5),
                (48, 45, 44),
                -7,
                -0.4,
                0.5,
            ),
            Part("bass", bass("R---------------", "R-------R---R-R-", "R.RRR.R.R.RRR.R."), (43, 42), -4, 0.4, 0.35),
            Part("timpani", bass("R-------........", "R-......R-..R-R-", low=36, high=53), (47,), -6, 0.2, 0.65),
            Part(
                "brass",
                Plays("chords", ("8-------........", "8-----7-8-------", "8---------------"), 50, 74, 4),
                (61, 60, 57),
                -5,
                0.3,
                0.8,
            ),
            Part("comp", Plays("arp", RISING, 55, 84, 4), (46, 0, 8, 11), -9, -0.2, 0.2),
            Part("lead", Plays("lead"), (60, 40, 68, 56, 73, 48, 42), -2, -0.1, 0.42),
            Part("second", Plays("second"), (42, 60, 52), -7, 0.3, 0.75),
        ),
    ),
    "chamber": Style(
        tempo=(84, 132),
        metre="4/4",
        modes={"major": 4, "minor": 3},
        progressions=(
            "I V I V7",
            "I vi ii V",
            "I IV V7 I",
            "i iv V7 i",
            "i bVI iiø V7",
            "I,V vi,iii IV,I ii,V",
            "i,V7 i,bVI iv,i iiø,V7",
        ),
        groove="",
        kits=(),
        tune=Tune(
            {0.5: 5, 1: 5, 1.5: 2, 2: 2, 0.25: 2}, rests=0.12, syncopation=0.1, leaps=0.2, ornaments=0.12, force=82
        ),
        drift=0.03,
        jitter=0.01,
        room=0.28,
        room_seconds=1.7,
        slows=True,
        parts=(
            Part(
                "bass",
                bass("R---3---5---A---", "R---R---R---R---", "R-------5---A---", low=36, high=57),
                (42, 70),
                -3,
                0.5,
            ),
            Part(
                "comp",
                Plays("arp", ("0212021202120212", "0-2-1-2-0-2-1-2-", "0-1-2-1-3-1-2-1-"), 48, 72, 4),
                (6, 0, 46, 45),
                -7,
                -0.1,
            ),
            Part(
                "comp 2",
                Plays("chords", ("7-6-7-6-7-6-7-6-", "....7-6-....7-6-", "7-------6-------"), 52, 72, 2),
                (41, 71, 60),
                -7,
                0.2,
                0.5,
            ),
            Part("lead", Plays("lead"), (40, 73, 68, 71), -1, -0.4, 0.2),
            Part("second", Plays("second"), (40, 71, 41), -5, -0.15, 0.55),
        ),
    ),
    "hymn": Style(
        tempo=(66, 96),
        metre="4/4",
        modes={"major": 4, "minor": 2, "dorian": 1},
        progressions=(
            "I,V vi,IV I,V I",
            "I,IV I,V vi,ii V",
            "I,vi IV,ii V7 I",
            "i,iv V7,i bVI,iv V",
            "i,bVII bIII,bVI iv,V7 i",
            "I,iii IV,I ii,V I",
        ),
        groove="",
        kits=(),
        tune=HYMN,
        drift=0.02,
        jitter=0.014,
        room=0.4,
        room_seconds=3.0,
        slows=True,
        walks=0.1,
        parts=(
            Part(
                "bass",
                bass("R-------R-------", "R---R---R---R---", "R-------8-------", low=36, high=55),
                (52, 19, 42),
                -4,
                0.4,
            ),
            Part(
                "comp",
                Plays("chords", ("7---6---7---6---", "7-------7-------"), 50, 72, 3, gate=1.0),
                (52, 53, 19),
                -4,
                -0.2,
            ),
            Part("organ", Plays("pad", (), 43, 76, 5), (19, 20), -9, 0.0, 0.6),
            Part("lead", Plays("lead"), (52, 53, 19, 73), -1, -0.3),
            Part("second", Plays("second"), (52, 53), -4, 0.3, 0.4),
        ),
    ),
    "ambient": Style(
        tempo=(52, 76),
        metre="4/4",
        modes={"lydian": 2, "dorian": 2, "major": 2},
        progressions=(
            "Imaj9 Imaj9 IVmaj7 IVmaj7",
            "Iadd9 vi7 IVmaj7 IVmaj7",
            "i9 i9 bVIImaj7 bVIImaj7",
            "Isus2 IVadd9 vi7 Vsus4",
            "i9 IVadd9 i9 v7",
        ),
        groove="",
        kits=(),
        tune=LONG,
        room=0.5,
        room_seconds=4.0,
        slows=True,
        walks=0.0,
        jitter=0.02,
        parts=(
            Part("pad", Plays("pad", (), 48, 79, 5, is_open=True), (89, 91, 94, 95, 92, 88), -2, 0.0),
            Part("pad 2", Plays("pad", (), 52, 84, 4), (97, 99, 101, 52, 50, 48), -8, 0.4, 0.5),
            Part("bass", Plays("pedal", (), 28, 47), (39, 89, 43, 38), -6, 0.0, 0.35),
            Part(
                "arp",
                Plays("arp", ("0---2---3---1---", "0-....3-..2-....", "0..1..2..3..4..."), 60, 88, 5),
                (11, 8, 46, 4, 10, 98, 0),
                -8,
                -0.4,
                0.4,
            ),
            Part("lead", Plays("lead"), (75, 77, 73, 79, 0, 11, 42, 99), -5, 0.2, 0.5),
        ),
    ),
    "chiptune": Style(
        tempo=(120, 168),
        metre="4/4",
        modes={"minor": 3, "major": 3, "dorian": 1},
        progressions=(
            "i bVI bVII i",
            "i bVII bVI V",
            "I V vi IV",
            "I bVI bVII I",
            "vi IV V I",
            "i iv bVII bIII",
            "I iii IV V",
        ),
        groove="electro",
        kits=(24, 25),
        tune=RUNS._replace(beats={0.25: 3, 0.5: 6, 0.75: 2, 1: 2}, span=22),
        room=0.0,
        drive=1.5,
        drums_level=-4,
        parts=(
            Part(
                "bass",
                bass("R.R.8.8.R.R.8.8.", "R..R..8.R..R..A.", "R.8.R.8.R.8.5.A.", gate=0.8, low=33, high=55),
                (80, 87, 38, 81),
                -3,
            ),
            Part(
                "arp",
                Plays(
                    "arp",
                    ("01230123012301230123012301230123", "0120120120120120", "0123210012321001", "0-2-1-2-0-2-1-2-"),
                    60,
                    86,
                    3,
                    gate=0.9,
                ),
                (80, 81),
                -7,
                0.3,
                0.3,
            ),
            Part(
                "comp",
                Plays("chords", ("..7...7...7...7.", "7..7..7.7..7..7."), 57, 77, 3, gate=0.5),
                (80, 81),
                -11,
                -0.3,
                0.6,
            ),
            Part("lead", Plays("lead"), (80, 81), -1, 0.0, 0.35),
            Part("second", Plays("second"), (80, 81), -7, -0.4, 0.65),
        ),
        **ELECTRONIC,
    ),
    "synthwave": Style(
        tempo=(84, 118),
        metre="4/4",
        modes={"minor": 4, "major": 1},
        progressions=("i bVI bIII bVII", "i bVII bVI bVII", "bVI bVII i i", "i iv bVI V", "vi IV I V", "I V vi IV"),
        groove="electro",
        kits=(24, 16),
        tune=SONG._replace(syncopation=0.5),
        drive=2.0,
        room=0.22,
        room_seconds=1.8,
        parts=(
            Part(
                "bass",
                bass("R.R.R.R.R.R.R.R.", "RR8RRR8RRR8RRR8R", "R.RR.R8.R.RR.R8.", gate=0.7, low=28, high=50),
                SYNTH_BASS,
                -2,
            ),
            Part("arp", Plays("arp", (*SIXTEENTHS, *RISING), 60, 84, 4, gate=0.7), (81, 80, 90, 5), -8, 0.4, 0.4),
            Part(
                "comp",
                Plays("chords", ("8-----8-....8---", "8---8---8---8---", "..8-..8-..8-..8-"), 55, 79, 4),
                (62, 63, 90, 5),
                -8,
                -0.3,
                0.5,
            ),
            Part("pad", Plays("pad", (), 52, 79, 4, is_open=True), (*WARM, 50, 51), -8, 0.0, 0.2),
            Part("lead", Plays("lead"), (81, 80, 84, 65, 29), -3, 0.05, 0.5),
        ),
        **ELECTRONIC,
    ),
    "soul": Style(
        tempo=(76, 112),
        metre="4/4",
        modes={"major": 4, "dorian": 2},
        progressions=(
            "Imaj7 vi7 ii7 V7",
            "I IV I IV",
            "Imaj7 iii7 IVmaj7 V7",
            "i9 IV9 i9 IV9",
            "I vi7 IV V",
            "IVmaj7 V7 iii7 vi7",
        ),
        groove="ballad",
        kits=(0, 8),
        tune=SONG._replace(scale="major pentatonic", ornaments=0.25, syncopation=0.5),
        swing=(0.5, 0.58),
        swung=0.5,
        parts=(
            Part(
                "comp",
                Plays("chords", ("7---..6-..6---5-", "7--6----7--6----", "..7-..7-..7-..7-"), 53, 76, 4, rootless=True),
                (4, 5, 0, 16),
                -4,
                -0.25,
            ),
            Part("bass", bass("R--.R-5-R-..8.A.", "R-----R-5-3-R-A-", "R..R..5.8-..5-A-"), (33, 35), -2, 0.0, 0.3),
            Part(
                "comp 2",
                Plays("strum", ("....7.......7...", "..5.7..5..5.7..5"), 57, 79, 4, gate=0.4),
                (27, 26),
                -8,
                0.5,
                0.4,
            ),
            Part("pad", Plays("pad", (), 55, 79, 4), (48, 49, 16), -11, 0.1, 0.6),
            Part(
                "hits",
                Plays(
                    "chords",
                    (
                        "................,............7.8-",
                        "................,................,................,8-..8-..8-8-....",
                    ),
                    58,
                    82,
                    3,
                ),
                (61,),
                -6,
                0.25,
                0.7,
            ),
            Part("lead", Plays("lead"), (52, 66, 65, 53, 26, 22), -2, 0.05, 0.42),
        ),
    ),
}
"""Every style by its name."""


def fits(progression: str, mode: str) -> bool:
    """Whether a progression belongs to a mode: minor ones have a minor tonic, or circle around one that is."""
    degrees = [word.lstrip("b#").rstrip("0123456789adgjmsubø°+") for word in progression.replace(",", " ").split()]
    is_minor = "i" in degrees or ("I" not in degrees and "bVI" in progression)
    return is_minor == (mode in ("minor", "dorian", "phrygian"))
