"""A piece for a band, arranged by rule: a seed and a style become players with notes, and the truth about them.

Sections of a song share material: when A comes again its chords, its bass and its tune are those of the first A, while
instrumentation, loudness and fills differ. Nothing here touches a disk; the same seed gives the same piece.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from data_prep.band_grooves import FILLS, GROOVES, read_bars
from data_prep.band_harmony import NAMES, Chord, Span, chord_at, draw, read_degree, spread_over_bars, walk_chords
from data_prep.band_players import Phrase, Written, hold, play, write_melody, write_second
from data_prep.band_styles import METRES, STYLES, Part, Style, fits
from data_prep.instruments import DRUM_KEYS, keys_of
from data_prep.performance import Note, PedalMove, Performance, end_before_next_strike, smooth_noise

DRUM_CHANNEL = 9
DRUM_BANK = 128
LEAD_IN_SECONDS = (0.05, 0.6)
"""Silence before the first beat."""
TOMS = {"high", "mid", "low", "floor"}
LONG_DRUMS = {"crash", "crash2", "china", "splash", "ride", "open", "triangle"}


class Section(NamedTuple):
    """A part of the song."""

    name: str
    """intro, A, B, C or outro."""
    material: str
    """Letter of what is played."""
    first_bar: int
    bars: int
    intensity: float
    """0 to 1."""
    transpose: int
    """Semitones against the key of the piece."""
    roles: tuple[str, ...]
    """Who plays, drums among them."""


class Player(NamedTuple):
    """A part of the band with all it plays."""

    role: str
    channel: int
    """Of MIDI, 0 to 15; drums have 9, and nobody else has."""
    bank: int
    program: int
    pan: float
    """-1 is left, 1 is right."""
    level: float
    """Decibels of what sounds of it, before the sum."""
    performance: Performance


class Piece(NamedTuple):
    """Notes of every player, and what is true about them."""

    style: str
    tempo: float
    """Beats in a minute, the median."""
    metre: str
    tonic: int
    mode: str
    swing: float
    beats: list[float]
    """Seconds of every beat."""
    beats_per_bar: int
    chords: list[list[str]]
    """Names of the chords of every bar."""
    sections: list[Section]
    players: list[Player]
    room: float
    room_seconds: float
    drive: float

    @property
    def key(self) -> str:
        """`A minor`, `F# dorian`."""
        return f"{NAMES[self.tonic]} {self.mode}"

    @property
    def bars(self) -> list[float]:
        """Seconds of the first beat of every bar."""
        return self.beats[:: self.beats_per_bar]

    @property
    def end(self) -> float:
        """Seconds at which the last note ends."""
        return max(note.end for player in self.players for note in player.performance.notes)

    def truth(self) -> dict[str, Any]:
        """Everything but the notes, for a JSON file."""
        return {
            "style": self.style,
            "tempo_bpm": round(self.tempo, 3),
            "metre": self.metre,
            "beats_per_bar": self.beats_per_bar,
            "swing": round(self.swing, 3),
            "key": self.key,
            "beats": [round(beat, 4) for beat in self.beats],
            "bars": [round(bar, 4) for bar in self.bars],
            "chords": self.chords,
            "sections": [
                {
                    "name": section.name,
                    "material": section.material,
                    "first_bar": section.first_bar,
                    "bars": section.bars,
                    "transpose": section.transpose,
                    "plays": list(section.roles),
                }
                for section in self.sections
            ],
            "players": [
                {
                    "role": player.role,
                    "channel": player.channel,
                    "bank": player.bank,
                    "program": player.program,
                    "notes": len(player.performance.notes),
                }
                for player in self.players
            ],
        }


class Material(NamedTuple):
    """What belongs to a letter: played the same whenever it comes."""

    chords: list[Span]
    notes: dict[str, list[Written]]
    """By role."""
    groove: int
    """Which of the main grooves."""


def arrange(name: str, seed: int, *, seconds: float) -> Piece:
    """Arrange a piece.

    Parameters
    ----------
    name : str
        A key of STYLES.
    seed : int
        Not negative.
    seconds : float
        About how long; whole bars are played, so that a piece is some seconds shorter or longer.

    Returns
    -------
    Piece
    """
    style = STYLES[name]
    random = np.random.default_rng(seed)
    tempo = float(random.uniform(*style.tempo))
    mode = draw(style.modes, random)
    tonic = int(random.integers(12))
    swing = float(random.uniform(*style.swing))
    beats = METRES[style.metre]
    bars = max(3, round((seconds - 1.0) * tempo / 60.0 / beats))
    cast = {part.role: int(random.choice(part.programs)) for part in style.parts}
    sides = float(random.choice([-1.0, 1.0]))
    phrase = shorter_phrase(style.phrase, bars)
    sections = draw_form(style, bars, phrase, random)
    letters = sorted({section.material for section in sections})
    streams = dict(zip(letters, random.spawn(len(letters)), strict=True))
    material: dict[str, Material] = {}
    for letter in letters:
        first = material.get("A")
        material[letter] = compose(style, cast, mode, tonic, phrase, streams[letter], first)
    times = beat_times(style, tempo, bars * beats, random)
    at = Clock(times, swing, style.swung)
    players = [
        perform_part(style, part, channel, cast[part.role], sides, sections, material, tonic, mode, beats, at, stream)
        for channel, part, stream in zip(
            (channel for channel in range(16) if channel != DRUM_CHANNEL),
            style.parts,
            random.spawn(len(style.parts)),
            strict=False,
        )
    ]
    if style.groove:
        players.append(perform_drums(style, sections, material, beats, at, random))
    return Piece(
        style=name,
        tempo=60.0 / float(np.median(np.diff(times))),
        metre=style.metre,
        tonic=tonic,
        mode=mode,
        swing=swing,
        beats=times[:-1].tolist(),
        beats_per_bar=beats,
        chords=name_chords(sections, material, tonic, mode, beats),
        sections=sections,
        players=[player for player in players if player.performance.notes],
        room=style.room * float(random.uniform(0.6, 1.5)),
        room_seconds=style.room_seconds * float(random.uniform(0.7, 1.4)),
        drive=1.0 + (style.drive - 1.0) * float(random.uniform(0.5, 1.2)),
    )


def shorter_phrase(phrase: int, bars: int) -> int:
    """Bars of a phrase, halved until at least three of them fit into the piece; 2 is the least."""
    while phrase > 2 and bars < 3 * phrase + 3:
        phrase = max(2, phrase // 2 - phrase // 2 % 2)
    return phrase


def draw_form(style: Style, bars: int, phrase: int, random: np.random.Generator) -> list[Section]:
    """Cut a number of bars into sections, and say who plays in each; the last bar is a chord that is held."""
    half = max(1, phrase // 2)
    intro = int(random.choice([0, half, half, phrase])) if bars >= 4 * phrase else 0
    closing = half if bars >= 5 * phrase else 1
    body = bars - intro - closing
    order = str(random.choice(["AABA", "ABAB", "AABACA", "ABACAB", "AABBCA"]))
    rows: list[tuple[str, str, int]] = [("intro", "A", intro)] if intro else []
    count = max(1, body // phrase)
    for place in range(count):
        letter = order[place % len(order)]
        rows.append((letter, letter, min(phrase, body)))
    outro = bars - sum(row[2] for row in rows)
    rows.append(("outro", "A", outro))
    lift = int(random.choice([1, 2])) if random.random() < 0.1 and count >= 5 else 0
    thresholds = {part.role: part.enters + float(random.uniform(-0.08, 0.08)) for part in style.parts}
    harmony = [
        part.role for part in style.parts if part.plays.kind in ("chords", "strum", "arp", "pad", "power", "montuno")
    ]
    seen: dict[str, int] = {}
    sections: list[Section] = []
    first = 0
    for place, (name, letter, length) in enumerate(rows):
        again = seen.get(name, 0)
        seen[name] = again + 1
        base = {"intro": 0.36, "A": 0.55, "B": 0.8, "C": float(random.choice([0.38, 0.7])), "outro": 0.5}[name]
        intensity = float(np.clip(base + 0.09 * again + random.uniform(-0.06, 0.06), 0.2, 1.0))
        if name == "outro" and random.random() < 0.4:
            intensity = 0.85
        roles = [role for role, least in thresholds.items() if least <= intensity]
        if name == "intro" and random.random() < 0.8:
            roles = [role for role in roles if role not in ("lead", "second")]
        if "lead" not in roles:
            roles = [role for role in roles if role != "second"]
        if not any(role in harmony for role in roles):
            roles.append(min(harmony, key=lambda role: thresholds[role]))
        is_bare = name == "C" and intensity < 0.45 and random.random() < 0.5
        if style.groove and not is_bare and not (name == "intro" and random.random() < 0.35):
            roles.append("drums")
        is_late = lift and place >= len(rows) - 1 - max(1, count // 3)
        sections.append(Section(name, letter, first, length, intensity, lift if is_late else 0, tuple(roles)))
        first += length
    return sections


def compose(
    style: Style,
    cast: dict[str, int],
    mode: str,
    tonic: int,
    bars: int,
    random: np.random.Generator,
    first: Material | None,
) -> Material:
    """Chords of a phrase and what every player makes of them.

    Parameters
    ----------
    style : Style
    cast : dict of str -> int
        Program by role.
    mode, tonic
        The key.
    bars : int
    random : numpy.random.Generator
    first : Material, optional
        That of A; others may borrow its chords.
    """
    beats = METRES[style.metre]
    if first is not None and random.random() < (0.85 if style.phrase == 12 else 0.25):
        chords = first.chords
    else:
        fitting = [text for text in style.progressions if fits(text, mode)]
        if random.random() < style.walks or not fitting:
            degrees = walk_chords(mode, min(4, bars), random)
        else:
            degrees = str(random.choice(fitting)).split()
        degrees = [degrees[bar % len(degrees)] for bar in range(bars)]
        if bars >= 8 and style.walks and random.random() < 0.4:
            degrees[-1] = {"major": "V7", "minor": "V7", "mixolydian": "bVII"}.get(mode, degrees[-1])
        chords = spread_over_bars(degrees, bars, beats, tonic)
    phrase = Phrase(chords, bars, beats, tonic, mode)
    notes: dict[str, list[Written]] = {}
    for part in style.parts:
        low, high = keys_of(cast[part.role])
        if part.plays.kind == "lead":
            bottom = max(low, min(60, high - style.tune.span)) + int(random.integers(0, 4))
            written = write_melody(style.tune, phrase, random, low=bottom, high=min(high, bottom + 24))
        elif part.plays.kind == "second":
            written = write_second(notes["lead"], chords, low=low, high=high)
        else:
            line = str(random.choice(part.plays.lines)) if part.plays.lines else ""
            written = play(part.plays, line, phrase, random)
        notes[part.role] = written
    mains = len(GROOVES[style.groove].main) if style.groove else 1
    return Material(chords, notes, int(random.integers(mains)))


def fit_keys(notes: list[Written], program: int) -> list[Written]:
    """Move notes by octaves into what an instrument can play: all of them together, then those that are still out."""
    if not notes:
        return []
    low, high = keys_of(program)
    keys = np.array([note.key for note in notes])
    shift = min(
        (12 * octave for octave in range(-4, 5)),
        key=lambda by: (int(((keys + by < low) | (keys + by > high)).sum()), abs(by)),
    )
    fitted = {}
    for note in notes:
        key = note.key + shift
        key += 12 * math.ceil(max(low - key, 0) / 12)
        key -= 12 * math.ceil(max(key - high, 0) / 12)
        fitted.setdefault((round(note.start, 4), key, note.delay > 0.05), note._replace(key=key))
    return list(fitted.values())


def beat_times(style: Style, tempo: float, beats: int, random: np.random.Generator) -> np.ndarray:
    """Seconds of every beat and of the end: a tempo that wanders a little, and slows at the end where a style does.

    Returns
    -------
    ndarray [shape=(beats + 1,)]
    """
    lengths = np.full(beats, 60.0 / tempo)
    if style.drift:
        lengths *= np.exp(style.drift * np.clip(smooth_noise(beats, random, width=33), -2, 2) / 2)
    if style.slows:
        last = min(2 * METRES[style.metre], beats // 4)
        if last:
            lengths[-last:] *= 1.0 + 0.3 * np.linspace(0.0, 1.0, last) ** 2
    begin = float(random.uniform(*LEAD_IN_SECONDS))
    return begin + np.concatenate([[0.0], np.cumsum(lengths)])


class Clock:
    """Seconds of a place in the piece, swung."""

    def __init__(self, times: np.ndarray, swing: float, swung: float) -> None:
        self.times = times
        self.swing = swing
        self.swung = swung

    def __call__(self, beat: float) -> float:
        """Seconds of a beat; thirds of a beat stay where they are."""
        whole = math.floor(beat / self.swung + 1e-6)
        place = beat / self.swung - whole
        if self.swing != 0.5 and abs(place * 4 - round(place * 4)) < 0.02:
            bent = place * 2 * self.swing if place <= 0.5 else self.swing + (place - 0.5) * 2 * (1 - self.swing)
            beat = (whole + bent) * self.swung
        return float(np.interp(beat, np.arange(self.times.size), self.times))


def perform_part(
    style: Style,
    part: Part,
    channel: int,
    program: int,
    sides: float,
    sections: list[Section],
    material: dict[str, Material],
    tonic: int,
    mode: str,
    beats: int,
    at: Clock,
    random: np.random.Generator,
) -> Player:
    """Everything that one player plays, at the time at which a person would."""
    push = float(random.normal(0.0, 0.6 * style.jitter))
    written: list[tuple[Written, float]] = []
    for number, section in enumerate(sections):
        if part.role not in section.roles:
            continue
        is_last = number == len(sections) - 1
        begin = section.first_bar * beats
        length = (section.bars - is_last) * beats
        enters = 0.0
        if section.name == "intro" and section.bars >= 4:
            enters = beats * 2.0 * int(random.integers(0, section.bars // 2))
            enters = enters if part.role != section.roles[0] else 0.0
        source = material[section.material]
        phrase_beats = source.chords[-1].start + source.chords[-1].beats
        placed = []
        for turn in range(math.ceil(length / phrase_beats)):
            for note in source.notes[part.role]:
                start = note.start + turn * phrase_beats
                if enters <= start < length:
                    held = min(note.beats, length - start)
                    placed.append(note._replace(start=begin + start, beats=held, key=note.key + section.transpose))
        if is_last:
            key = (tonic + section.transpose) % 12
            chord = final_chord(key, mode)
            low, high = keys_of(program)
            top = max(
                (key + 12 * octave for octave in range(11) if low <= key + 12 * octave <= min(high, 80)), default=None
            )
            end = hold(part.plays, chord, beats * 0.95, top)
            placed += [note._replace(start=begin + length + note.start) for note in end]
        written += [(note, section.intensity) for note in fit_keys(placed, program)]
    notes = humanise(written, at, style, push, random)
    pan = float(np.clip(sides * part.pan + random.uniform(-0.1, 0.1), -1.0, 1.0))
    level = part.level + float(random.normal(0.0, 1.2))
    pedal = draw_pedal(style, part, program, sections, material, beats, at)
    return Player(part.role, channel, 0, program, pan, level, Performance(notes, pedal if notes else []))


def final_chord(key: int, mode: str) -> Chord:
    """The tonic of a mode."""
    return read_degree("i" if mode in ("minor", "dorian", "phrygian") else "I", key)


def humanise(
    written: list[tuple[Written, float]], at: Clock, style: Style, push: float, random: np.random.Generator
) -> list[Note]:
    """Written notes as somebody plays them: a little early or late, louder in loud sections, never quite evenly."""
    if not written:
        return []
    count = len(written)
    jitter = np.clip(random.normal(0.0, style.jitter, count), -2.5 * style.jitter, 2.5 * style.jitter)
    uneven = random.normal(0.0, 1.5 if style.jitter < 0.003 else 4.0, count)
    # The fingers of a chord come together: one jitter for all notes written at a time.
    shared: dict[float, float] = {}
    starts, ends, keys, forces = (np.zeros(count) for _ in range(4))
    for number, (note, intensity) in enumerate(written):
        late = shared.setdefault(round(note.start, 4), float(jitter[number])) + 0.3 * float(jitter[number])
        starts[number] = max(at(note.start) + note.delay + push + late, 0.0)
        ends[number] = at(note.start + note.beats) + push
        keys[number] = note.key
        forces[number] = note.force * (0.78 + 0.3 * intensity) + uneven[number]
    ends = np.maximum(ends, starts + 0.04)
    ends = end_before_next_strike(starts, ends, keys)
    return sorted(
        Note(float(start), float(end), int(key), int(np.clip(round(force), 8, 127)))
        for start, end, key, force in zip(starts, ends, keys, forces, strict=True)
    )


def draw_pedal(
    style: Style,
    part: Part,
    program: int,
    sections: list[Section],
    material: dict[str, Material],
    beats: int,
    at: Clock,
) -> list[PedalMove]:
    """A sustain pedal changed with the chords, for pianos, harps and bells of styles that ring."""
    is_ringing = program in (0, 1, 2, 4, 5, 8, 11, 46) and part.plays.gate >= 0.9 and style.room >= 0.15
    if not is_ringing or part.plays.kind not in ("chords", "arp"):
        return []
    moves = []
    for section in sections:
        if part.role not in section.roles:
            continue
        source = material[section.material]
        for bar in range(section.bars):
            for span in source.chords:
                start = span.start % (len(source.chords) and (source.chords[-1].start + source.chords[-1].beats))
                if bar * beats <= start < (bar + 1) * beats:
                    now = at(section.first_bar * beats + start)
                    moves += [PedalMove(max(now - 0.03, 0.0), 0), PedalMove(now + 0.07, 110)]
    return sorted(moves) + (
        [PedalMove(at(beats * sum(section.bars for section in sections)) + 1.0, 0)] if moves else []
    )


def perform_drums(
    style: Style,
    sections: list[Section],
    material: dict[str, Material],
    beats: int,
    at: Clock,
    random: np.random.Generator,
) -> Player:
    """Grooves by section, ghost notes that come and go, fills before sections, a cymbal on their first beat."""
    groove = GROOVES[style.groove]
    strokes: list[tuple[Written, float]] = []
    lights = int(random.integers(len(groove.light)))
    highs = int(random.integers(len(groove.high)))
    favourites = [str(random.choice(groove.fills)) for _ in range(2)]
    is_loud = style.drums_level > -3.5
    for number, section in enumerate(sections):
        if "drums" not in section.roles:
            continue
        is_last = number == len(sections) - 1
        begin = float(section.first_bar * beats)
        end = begin + (section.bars - is_last) * beats
        if section.intensity < 0.45:
            text = groove.light[lights]
        elif section.intensity < 0.74:
            text = groove.main[material[section.material].groove]
        else:
            text = groove.high[highs]
        lines = read_bars(text)
        filled: list[tuple[float, float, str]] = []
        if section.bars >= 2 and not is_last and random.random() < 0.85:
            name = str(random.choice([*favourites, *groove.fills]))
            length = min(FILLS[name][0], float(beats))
            filled.append((end - length, end, name))
        if section.bars >= 8 and section.intensity >= 0.45 and random.random() < 0.35:
            short = [name for name in groove.fills if FILLS[name][0] <= 1.0]
            if short:
                middle = begin + section.bars // 2 * beats
                filled.append((middle - 1.0, middle, str(random.choice(short))))
        for bar in range(section.bars - is_last):
            for drum, bars in lines.items():
                signs = bars[bar % len(bars)]
                for place, sign in enumerate(signs):
                    start = begin + (bar + place / len(signs)) * beats
                    is_filled = any(left - 1e-6 <= start < right for left, right, _ in filled)
                    if sign != "." and not is_filled and (sign > "3" or random.random() < 0.7):
                        strokes.append(
                            (Written(start, 0.2, DRUM_KEYS[drum], 12.0 * int(sign) + 8.0), section.intensity)
                        )
        for left, right, name in filled:
            length, text = FILLS[name]
            for drum, bars in read_bars(text).items():
                for place, sign in enumerate(bars[0]):
                    start = right - length + place * length / len(bars[0])
                    if sign != "." and start >= left - 1e-6:
                        force = (9.5 if drum in TOMS else 12.0) * int(sign) + 8.0
                        strokes.append((Written(start, 0.2, DRUM_KEYS[drum], force), section.intensity))
        if is_loud and section.intensity >= 0.5 and number:
            strokes.append((Written(begin, 2.0, DRUM_KEYS["crash"], 100.0), section.intensity))
        if is_last:
            strokes += [
                (Written(end, 2.0, DRUM_KEYS[drum], 100.0 if is_loud else 60.0), section.intensity)
                for drum in ("kick", "crash")
            ]
    # A groove and a beginning may both ask for the same cymbal; the harder stroke is played.
    struck: dict[tuple[float, int], tuple[Written, float]] = {}
    for stroke in sorted(strokes, key=lambda stroke: stroke[0].force):
        struck[round(stroke[0].start, 3), stroke[0].key] = stroke
    strokes = sorted(struck.values())
    notes = humanise(strokes, at, style, float(random.normal(0.0, 0.3 * style.jitter)), random)
    long = {DRUM_KEYS[drum] for drum in LONG_DRUMS}
    starts = np.array([note.start for note in notes])
    keys = np.array([note.key for note in notes])
    ends = starts + np.where(np.isin(keys, list(long)), 1.5, 0.3)
    if notes:
        ends = end_before_next_strike(starts, ends, keys)
    notes = [note._replace(end=float(end)) for note, end in zip(notes, ends, strict=True)]
    kit = int(random.choice(style.kits))
    level = style.drums_level + float(random.normal(0.0, 1.2))
    return Player("drums", DRUM_CHANNEL, DRUM_BANK, kit, 0.0, level, Performance(notes, []))


def name_chords(
    sections: list[Section], material: dict[str, Material], tonic: int, mode: str, beats: int
) -> list[list[str]]:
    """Names of the chords of every bar, in order."""
    names: list[list[str]] = []
    for number, section in enumerate(sections):
        is_last = number == len(sections) - 1
        chords = material[section.material].chords
        length = chords[-1].start + chords[-1].beats
        for bar in range(section.bars - is_last):
            start = (bar * beats) % length
            spans = [span for span in chords if start <= span.start < start + beats] or [chord_at(chords, start)]
            names.append([span.chord.moved(section.transpose).name for span in spans])
        if is_last:
            names.append([final_chord((tonic + section.transpose) % 12, mode).name])
    return names
