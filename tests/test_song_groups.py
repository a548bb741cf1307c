"""What stays on one side of a split, from files to groups."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.prepare_dataset import main
from data_prep.prepare_song import FINGERPRINT_NAME
from data_prep.song_groups import read_fingerprints, with_groups
from piano.foundation.audio_io import write_audio
from piano.foundation.dataset_format import PreparedManifest, read_prepared_manifest, write_prepared_manifest
from piano.foundation.npy_files import save_array
from tests.make_audio import make_music
from tests.old_prepared import as_version_1, whole_song

RATE = 8000


def prepare(music: Path, output: Path, *options: str) -> PreparedManifest:
    common = ["--sample-rate", str(RATE), "--channels", "1", "--chunk-seconds", "5", "--workers", "1"]
    assert main([str(music), "--output", str(output), *common, *options]) == 0
    return read_prepared_manifest(output)


def groups(manifest: PreparedManifest) -> dict[str, str]:
    return {song.source: song.group for song in manifest.songs}


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stems in folders, stems by name, and files of equal length that are no stems."""
    folder = tmp_path_factory.mktemp("music")
    names = ["song1/drums", "song1/vocals", "song1/mix", "song2/drums", "song2/vocals", "song2/mix"]
    names += ["flat/Blue - Bass", "flat/Blue (no drums)", "flat/Blue", "flat/Red_bass", "flat/Red", "flat/Green"]
    for seed, name in enumerate(names):
        write_audio(folder / f"{name}.wav", make_music(seed, 6.0, RATE), RATE)
    write_audio(folder / "song1/bass.wav", make_music(50, 6.5, RATE), RATE)  # another length: nobody's stem
    return folder


def test_stems_and_their_mix_are_one_group(stems: Path, tmp_path: Path):
    assert groups(prepare(stems, tmp_path)) == {
        "flat/Blue (no drums).wav": "flat/Blue (no drums).wav",
        "flat/Blue - Bass.wav": "flat/Blue (no drums).wav",
        "flat/Blue.wav": "flat/Blue (no drums).wav",
        "flat/Green.wav": "flat/Green.wav",
        "flat/Red.wav": "flat/Red.wav",
        "flat/Red_bass.wav": "flat/Red.wav",
        "song1/bass.wav": "song1/bass.wav",
        "song1/drums.wav": "song1/drums.wav",
        "song1/mix.wav": "song1/drums.wav",
        "song1/vocals.wav": "song1/drums.wav",
        "song2/drums.wav": "song2/drums.wav",
        "song2/mix.wav": "song2/drums.wav",
        "song2/vocals.wav": "song2/drums.wav",
    }


def test_whole_folders_stay_together_where_that_is_asked(stems: Path, tmp_path: Path):
    by_folder = groups(prepare(stems, tmp_path, "--group-by", "folder"))
    assert {source.partition("/")[0]: group for source, group in by_folder.items()} == {
        "flat": "flat/Blue (no drums).wav",
        "song1": "song1/bass.wav",
        "song2": "song2/drums.wav",
    }
    assert len(set(by_folder.values())) == 3
    assert len(set(groups(prepare(stems, tmp_path)).values())) == 6  # the next run is asked again


def test_folders_of_the_first_level_hold_all_below(tmp_path: Path):
    for seed, name in enumerate(("a/x/1", "a/y/2", "b/x/3", "4", "5")):
        write_audio(tmp_path / f"music/{name}.wav", make_music(seed, 2.0, RATE), RATE)
    by_folder = groups(prepare(tmp_path / "music", tmp_path / "out", "--group-by", "top-folder"))
    assert by_folder == {
        "4.wav": "4.wav",
        "5.wav": "4.wav",
        "a/x/1.wav": "a/x/1.wav",
        "a/y/2.wav": "a/x/1.wav",
        "b/x/3.wav": "b/x/3.wav",
    }


