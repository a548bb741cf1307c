"""What was asked for under earlier rules is drawn as it was then, so that its receipts make it again.

The numbers were printed by the rules of the time, of a model whose numbers are random.
"""

import json

import numpy as np
import pytest
import soundfile
import torch

from piano import reproduce
from piano.foundation.keys import Key
from piano.foundation.receipt import read_receipt
from piano.latent_style import DRAWING, LatentStyle
from piano.loops import LoopForm, Meter, asked_of_music, compose_loop
from piano.player import Player
from tests import trained_model
from tests.test_stream_contract import scattering
from tests.tiny_run import SAMPLE_RATE

TEMPO = 108.0
MINOR = Key(9, True)
LOOP = LoopForm(2, 150.0, Meter(6, 8), 8_000)
FIRST_RULES = {
    "a tempo": (
        asked_of_music(TEMPO, drawing=1),
        [[-0.6397, 0.8937], [0.7047, 0.5134], [0.5194, -0.1020]],
        [1.0859, 0.0, 1.3153],
    ),
    "a tempo and a key": (
        asked_of_music(TEMPO, MINOR, drawing=1),
        [[3.1740, 3.3315], [3.9293, 3.8356], [4.4971, 2.9655]],
        [0.0, 0.0, 0.0],
    ),
    "a loop": (
        LOOP.wishes(drawing=1),
        [[-0.5386, 0.6773], [0.5639, -1.4568], [-0.8316, -0.1603]],
        [0.0, 0.0, 1.2809],
    ),
}


@pytest.fixture(scope="module")
def style() -> LatentStyle:
    generator = scattering()
    found, random = generator.style, torch.Generator().manual_seed(8)
    found.project.normal_(std=0.3, generator=random)
    found.chroma = 0.1 * torch.randn(generator.latent_dim + 1, 12, generator=random)
    return found


@pytest.mark.parametrize("name", FIRST_RULES)
def test_styles_are_drawn_by_the_first_rules_where_these_are_asked_for(style, name):
    wishes, vectors, strengths = FIRST_RULES[name]
    drawn = style.draw(7, range(3), wishes=wishes)
    torch.testing.assert_close(drawn.vector[:, :2], torch.tensor(vectors), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(drawn.pulse.strength, torch.tensor(strengths), atol=1e-3, rtol=1e-3)
    assert wishes.beats_of_bar(drawn.pulse) is None
    if wishes.key is not None:
        now = style.draw(7, range(3), wishes=wishes._replace(drawing=DRAWING))
        assert not torch.allclose(now.vector, drawn.vector, atol=0.1)


def test_music_between_themes_is_that_of_the_first_rules(style):
    wishes = asked_of_music(TEMPO, drawing=1)
    home = style.draw(7, range(1), wishes=wishes)
    other = style.contrast(home, 7, 0, 0, wishes)
    torch.testing.assert_close(other.vector[0, :2], torch.tensor([-1.0211, -0.5956]), atol=1e-3, rtol=1e-3)
    assert float(other.pulse.strength) == pytest.approx(2.0611, abs=1e-3)


def test_what_is_made_now_says_by_which_rules(here, tmp_path):
    for arguments, drawing in (
        (["--seconds", "1"], None),
        (["--seconds", "1", "--key", "C"], None),
        (["--seconds", "1", "--tempo", "100"], DRAWING),
        (["--seconds", "1", "--meter", "5/4"], DRAWING),
        (["--seconds", "9", "--ending"], None),
        (["--loop", "1", "--tempo", "120"], DRAWING),
    ):
        folder = tmp_path / "_".join(arguments).replace("/", "")
        (path,) = trained_model.make(folder, "--steps", "2", "--count", "1", *arguments)
        assert read_receipt(path).drawing == drawing
        assert reproduce.main([str(path)]) == 0


def test_a_loop_of_the_first_rules_is_made_again(here, tmp_path, capsys):
    words = ["--loop", "2", "--tempo", "150", "--meter", "6/8", "--count", "1", "--steps", "2"]
    (path,) = trained_model.make(tmp_path / "now", *words)
    sound, rate = soundfile.read(path, dtype="int16", always_2d=True)
    told = json.loads(soundfile.SoundFile(path).comment)
    del told["drawing"]
    composer = Player(here / "model", epoch=3, device="cpu")._composer(
        0, 2, LoopForm(2, 150.0, Meter(6, 8), SAMPLE_RATE).wishes(drawing=1)
    )
    form = LoopForm(2, 150.0, Meter(6, 8), SAMPLE_RATE)
    before = compose_loop(composer.with_sampling(composer.sampling._replace(phase_iterations=2)), form).numpy()
    old = tmp_path / "before.wav"
    with soundfile.SoundFile(old, "w", rate, 1, "PCM_16") as file:
        file.comment = json.dumps(told)
        file.write(np.clip(np.rint(before.T * 32768), -32768, 32767).astype(np.int16))
    assert not np.array_equal(soundfile.read(old, dtype="int16", always_2d=True)[0], sound)
    assert reproduce.main([str(old)]) == 0, capsys.readouterr()
