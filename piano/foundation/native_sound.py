"""The sound in a file as it lies there: decoded at its own rate, block by block.

The decoder is chosen by the first bytes and not by the name: libsndfile for most formats, an ffmpeg program for those
that libsndfile refuses. Sound on both sides of damage is kept, and every recording of a chain.
"""

import contextlib
import itertools
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from piano.foundation import flac_frames, ogg_pages
from piano.foundation.decode_log import (
    CODED,
    CUT_SHORT,
    DAMAGED,
    JOINED,
    LEAST_SECONDS,
    OTHER_TRACKS,
    RATE_CHANGES,
    WRONG_LENGTH,
    DecodeLog,
)
from piano.foundation.errors import AudioError
from piano.foundation.ffmpeg_sound import FFMPEG_HINT, ffmpeg_blocks, find_ffmpeg, format_of
from piano.foundation.mpeg_frames import MpegRun, length_header, scan_mpeg, tags_length
from piano.foundation.screen_text import printable
from piano.foundation.sound_lengths import Layout, Lengths, read_layout, sounds_behind, true_lengths, whole_chunk
from piano.foundation.sound_reader import PIECE, NativeBlock, Reader, Refused, Task, open_sound, sndfile_name
from piano.foundation.sound_source import SourceFile, SourcePart

__all__ = ["FFMPEG_HINT", "NativeBlock", "find_ffmpeg", "native_blocks", "sndfile_name"]

_LOG = logging.getLogger(__name__)
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b".snd", b"riff")
_RUN_SLACK = 4 * 1152  # samples a decoder may rightly drop from a run of frames: encoder delay and padding
_JUNK_BYTES = 1 << 20  # in front of a file, that are looked through
_CUT = re.compile(r": (\d+) \(should be (\d+)\)")
_CODED_SYNC = (
    (b"\xff\x1f\x00\xe8", re.compile(rb"\xff\x1f\x00\xe8[\xf0-\xff]\x07"), "dts"),
    (b"\x1f\xff\xe8\x00", re.compile(rb"\x1f\xff\xe8\x00\x07[\xf0-\xff]"), "dts"),
    (b"\xfe\x7f\x01\x80", re.compile(rb"\xfe\x7f\x01\x80"), "dts"),
    (b"\x7f\xfe\x80\x01", re.compile(rb"\x7f\xfe\x80\x01"), "dts"),
    (b"\x72\xf8\x1f\x4e", re.compile(rb"\x72\xf8\x1f\x4e[\x01-\x1f]", re.DOTALL), "spdif"),
    (b"\x0b\x77", re.compile(rb"\x0b\x77..[\x00-\xbf]", re.DOTALL), "ac3,eac3"),
)
"""How a sync word begins, in words of 16 bits, which is looked for first as that is fast; all of it; the format."""
_CODED_BYTES = 1 << 17
_CODED_FRAMES = 4
_MOST_BOXES = 100_000


def native_blocks(
    path: Path, seconds: float, log: DecodeLog, alive: Callable[[], None] = lambda: None
) -> Iterator[NativeBlock]:
    """Decode a file at its own rate.

    Parameters
    ----------
    path : Path
    seconds : float
        At most so much in one block; less where rate or channels would make it large.
    log : DecodeLog
        Receives a phrase for every irregularity.
    alive : callable
        Called now and then while a file is looked through before its first sound.

    Yields
    ------
    NativeBlock

    Raises
    ------
    AudioError
        If the file cannot be opened or is not sound. One that opens and holds no samples yields nothing.
    PassingError
        If the disk or the network fails; what was decoded until then is not the song.
    """
    task = Task(path, seconds, log, alive)
    with SourceFile(path) as source:
        try:
            if not source.size:
                raise AudioError(f"{printable(path)} is empty.")
            yield from _decode(source, task)
        except (AudioError, OSError):
            source.check()
            raise
        source.check()


def _decode(source: SourceFile, task: Task) -> Iterator[NativeBlock]:
    whole = source.whole()
    part = whole.part(tags_length(whole), whole.size)
    head = part.read_at(0, 4)
    form = format_of(part)
    if head == ogg_pages.MAGIC:
        yield from _ogg_blocks(part, task)
    elif head == flac_frames.MAGIC:
        yield from _or_ffmpeg(_flac_blocks(part, task), part, form, task)
    elif head in _SNDFILE_MAGIC and form != "avi":
        yield from _or_ffmpeg(_wave_blocks(part, task), part, form, task)
    elif form == "mov":
        yield from _mov_blocks(part, task)
    elif form is not None:
        yield from _ffmpeg_part(part, form, task)
    else:
        yield from _mpeg_blocks(whole, part, task)


