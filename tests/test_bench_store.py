"""The benchmark of the store in a short form: what it reports is there, and its forms hold the same sound."""

import re
import sys

import bench_store
import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("channels", [1, 2])
def test_shards_take_16_bits_a_sample_and_every_form_is_measured(capsys, channels: int) -> None:
    words = ["--seconds", "60", "--hours", "3", "--rounds", "1", "--batch", "4", "--channels", str(channels)]
    assert bench_store.main(words) == 0
    said = capsys.readouterr().out
    [arrays, shards] = (float(re.findall(rf"  {form} +([0-9.]+) MB an hour", said)[0]) for form in ("npy", "shards"))
    assert abs(shards - 115.2 * channels) < 0.2
    assert arrays > 2.5 * shards
    crops = dict(re.findall(r"^  (.+?) +[0-9,]+ +([0-9.]+)$", said.partition("crops of")[2], re.MULTILINE))
    assert {"batches of floats, mapped (version 3)", "batches out of shards", "FLAC"} <= crops.keys()
    assert float(crops["batches of floats, mapped (version 3)"]) == 1.0
    assert len(re.findall(r"made in [0-9.]+ s, [0-9]+ MB; opened in", said)) == 2
