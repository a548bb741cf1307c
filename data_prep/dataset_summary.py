"""Tells what a data set holds, what was left out, and what its split does to the scores."""

from pathlib import Path, PurePosixPath

from data_prep.sides import draw_sides
from piano.foundation.dataset_format import SPLITS, DatasetManifest, set_path
from piano.foundation.music_amount import amount_words
from piano.foundation.pair_index import pairs_path
from piano.foundation.screen_text import counted, printable, wrapped

_LISTED = 100
_SEEDS_TRIED = 50


def split_warnings(manifest: DatasetManifest) -> list[str]:
    """What the split of few songs, or of few of a kind, does to training and its scores; each with what to do.

    A kind is a folder of the first level that the songs do not share; where most hold one recording, they are none.
    """
    if manifest.is_split_inside or manifest.song_groups is None:
        return []
    counts = {split: len(manifest.groups[split]) for split in SPLITS}
    every = sum(counts.values())
    warnings = []
    if counts["validation"] == 1:
        larger = next((tenths / 10 for tenths in range(1, 6) if tenths / 10 * every >= 2), None)
        more = f" or hold back more with --validation-fraction {larger:g}," if larger and every >= 4 else ""
        warnings.append(
            f"warning: validation is one recording only ({printable(manifest.songs['validation'][0])}): scores will "
            f"say how well that one is met, and little of other music. Add music,{more} or read them so."
        )
    if counts["training"] == 1:
        warnings.append(
            "warning: there is one recording only to learn from: the model will know little else. Add music."
        )
    folders = _folders_by_group(manifest)
    count = len(set(folders.values()))
    if count < 2 or every < 1.5 * count:
        return warnings
    lost = _lost_kinds(folders, set(manifest.groups["training"]))
    if lost:
        shown = ", ".join(printable(name) for name in lost[:3]) + (" and others" if len(lost) > 3 else "")
        seed = _seed_that_keeps_all_kinds(manifest, folders)
        remedy = (
            "Add music of its kind, or put it into the folder of a kind that it belongs to."
            if seed is None
            else f"With --seed {seed} --overwrite some of every folder should be in training: make it again first."
        )
        warnings.append(
            f"warning: all music of the {'folder' if len(lost) == 1 else 'folders'} {shown} is in validation: the "
            f"model is judged by a kind of music that it cannot learn. {remedy}"
        )
    return warnings


def _folders_by_group(manifest: DatasetManifest) -> dict[str, str]:
    """For every recording the folder of its first song, at the first level at which the songs' folders differ."""
    parents = {song: PurePosixPath(song).parts[:-1] for split in SPLITS for song in manifest.songs[split]}
    depth = 0
    while min(map(len, parents.values())) > depth and len({parts[depth] for parts in parents.values()}) == 1:
        depth += 1
    assert manifest.song_groups is not None
    found: dict[str, str] = {}
    for split in SPLITS:
        for song, place in zip(manifest.songs[split], manifest.song_groups[split], strict=True):
            found.setdefault(manifest.groups[split][place], "/".join(parents[song][depth : depth + 1]))
    return found


def _lost_kinds(folders: dict[str, str], training: set[str]) -> list[str]:
    return sorted(set(folders.values()) - {folders[group] for group in training} - {""})


def _seed_that_keeps_all_kinds(manifest: DatasetManifest, folders: dict[str, str]) -> int | None:
    """The first of some seeds that leaves music of every folder in training."""
    if manifest.pair_songs is None or manifest.song_groups is None:
        return None
    sizes = dict.fromkeys(folders, 0)
    for split in SPLITS:
        for song in manifest.pair_songs[split]:
            sizes[manifest.groups[split][manifest.song_groups[split][song]]] += 1
    for seed in range(_SEEDS_TRIED):
        sides = draw_sides(sizes, manifest.validation_fraction, seed)
        if not _lost_kinds(folders, sides["training"]):
            return seed
    return None


def print_summary(manifest: DatasetManifest, output: Path) -> None:
    """Print what there is and what was left out."""
    for name in manifest.too_short[:_LISTED]:
        _print(f"left out: {printable(name)}: shorter than one pair ({2 * manifest.segment_seconds:g} s)")
    if len(manifest.too_short) > _LISTED:
        _print(f"left out: {counted(len(manifest.too_short) - _LISTED, 'more file')}, shorter than one pair")
    if manifest.silent_pairs:
        minutes = manifest.silent_pairs * manifest.segment_seconds / 60
        _print(f"left out: {minutes:.1f} minutes of silence inside songs ({counted(manifest.silent_pairs, 'pair')})")
    if manifest.joined:
        files = sum(map(len, manifest.joined.values()))
        _print(
            f"joined: {counted(files, 'short file')} into {counted(len(manifest.joined), 'recording')}; "
            "at their seams a pair goes over from one file to the next"
        )
    if manifest.is_split_inside:
        _print(
            "split inside: validation is the end of the one recording there is. Its scores say whether the model "
            "goes on as this recording does, not whether it plays other music."
        )
    path = pairs_path if manifest.shards else set_path
    for split in SPLITS:
        minutes = manifest.pairs[split] * manifest.segment_seconds / 60
        _print(
            f"{printable(path(output, split))}: {counted(manifest.pairs[split], 'pair')} ({minutes:.1f} minutes) "
            f"of {counted(len(manifest.songs[split]), 'song')}, "
            f"{counted(len(manifest.groups[split]), 'different recording')}"
        )
    for line in split_warnings(manifest):
        _print(line)
    if words := amount_words(manifest.pairs["training"] * manifest.segment_seconds):
        _print(words)


def _print(line: str) -> None:
    print(wrapped(line))