def _or_ffmpeg(blocks: Iterator[NativeBlock], part: SourcePart, form: str | None, task: Task) -> Iterator[NativeBlock]:
    """What libsndfile makes of a file; where it refuses it (and not where it is damaged), what ffmpeg does."""
    try:
        yield from blocks
    except Refused:
        part.source.check()
        if form is None:
            raise
        yield from _ffmpeg_part(part, form, task)


def _ffmpeg_part(part: SourcePart, form: str, task: Task, number: int = 0) -> Iterator[NativeBlock]:
    for block in ffmpeg_blocks(part, form, task.log, block_frames=task.block_frames):
        yield NativeBlock(block.frames, block.sample_rate, number)


def _mov_blocks(part: SourcePart, task: Task) -> Iterator[NativeBlock]:
    """Decode M4A and the like, and what lies one behind the other: ffmpeg reads the first alone."""
    places = _mov_places(part)
    if len(places) > 1:
        task.log.note(JOINED)
    for number, (start, end) in enumerate(places):
        yield from _ffmpeg_part(part.part(start, end), "mov", task, number)


def _mov_places(part: SourcePart) -> list[tuple[int, int]]:
    """Bytes of every file in a chain: one begins at an `ftyp` after samples and their table (ISO/IEC 14496-12)."""
    starts, position, seen = [0], 0, set[bytes]()
    for _ in range(_MOST_BOXES):
        head = part.read_at(position, 16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if len(head) < 8:
            break
        if name == b"ftyp" and {b"moov", b"mdat"} <= seen:
            starts.append(position)
            seen.clear()
        seen.add(name)
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        if size < 8 or size > part.size - position:
            break
        position += size
    return list(itertools.pairwise([*starts, part.size]))


def _wave_blocks(part: SourcePart, task: Task) -> Iterator[NativeBlock]:
    """Decode WAV, AIFF, CAF, AU, W64: what is in the file, whatever its length fields say."""
    layout = read_layout(part)
    if layout is not None and (coded := _coded_format(part, layout)):
        task.log.note(CODED)
        yield from _ffmpeg_part(part.part(layout.start, part.size), coded, task)
        return
    lengths = None if layout is None else true_lengths(part, layout)
    yield from _wave_sound(part, layout, lengths, task, 0)
    if layout is None or lengths is not None:
        return
    for number, behind in enumerate(sounds_behind(part, layout), 1):
        task.log.note(JOINED)
        own = read_layout(behind)
        try:
            yield from _wave_sound(behind, own, own and true_lengths(behind, own), task, number)
        except Refused:
            task.log.note(DAMAGED)


def _wave_sound(
    part: SourcePart, layout: Layout | None, lengths: Lengths | None, task: Task, number: int
) -> Iterator[NativeBlock]:
    """Decode one chunk of samples."""
    if lengths is not None and lengths.header is not None:
        sound = part.part(lengths.start, lengths.end, lengths.header)
        if lengths.is_longer:
            task.log.note(WRONG_LENGTH)
    else:
        sound = whole_chunk(part, layout) if layout is not None and layout.is_mended else part
    try:
        file = open_sound(sound, task.path, is_direct=True)
    except Refused:
        if layout is None or sound is not part:
            raise
        sound = whole_chunk(part, layout)  # libsndfile may have stumbled over a chunk in front
        file = open_sound(sound, task.path)
    with file:
        if lengths is not None and lengths.missing:
            there = lengths.end - lengths.start
            lost = lengths.missing / there * file.frames / max(1, file.samplerate)
            if lost > LEAST_SECONDS:
                task.log.note(CUT_SHORT, missing_seconds=lost)
        elif lengths is None and (layout is None or layout.kind == b"riff"):
            _note_cut(file, task.log)
        reader = Reader(file, sound, task)
        yield from reader.blocks(number, expected=file.frames)
        if reader.is_broken:
            task.log.note(DAMAGED, missing_seconds=(file.frames - reader.samples) / file.samplerate)


def _note_cut(file: soundfile.SoundFile, log: DecodeLog) -> None:
    """What libsndfile says about length fields of formats that are not looked into here."""
    for claimed, there in _CUT.findall(file.extra_info):
        if int(claimed) > int(there) > 0:
            share = (int(claimed) - int(there)) / int(there)
            log.note(CUT_SHORT, missing_seconds=share * file.frames / max(1, file.samplerate))
            return


def _coded_format(part: SourcePart, layout: Layout) -> str | None:
    """Name of a surround format (DTS, AC-3) that stands in place of samples: its sync words come again and again."""
    if layout.kind not in (b"RIFF", b"RF64") or layout.format[8:10] not in (b"\x01\0", b"\xfe\xff"):
        return None
    data = part.read_at(layout.start, _CODED_BYTES)
    words = np.frombuffer(data, dtype=np.uint16, count=len(data) // 2)
    for start, sync, form in _CODED_SYNC:
        if _count_words(words, start) < _CODED_FRAMES:
            continue
        places = []
        for match in sync.finditer(data):
            places.append(match.start())
            if len(places) > 64:
                break
        steps = {later - earlier for earlier, later in itertools.pairwise(places)}
        if len(places) >= _CODED_FRAMES and len(steps) <= 2 and max(steps) - min(steps) <= 2:
            return form
    return None


def _count_words(words: np.ndarray, start: bytes) -> int:
    """How often bytes stand among words of 16 bits, which frames of these formats are made of."""
    first, *others = np.frombuffer(start, dtype=np.uint16)
    is_here = words == first
    for distance, word in enumerate(others, 1):
        is_here = is_here[:-1] & (words[distance:] == word)
    return int(np.count_nonzero(is_here))


def _flac_blocks(part: SourcePart, task: Task, number: int = 0) -> Iterator[NativeBlock]:
    """Decode FLAC, on both sides of damage, and one stream behind the other."""
    stream = flac_frames.read_stream(part, 0)
    if stream is None:
        raise Refused(f"{printable(task.path)} is not sound in a format that can be decoded.")
    layouts, first = set(), number
    while stream is not None:
        layouts.add((stream.sample_rate, stream.channels))
        if len(layouts) > 1:
            task.log.note(RATE_CHANGES)
        following: flac_frames.FlacStream | None = None
        source = part.part(stream.start, part.size)
        done, position, is_broken = 0, stream.frames_start, True
        try:
            with open_sound(source, task.path) as file:
                reader = Reader(file, source, task)
                yield from reader.blocks(number)
                done, position, is_broken = reader.samples, stream.start + source.tell(), reader.is_broken
        except Refused:
            if len(layouts) == 1 and number == first:
                raise
        largest = int.from_bytes(stream.info[7:10], "big") or 1 << 16
        piece = PIECE * stream.channels * stream.bits // 8 if is_broken or position < part.size else 0
        begin = max(stream.frames_start, position - min(2 * largest, 4 << 20) - (1 << 14) - piece)
        missing, last_end, is_damaged, is_gone = 0, 0, False, True
        for run in flac_frames.find_runs(part, stream, begin):
            if isinstance(run, flac_frames.FlacStream):
                following = run
                break
            end_sample = run.first_sample + run.samples
            if run.start < position and end_sample <= done:
                last_end = run.end
                continue
            skip = max(0, done - run.first_sample) if run.start < position else 0
            is_joint = run.first_sample + skip == done
            if not is_joint or (last_end and run.start > last_end):
                is_damaged = True
                missing += max(0, run.first_sample - done)
                number += not is_joint
            runs = part.part(run.start, run.end, flac_frames.stream_header(stream, run.samples))
            with contextlib.suppress(Refused), open_sound(runs, task.path) as file:
                yield from Reader(file, runs, task).blocks(number, skip=skip)
            done, last_end, is_gone = end_sample, run.end, False
        if is_damaged:
            task.log.note(DAMAGED, missing_seconds=missing / max(1, stream.sample_rate))
        lost = (stream.samples - done) / max(1, stream.sample_rate)
        if lost > LEAST_SECONDS:
            task.log.note(CUT_SHORT, missing_seconds=lost)
        elif is_broken and is_gone and not last_end:
            task.log.note(DAMAGED)
        stream = following
        if stream is not None:
            number += 1
            task.log.note(JOINED)


def _ogg_blocks(part: SourcePart, task: Task) -> Iterator[NativeBlock]:
    """Decode Ogg: every recording of a chain."""
    links, stray = ogg_pages.find_links(part)
    if stray:
        task.log.note(DAMAGED)
    if len(links) > 1:
        task.log.note(JOINED)
    layout, number, found = None, 0, False
    for link in links:
        if link.has_others:
            task.log.note(OTHER_TRACKS)
        pages = SourcePart(part.source, [place for first, last in link.ranges for place in part.ranges(first, last)])
        try:
            for block in _link_blocks(pages, link, task, number):
                if layout not in (None, (block.sample_rate, block.frames.shape[1])):
                    task.log.note(RATE_CHANGES)
                layout = block.sample_rate, block.frames.shape[1]
                found = True
                number = max(number, block.part)
                yield block
        except Refused:
            if len(links) > 1 or stray:
                task.log.note(DAMAGED)
        number += 1
    if not found:
        yield from _ffmpeg_part(part, "ogg", task)


def _link_blocks(pages: SourcePart, link: ogg_pages.OggLink, task: Task, number: int) -> Iterator[NativeBlock]:
    if link.codec == "flac":
        yield from _flac_blocks(pages, task, number)
        return
    with open_sound(pages, task.path) as file:
        reader = Reader(file, pages, task)
        yield from reader.blocks(number)
        lost = (file.frames - reader.samples) / file.samplerate
        if link.is_damaged or reader.is_broken:
            task.log.note(DAMAGED, missing_seconds=lost)
        if not link.is_ended:
            task.log.note(CUT_SHORT)


def _mpeg_blocks(whole: SourcePart, part: SourcePart, task: Task) -> Iterator[NativeBlock]:
    """Decode an MP3 by its real frames, whatever its length header claims, on both sides of damage."""
    scan = scan_mpeg(whole, task.alive)
    if not scan.runs:  # another format, MPEG layer I or II, or something in front of the sound
        yield from _other_blocks(part, task)
        return
    is_single = len(scan.runs) == 1 and scan.stray_bytes == 0
    if len({(run.sample_rate, run.channels) for run in scan.runs}) > 1:
        task.log.note(RATE_CHANGES)
    missing = _missing_seconds(scan.runs)
    if scan.stray_bytes:
        task.log.note(DAMAGED, missing_seconds=missing)
    elif missing > 1.0:
        task.log.note(CUT_SHORT, missing_seconds=missing)
    for number, run in enumerate(scan.runs):
        file, bytes_of_run = _open_run(task.path, whole, run, is_single=is_single)
        with file:
            reader = Reader(file, bytes_of_run, task)
            yield from reader.blocks(number, expected=run.samples - _RUN_SLACK)
        if reader.is_broken or reader.samples < run.samples - _RUN_SLACK:
            lost = max(0, run.samples - reader.samples) / run.sample_rate
            task.log.note(DAMAGED, missing_seconds=lost)


def _missing_seconds(runs: list[MpegRun]) -> float:
    """How much longer the sound would be by the length headers in front of it."""
    missing, claimed, frame_seconds = 0.0, 0, 0.0
    for run in runs:
        if run.sound_start > run.start:  # a header leads: what it counts goes on to the next header
            missing += max(0, claimed) * frame_seconds
            claimed, frame_seconds = run.claimed_frames, run.samples / max(1, run.frames) / run.sample_rate
        claimed -= run.frames
    return missing + max(0, claimed) * frame_seconds


def _open_run(
    path: Path, whole: SourcePart, run: MpegRun, *, is_single: bool
) -> tuple[soundfile.SoundFile, SourcePart]:
    """Open a run of MPEG frames; trust the file's own length header only where it does not cut sound off."""
    part = whole.part(0, whole.size) if is_single else whole.part(run.start, run.end)
    if run.is_trusted:
        with contextlib.suppress(Refused):
            file = open_sound(part, path, is_direct=True)
            if file.frames >= run.samples - _RUN_SLACK:
                return file, part
            file.close()
    part = whole.part(run.sound_start, run.end, length_header(run))
    return open_sound(part, path), part


def _other_blocks(part: SourcePart, task: Task) -> Iterator[NativeBlock]:
    """What bears no mark at its beginning: libsndfile knows more formats; or there is junk in front of the sound."""
    head = part.read_at(0, _JUNK_BYTES)
    for magic, decode in ((ogg_pages.MAGIC, _ogg_blocks), (b"fLaC\0\0\0\x22", _flac_blocks), (b"RIFF", _wave_blocks)):
        at = head.find(magic)
        behind = part.part(at, part.size)
        if at > 0 and (magic != b"RIFF" or behind.read_at(8, 4) == b"WAVE"):
            task.log.note(DAMAGED)
            yield from decode(behind, task)
            return
    with open_sound(part, task.path) as file:
        _note_cut(file, task.log)
        reader = Reader(file, part, task)
        yield from reader.blocks(0)
        if reader.is_broken:
            task.log.note(DAMAGED)
