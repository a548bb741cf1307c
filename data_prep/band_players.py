"""How each player of the band turns the chords of a phrase into notes: bass, chords, arpeggios, melodies.

Pure functions; times are beats from the beginning of the phrase, and every random choice comes from the generator that
is handed in.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from data_prep.band_harmony import (
    QUALITIES,
    SCALES,
    Chord,
    Span,
    chord_at,
    draw,
    keys_within,
    nearest,
    scale_on,
    voice,
)
from data_prep.band_styles import Plays, Tune

STRUM_SECONDS = 0.011
"""From string to string."""
ROLL_SECONDS = 0.003
"""From finger to finger."""
GRACE_SECONDS = 0.07


class Written(NamedTuple):
    """A note before anybody plays it."""

    start: float
    """Beats."""
    beats: float
    key: int
    """MIDI number."""
    force: float
    """Velocity of MIDI, 1 to 127, before it is shaped."""
    delay: float = 0.0
    """Seconds after `start`, whatever the tempo."""


class Phrase(NamedTuple):
    """What a player sees on the stand."""

    chords: list[Span]
    """In order, without gaps."""
    bars: int
    beats: int
    """Of a bar."""
    tonic: int
    """Pitch class."""
    mode: str
    """A key of SCALES."""

    @property
    def end(self) -> float:
        """Beats of all bars."""
        return float(self.bars * self.beats)


class Stroke(NamedTuple):
    """A sign of a line that is neither a rest nor a dash."""

    start: float
    beats: float
    sign: str


def read_line(line: str, phrase: Phrase) -> list[Stroke]:
    """The strokes of a line, said again until the phrase is full."""
    bars = line.split(",")
    strokes: list[Stroke] = []
    for bar in range(phrase.bars):
        signs = bars[bar % len(bars)]
        step = phrase.beats / len(signs)
        for place, sign in enumerate(signs):
            if sign in ".-":
                continue
            held = len(signs[place + 1 :]) - len(signs[place + 1 :].lstrip("-"))
            strokes.append(Stroke(bar * phrase.beats + place * step, step * (1 + held), sign))
    return strokes


def accent(beat: float) -> float:
    """How much harder a note is struck for its place: on a beat, on its half, elsewhere."""
    place = beat % 1.0
    return 6.0 if place < 1e-6 else 0.0 if abs(place - 0.5) < 1e-6 else -5.0


def play(plays: Plays, line: str, phrase: Phrase, random: np.random.Generator) -> list[Written]:
    """The notes of an accompanying player; `lead` and `second` are written by `write_melody` and `write_second`."""
    match plays.kind:
        case "bass":
            return play_bass(plays, line, phrase, random)
        case "walk":
            return walk_bass(plays, phrase, random)
        case "pedal":
            return [
                Written(span.start, span.beats * plays.gate, lowest(span.chord.root, plays), 84.0)
                for span in joined(phrase.chords)
            ]
        case "chords" | "strum":
            return play_chords(plays, line, phrase)
        case "arp":
            return play_arpeggio(plays, line, phrase)
        case "pad":
            return [
                Written(span.start, span.beats * plays.gate, key, 72.0, 0.004 * place)
                for span, keys in voiced(joined(phrase.chords), plays)
                for place, key in enumerate(keys)
            ]
        case "power":
            return play_power(plays, line, phrase)
        case "montuno":
            return play_montuno(plays, line, phrase)
    raise ValueError(f"nobody plays {plays.kind}")


def joined(chords: list[Span]) -> list[Span]:
    """The same chord said twice in a row becomes one."""
    spans: list[Span] = []
    for span in chords:
        if spans and spans[-1].chord == span.chord:
            spans[-1] = spans[-1]._replace(beats=spans[-1].beats + span.beats)
        else:
            spans.append(span)
    return spans


def voiced(chords: list[Span], plays: Plays) -> list[tuple[Span, list[int]]]:
    """Each chord with its keys, voices led from one to the next."""
    keys: list[int] = []
    found = []
    for span in chords:
        keys = voice(
            span.chord,
            keys,
            low=plays.low,
            high=plays.high,
            voices=plays.voices,
            rootless=plays.rootless,
            is_open=plays.is_open,
        )
        found.append((span, keys))
    return found


def lowest(pitch_class: int, plays: Plays) -> int:
    """The lowest key of a pitch class in the register of a player."""
    return plays.low + (pitch_class - plays.low) % 12


def play_bass(plays: Plays, line: str, phrase: Phrase, random: np.random.Generator) -> list[Written]:
    """A line of roots, chord tones, approaches and anticipations."""
    notes = []
    for start, beats, sign in read_line(line, phrase):
        chord = chord_at(phrase.chords, start).chord
        root = lowest(chord.root, plays)
        steps = QUALITIES[chord.quality]
        following = chord_at(phrase.chords, (start + beats + 1e-3) % phrase.end).chord
        force = 92.0 + accent(start)
        match sign:
            case "r":
                key, force = root, 62.0
            case "8":
                key = root + 12
            case "5":
                fifth = next((step for step in steps if step in (6, 7, 8)), 7)
                key = root + fifth
            case "3":
                key = root + next((step for step in steps if step in (3, 4, 5)), 7)
            case "7":
                key = root + next((step for step in steps if step in (9, 10, 11)), 7)
            case "A":
                target = lowest(following.root, plays)
                key = root + 7 if following.root == chord.root else target + int(random.choice([-1, -1, 1, 2, -2]))
            case "N":
                bar_after = (math.floor(start / phrase.beats) + 1) * phrase.beats
                key = lowest(chord_at(phrase.chords, bar_after % phrase.end).chord.root, plays)
            case _:
                key = root
        while key > plays.high:
            key -= 12
        notes.append(Written(start, beats * plays.gate, max(key, plays.low), force))
    return notes


def walk_bass(plays: Plays, phrase: Phrase, random: np.random.Generator) -> list[Written]:
    """A note a beat: roots where chords change, steps and chord tones between, an approach before the next root."""
    notes: list[Written] = []
    key = lowest(phrase.chords[0].chord.root, plays)
    for beat in range(int(phrase.end)):
        span = chord_at(phrase.chords, beat)
        after = chord_at(phrase.chords, (beat + 1) % phrase.end)
        roots = keys_within({span.chord.root}, plays.low, plays.high)
        tones = keys_within(set(span.chord.classes), plays.low, plays.high)
        if abs(span.start - beat) < 1e-6:
            key = nearest(roots, key)
        elif abs(after.start - (beat + 1) % phrase.end) < 1e-6:
            target = nearest(keys_within({after.chord.root}, plays.low, plays.high), key)
            sides = [-1, 1] if target < plays.high - 1 and target > plays.low else [1]
            key = target + int(random.choice(sides))
        else:
            scale = keys_within(scale_on(span.chord, SCALES[phrase.mode], phrase.tonic), plays.low, plays.high)
            pool = tones if random.random() < 0.6 else scale
            near = [other for other in pool if other != key and abs(other - key) <= 5]
            key = int(random.choice(near)) if near else nearest(tones, key)
        notes.append(Written(float(beat), 0.9, key, 90.0 + (4.0 if beat % 2 else 0.0)))
        if random.random() < 0.08:
            notes.append(Written(beat + 0.5, 0.3, key, 64.0))
    return notes


def play_chords(plays: Plays, line: str, phrase: Phrase) -> list[Written]:
    """Struck or strummed chords; one that is held over a change of chord is struck again there."""
    laid = voiced(phrase.chords, plays)
    notes = []
    for start, beats, sign in read_line(line, phrase):
        for span, keys in laid:
            begin, end = max(start, span.start), min(start + beats, span.start + span.beats)
            if end - begin < 0.12 and end - begin < beats - 1e-6:
                continue
            force = 24.0 + 9.0 * int(sign) + accent(begin) / 2
            delay = ROLL_SECONDS
            if plays.kind == "strum":
                delay = STRUM_SECONDS
                is_up = abs(begin % 0.5 - 0.25) < 0.2 or abs(begin % 1.0 - 0.5) < 1e-6
                keys = keys[::-1][:3] if is_up else keys
            length = (end - begin) * plays.gate
            notes += [Written(begin, length, key, force, place * delay) for place, key in enumerate(keys)]
    return notes


def play_arpeggio(plays: Plays, line: str, phrase: Phrase) -> list[Written]:
    """Voices of the chord one after the other."""
    laid = voiced(phrase.chords, plays)
    spans = [span for span, _ in laid]
    notes = []
    for start, beats, sign in read_line(line, phrase):
        keys = laid[spans.index(chord_at(spans, start))][1]
        octave, place = divmod(int(sign), len(keys))
        key = keys[place] + 12 * octave
        if key <= plays.high + 7:
            notes.append(Written(start, beats * plays.gate, key, 82.0 + accent(start)))
    return notes


def play_power(plays: Plays, line: str, phrase: Phrase) -> list[Written]:
    """Root, fifth and octave of a guitar; soft strokes are muted short."""
    notes = []
    for start, beats, sign in read_line(line, phrase):
        root = 40 + (chord_at(phrase.chords, start).chord.root - 40) % 12
        chord = chord_at(phrase.chords, start).chord
        fifth = next((step for step in QUALITIES[chord.quality] if step in (6, 7, 8)), 7)
        length = beats * (plays.gate if beats > 0.3 or sign == "9" else 0.6)
        steps = (0, fifth, 12) if sign in "89" else (0, fifth)
        notes += [
            Written(start, length, root + step, 24.0 + 9.0 * int(sign) + accent(start) / 2, 0.004 * place)
            for place, step in enumerate(steps)
        ]
    return notes


def play_montuno(plays: Plays, line: str, phrase: Phrase) -> list[Written]:
    """Octaves and inner voices by turns, as a pianist of salsa plays them."""
    laid = voiced(phrase.chords, plays._replace(voices=3, high=plays.high - 7))
    spans = [span for span, _ in laid]
    turns = (2, None, 1, 0, None, 2, 1)
    notes = []
    for number, (start, beats, sign) in enumerate(read_line(line, phrase)):
        keys = laid[spans.index(chord_at(spans, start + 0.25))][1]
        turn = turns[number % len(turns)]
        struck = keys[:2] if turn is None else [keys[min(turn, len(keys) - 1)] - 12, keys[min(turn, len(keys) - 1)]]
        notes += [Written(start, beats * plays.gate, key, 24.0 + 9.0 * int(sign) + accent(start) / 2) for key in struck]
    return notes


class Motif(NamedTuple):
    """A rhythm and a shape of one or two bars."""

    starts: list[float]
    beats: list[float]
    steps: list[int]
    """Steps of the scale from where the motif begins."""


def draw_motif(tune: Tune, beats: float, random: np.random.Generator) -> Motif:
    """A motif within a length in beats: lengths by their weights, steps that turn back after a leap."""
    starts: list[float] = []
    lengths: list[float] = []
    steps: list[int] = []
    smallest = min(tune.beats)
    now = float(random.choice([0.0, 0.0, 0.0, max(smallest, 1 / 3 if smallest < 0.4 and smallest > 0.3 else 0.5)]))
    step, last = 0, 0
    breath = beats - float(random.choice([0.0, 0.5, 1.0])) * min(1.0, beats / 4)
    while now < breath - smallest / 2:
        fitting = {}
        for length, weight in tune.beats.items():
            is_off = now % 1.0 > 1e-3 and abs(now % 1.0 - 1.0) > 1e-3
            crosses = is_off and (now % 1.0) + length > 1.0 + 1e-3
            on_grid = not is_off or abs((now % length) / length % 1.0) < 1e-3 or length >= 0.5
            if now + length <= beats + 1e-6 and on_grid:
                fitting[length] = weight * (tune.syncopation if crosses else 1.0) + 1e-6
        if not fitting:
            break
        length = float(draw(fitting, random))
        if starts:
            if abs(last) > 2:
                move = -int(np.sign(last)) * int(random.choice([1, 1, 2]))
            elif random.random() < tune.leaps:
                move = int(random.choice([-5, -4, -3, 3, 4, 5]))
            else:
                move = int(random.choice([-2, -1, -1, -1, 0, 1, 1, 1, 2]))
            if abs(step + move) > 6:
                move = -move
            step, last = step + move, move
        starts.append(now)
        lengths.append(length)
        steps.append(step)
        now += length
        if random.random() < tune.rests * (0.4 if len(starts) < 3 else 1.0):
            now += smallest if now % 1.0 > 1e-3 else float(random.choice([smallest, 1.0]))
    if not starts:
        return Motif([0.0], [min(beats, 1.0)], [0])
    return Motif(starts, lengths, steps)


PLANS = {
    1: ("a",),
    2: ("ab", "aa"),
    3: ("aab", "aba"),
    4: ("aaba", "abac", "aabc", "abab"),
    6: ("aabaac", "abacad", "aabbac"),
}
"""Orders of motifs, by how many fill a phrase."""


def write_melody(
    tune: Tune, phrase: Phrase, random: np.random.Generator, *, low: int, high: int, force: float | None = None
) -> list[Written]:
    """A melody of motifs that come again: chord tones on the beats, the scale between, an arch over the phrase.

    Parameters
    ----------
    tune : Tune
    phrase : Phrase
    random : numpy.random.Generator
    low, high : int
        Keys that no note leaves; at least a tenth.
    force : float, optional
        Instead of the tune's own.

    Returns
    -------
    list of Written
        One voice, in order.
    """
    size = 2 if phrase.bars >= 4 and phrase.bars % 2 == 0 else 1
    units = phrase.bars // size
    plan = draw({plan: 1 for plan in PLANS.get(units, ("aaba" * units,))}, random)[:units].ljust(units, "a")
    motifs = {letter: draw_motif(tune, size * phrase.beats, random) for letter in sorted(set(plan))}
    high = min(high, low + tune.span)
    scale = SCALES[tune.scale or phrase.mode]
    if tune.scale == "minor pentatonic" and 3 not in SCALES[phrase.mode]:
        scale = SCALES["major pentatonic"]
    elif tune.scale == "major pentatonic" and 4 not in SCALES[phrase.mode]:
        scale = SCALES["minor pentatonic"]
    elif tune.scale == "minor" and phrase.mode == "phrygian":
        scale = SCALES["phrygian"]
    ladder = keys_within({(phrase.tonic + step) % 12 for step in scale}, low, high)
    loud = tune.force if force is None else force
    notes: list[Written] = []
    previous = float(low + high) / 2
    for unit, letter in enumerate(plan):
        motif = motifs[letter]
        begin = float(unit * size * phrase.beats)
        arch = math.sin(math.pi * (unit + 0.5) / units)
        aim = 0.5 * (low + (high - low) * (0.3 + 0.4 * arch)) + 0.5 * previous
        anchor = nearest(keys_within(set(chord_at(phrase.chords, begin).chord.classes), low, high), aim)
        foot = min(range(len(ladder)), key=lambda place: abs(ladder[place] - anchor))
        for number, (start, beats, step) in enumerate(zip(*motif, strict=True)):
            at = begin + start
            chord = chord_at(phrase.chords, at).chord
            place = foot + step
            if not 0 <= place < len(ladder):
                place = min(max(foot - step, 0), len(ladder) - 1)
            key = ladder[place]
            is_last = unit == units - 1 and number == len(motif.starts) - 1
            in_bar = at % phrase.beats
            is_strong = in_bar < 1e-3 or abs(in_bar - phrase.beats / 2) < 1e-3 or beats >= 1.5
            if is_last or is_strong:
                key = nearest(keys_within(set(chord.classes), low, high), 0.75 * key + 0.25 * previous)
            else:
                key = nearest(keys_within(scale_on(chord, scale, phrase.tonic), low, high), key)
            while key - previous > 12 and key - 12 >= low:
                key -= 12
            while previous - key > 12 and key + 12 <= high:
                key += 12
            previous = key
            rise = 6.0 * arch + 0.35 * (key - (low + high) / 2)
            length = beats * (0.97 if beats > 0.3 else 0.85)
            if is_last:
                length = max(length, min(2.0, phrase.end - at) * 0.95)
            notes.append(Written(at, length, key, loud + rise + accent(at)))
    return ornament(tune, notes, random, low, high)


def ornament(tune: Tune, notes: list[Written], random: np.random.Generator, low: int, high: int) -> list[Written]:
    """Half steps into the next note and grace notes before strong ones, as often as the tune has them."""
    played = list(notes)
    for number, (note, after) in enumerate(itertools.pairwise(notes)):
        is_weak = note.start % 1.0 > 1e-3 and note.beats <= 0.5
        touches = after.start - note.start <= note.beats / 0.8
        if is_weak and touches and random.random() < tune.chromatic:
            side = after.key + (1 if note.key > after.key else -1)
            if low <= side <= high:
                played[number] = note._replace(key=side)
    graces = []
    for number, note in enumerate(played):
        if note.beats >= 0.45 and random.random() < tune.ornaments:
            key = note.key - int(random.choice([1, 2]))
            if key >= low:
                graces.append(Written(note.start, 0.08, key, note.force - 12))
                played[number] = note._replace(delay=GRACE_SECONDS)
    return sorted([*played, *graces])


def write_second(lead: list[Written], chords: list[Span], *, low: int, high: int) -> list[Written]:
    """A voice below a melody, a chord tone at least a third under each note that is not too short."""
    notes = []
    for note in lead:
        if note.beats < 0.4:
            continue
        under = keys_within(set(chord_at(chords, note.start).chord.classes), low, min(high, note.key - 3))
        if under:
            notes.append(note._replace(key=under[-1], force=note.force - 8))
    return notes


def hold(plays: Plays, chord: Chord, beats: float, key: int | None = None) -> list[Written]:
    """The last chord, held; a melody holds the key that is given."""
    if plays.kind in ("lead", "second"):
        return [Written(0.0, beats, key, 84.0)] if key is not None else []
    if plays.kind in ("bass", "walk", "pedal"):
        return [Written(0.0, beats, lowest(chord.root, plays), 94.0)]
    if plays.kind == "power":
        root = 40 + (chord.root - 40) % 12
        return [Written(0.0, beats, root + step, 96.0) for step in (0, 7, 12)]
    keys = voice(chord, [], low=plays.low, high=plays.high, voices=plays.voices)
    return [Written(0.0, beats, key, 82.0, ROLL_SECONDS * place) for place, key in enumerate(keys)]
