# The source of play.ipynb: `python -m tutorial.build_notebooks` makes it. Cells begin with "# %%".

# %% [markdown]
# # Play with a model
#
# This notebook plays with the model that comes with the project: hear it, change what it is asked for, look at the sound,
# go on from a recording, and let a model learn a minute of other music. It runs offline, on a CPU, in some minutes. Run the
# cells in their order; then change a number and run a cell again.
#
# How such a model learns is another notebook: [training_gans.ipynb](training_gans.ipynb). Every method that is used here
# stands in [docs/python.md](../docs/python.md).

# %%
from pathlib import Path

import numpy as np
from IPython.display import Audio, Image, display

import musigan
from piano.evaluation.pictures import constant_q_grid
from piano.foundation.audio_io import encode_mp3, write_audio
from tutorial.from_pictures_to_sound import musigan as command
from tutorial.from_pictures_to_sound import play_chords
from tutorial.gan_pictures import small_png

MODEL, BASE = "shipped", "mixed"  # what plays, and what learns at the end; or folders of yours
SECONDS = 5.0
LEARNING = ["--minutes", 1, "--anyway"]
RUNS = Path("runs/play")  # beside this notebook
RUNS.mkdir(parents=True, exist_ok=True)

player = musigan.load(MODEL)
print(f"{player.sample_rate:,} Hz, {'stereo' if player.channels == 2 else 'mono'}, epoch {player.epoch}")


def play(sound, words):
    """Show a sound as a player, small enough to be kept in a notebook, and hand it on."""
    print(words)
    display(Audio(data=encode_mp3(np.asarray(sound), sound.sample_rate)))
    return sound


def look(sounds, name):
    """A spectrogram of each sound, one below the other."""
    rate = next(iter(sounds.values())).sample_rate
    rows = {words: np.asarray(sound) for words, sound in sounds.items()}
    return Image(small_png(constant_q_grid(rows, rate, RUNS / f"{name}.png")))


# %% [markdown]
# ## 1. Hear it
#
# Music out of white noise. The seed chooses the noise, so the same number gives the same music, today and tomorrow.

# %%
first = play(player.generate(seconds=SECONDS, seed=0), "seed 0")

# %%
second = play(player.generate(seconds=SECONDS, seed=1), "seed 1")
print("The same seed gives the same:", np.array_equal(first, player.generate(seconds=SECONDS, seed=0)))

# %% [markdown]
# ## 2. Fewer steps
#
# The model goes from noise to music in steps. One step is fast and rougher; more of them take longer. What was best when
# the model was measured is what it takes if you say nothing.

# %%
one_step = play(player.generate(seconds=SECONDS, seed=0, steps=1), "seed 0 in one step")

# %% [markdown]
# ## 3. Look at it
#
# A spectrogram shows time to the right and pitch upwards; what is bright is loud. Horizontal lines are notes, and where they
# begin is a note's onset. Compare one step with more of them.

# %%
look({"as many steps as were best": first, "one step": one_step}, "steps")

# %% [markdown]
# ## 4. A sound of your own
#
# What follows begins with a recording. Here it is made up, chords broken into plucked notes, so that this notebook needs
# nothing but itself. Put the name of a file of yours in its place: any format, some seconds or more.

# %%
song = RUNS / "song.wav"
chords = play_chords(max(SECONDS, 4.0), player.sample_rate, seed=5)
write_audio(song, np.repeat(chords, player.channels, axis=0), player.sample_rate)
print("the song")
display(Audio(data=encode_mp3(chords, player.sample_rate)))

# %% [markdown]
# ## 5. In its style
#
# With `like` the model makes new music that resembles the song as a whole (how bright it is, how dense, how fast), with
# other notes.

# %%
alike = play(player.generate(seconds=SECONDS, seed=0, like=song), "like the song")

# %% [markdown]
# ## 6. Go on from it
#
# A prompt is more than a style: the model hears the end of the file and plays on from there.

# %%
more = play(player.continue_(song, seconds=SECONDS), "what comes after the song")

# %% [markdown]
# ## 7. Another take
#
# `vary` keeps the song and changes it: 0 is the sound as the model hears it, 1 other music of its style.

# %%
near = play(player.vary(song, 0.1), "varied by 0.1")
far = play(player.vary(song, 0.7), "varied by 0.7")

# %%
heard = player.decode(player.encode(song))
look({"the song as the model hears it": heard, "varied by 0.1": near, "varied by 0.7": far}, "takes")

# %% [markdown]
# The first of these pictures went through `encode` and `decode`: the model keeps a few numbers of every moment (*latents*), and
# makes sound of them again. In between you may change them. Here every moment lasts twice as long:

# %%
latents = player.encode(song)
print(f"{latents.shape[0]} moments of {latents.shape[1]} numbers, {player.frames_per_second:.1f} a second")
slower = play(player.decode(np.repeat(latents, 2, axis=0)), "half as fast")

# %% [markdown]
# ## 8. Let it learn
#
# A model can go on from what it knows with music of yours: `musigan train --from`. Here the base for music of any kind learns
# for a minute from made-up pieces. That shows how it goes, and is too little to change its music for good: with music of
# your own give it ten minutes or more ([README](../README.md)).

# %%
base = musigan.load(BASE)
for seed in range(4):
    piece = np.repeat(play_chords(40.0, base.sample_rate, seed=seed), base.channels, axis=0)
    write_audio(RUNS / "music" / f"piece {seed}.wav", piece, base.sample_rate)
tuned = RUNS / "tuned"
if not (tuned / "metrics.jsonl").is_file():  # remove the folder to let it learn anew
    form = ["--sample-rate", base.sample_rate, "--channels", base.channels]
    segment = base.generator.keywords["seq_len"] / base.sample_rate
    command("prepare", RUNS / "music", "--output", RUNS / "prepared", *form, "--workers", 1, lines=1)
    command("dataset", "--input", RUNS / "prepared", "--output", RUNS / "data", "--segment-seconds", segment, lines=1)
    places = ["--dataset", RUNS / "data", "--checkpoints", tuned]
    command("train", "--from", BASE, *places, *LEARNING, lines=20, is_ruin_told=True)

# %%
before = play(base.generate(seconds=SECONDS, seed=0), "before")
after = play(musigan.load(tuned, epoch="latest").generate(seconds=SECONDS, seed=0), "after a minute")

# %%
look({"before": before, "after": after}, "learning")

# %% [markdown]
# ## Where to go from here
#
# - `musigan generate --prompt my_song.mp3` does the same from the command line, into files that say how they were made.
# - `player.evaluate("music")` measures how near the model's music is to real music: [docs/ruler.md](../docs/ruler.md).
# - `musigan report shipped --open` is a page with more to hear.