def test_a_fingerprint_that_stops_early_is_made_again(tmp_path: Path):
    """As earlier versions left them of files of more than 20 minutes."""
    write_audio(tmp_path / "music/long.wav", make_music(1, 30.0, RATE), RATE)
    write_audio(tmp_path / "music/short.wav", make_music(2, 5.0, RATE), RATE)
    before = prepare(tmp_path / "music", tmp_path / "new").songs
    out = as_version_1(tmp_path / "new", tmp_path / "out")
    path = out / before[0].folder / FINGERPRINT_NAME
    whole = np.load(path)
    save_array(path, whole[:200])
    sounds = [out / song.folder / "chunk_0000.npy" for song in before]
    for sound in sounds:
        save_array(sound, np.zeros_like(np.load(sound)))  # what is not decoded again stays as it is
    after = prepare(tmp_path / "music", out).songs
    long, short = read_fingerprints(out, after)
    assert np.array_equal(long, whole)
    assert np.array_equal(short, list(read_fingerprints(tmp_path / "new", before))[1])
    assert whole_song(out, "long.wav")[:, : 5 * RATE].any()
    assert not whole_song(out, "short.wav").any()


def test_a_fingerprint_of_a_shard_that_stops_early_is_made_again(tmp_path: Path):
    write_audio(tmp_path / "music/long.wav", make_music(1, 30.0, RATE), RATE)
    out = tmp_path / "out"
    [song] = prepare(tmp_path / "music", out).songs
    [words] = read_fingerprints(out, [song])
    [index] = (out / "shards").glob("*.json")
    values = json.loads(index.read_text())
    values["records"][0]["song"]["fingerprint_words"] = [0, 200]
    index.write_text(json.dumps(values))
    [again] = prepare(tmp_path / "music", out).songs
    assert again.fingerprint_words == song.fingerprint_words
    assert np.array_equal(next(iter(read_fingerprints(out, [again]))), words)


def test_groups_of_an_earlier_version_are_looked_for_again(tmp_path: Path):
    for name in ("a.wav", "b.flac"):
        write_audio(tmp_path / "music" / name, make_music(1, 12.0, RATE), RATE)
    out = tmp_path / "out"
    manifest = prepare(tmp_path / "music", out)
    assert groups(manifest) == {"a.wav": "a.wav", "b.flac": "a.wav"}
    alone = tuple(dataclasses.replace(song, group=song.source) for song in manifest.songs)
    write_prepared_manifest(out, dataclasses.replace(manifest, songs=alone))
    assert groups(prepare(tmp_path / "music", out)) == {"a.wav": "a.wav", "b.flac": "b.flac"}  # known, not asked
    old = dataclasses.replace(manifest, songs=alone, grouping="")
    write_prepared_manifest(out, old)
    assert prepare(tmp_path / "music", out) == manifest
    assert [song.group for song in with_groups(list(alone), old, out)] == ["a.wav", "a.wav"]


def test_a_folder_of_stems_belongs_to_the_mix_beside_it(tmp_path: Path):
    names = [
        "a/stems/01 Whatever",
        "a/stems/02 Drum Kit",
        "a/My song",
        "a/Another length",
        "b/My song",
        "Stems/x",
        "top",
    ]
    for seed, name in enumerate(names):
        seconds = 7.0 if name.endswith("length") else 6.0
        write_audio(tmp_path / f"music/{name}.wav", make_music(seed, seconds, RATE), RATE)
    found = groups(prepare(tmp_path / "music", tmp_path / "out"))
    assert found == {
        "Stems/x.wav": "Stems/x.wav",
        "a/Another length.wav": "a/Another length.wav",
        "a/My song.wav": "a/My song.wav",
        "a/stems/01 Whatever.wav": "a/My song.wav",
        "a/stems/02 Drum Kit.wav": "a/My song.wav",
        "b/My song.wav": "b/My song.wav",
        "top.wav": "Stems/x.wav",
    }
