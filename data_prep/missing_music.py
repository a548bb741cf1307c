"""Refuses to go on where much of the music that was prepared is away: its sound is hours of work."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from data_prep.earlier_run import EarlierRun
from data_prep.music_files import Hashes
from data_prep.music_place import MusicPlace
from piano.foundation.errors import DatasetError
from piano.foundation.prepared_song import SongEntry
from piano.foundation.screen_text import counted, printable


def refuse_missing_music(
    earlier: EarlierRun,
    present: list[str],
    moved: dict[str, str],
    music: MusicPlace,
    output: Path,
    hashes: Hashes,
) -> None:
    """Raise a DatasetError where most songs of before are away: a drive is not mounted, or other music came by.

    Of another folder the bytes must be the same, not only the names: every album has a `Track 01`. In the same folder
    a changed file is a changed song, unless none is left as it was and some are gone: then it is another album.
    """
    known, before = earlier.songs, earlier.manifest
    if not known:
        return
    is_elsewhere = before is not None and music.identity != before.music_folder
    missing = {name for name in known if name not in set(present) and name not in moved}
    lost = set(missing)
    if missing or is_elsewhere:
        lost |= {name for name in known.keys() & set(present) if _is_other(name, known[name], music, hashes)}
    total, shown, here = counted(len(known), "song"), str(music), printable(output)
    remedy = "Nothing was changed. If that is meant, say --forget-missing; else use another --output."
    if before is not None and is_elsewhere and 2 * len(lost) > len(known):
        raise DatasetError(
            f"{here} was prepared from {printable(before.music_folder)}, and of its {total} {len(lost)} "
            f"{'is' if len(lost) == 1 else 'are'} not in {shown}. {remedy}"
        )
    if missing and len(lost) == len(known):
        raise DatasetError(
            f"nothing of the {total} prepared in {here} is in {shown} any more: is a drive not mounted? {remedy}"
        )
    if not is_elsewhere and 2 * len(missing) > len(known):
        raise DatasetError(
            f"{len(missing)} of the {total} prepared in {here} are not in {shown} any more: is a drive not mounted? "
            f"{remedy}"
        )
    if folder := _empty_folder(missing, known.keys(), music):
        away = counted(sum(_is_below(name, folder) for name in missing), "song")
        raise DatasetError(
            f"{music}/{printable(folder)} holds nothing any more, but {away} in {here} came from there: is a drive "
            f"not mounted? {remedy}"
        )


def _is_other(name: str, song: SongEntry, music: MusicPlace, hashes: Hashes) -> bool:
    """Whether a file is another one than the song was made of: size and date are asked before its bytes."""
    found = music.size_and_date(name)
    if found is None:
        return True
    if found == (song.size, song.mtime_ns):
        return False
    return found[0] != song.size or hashes.of(music.path(name)) != song.sha256


def _empty_folder(missing: set[str], known: Iterable[str], music: MusicPlace) -> PurePosixPath | None:
    """A folder that is still there and empty or unreadable, though two songs or more were prepared from it."""
    counts: Counter[PurePosixPath] = Counter()
    for name in missing:
        counts.update(folder for folder in PurePosixPath(name).parents if folder != PurePosixPath("."))
    for folder, count in sorted(counts.items()):
        if count < 2 or count < sum(_is_below(name, folder) for name in known):
            continue
        if music.is_empty(folder):
            return folder
    return None


def _is_below(name: str, folder: PurePosixPath) -> bool:
    return PurePosixPath(name).is_relative_to(folder)
