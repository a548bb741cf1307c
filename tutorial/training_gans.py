# The source of training_gans.ipynb and training_gans_solutions.ipynb: `python -m tutorial.build_notebooks` makes both.
# Cells begin with "# %%". Between "# solution" and "# end" stands what a reader is to find out.

# %% [markdown]
# # Training GANs
#
# This notebook teaches how a *generative adversarial network* learns, how to see from its curves whether it does, and what
# to do when it does not. First with small pictures of clothes, because there a failure shows at a glance; at the end with
# sound, because that is what this project is for.
#
# You need some Python, and an idea of what a neural network and its gradient are. Everything runs offline, on one thread
# of a CPU, in ten minutes to half an hour. Run the cells in their order. There are seven **exercises**: replace the three
# dots by your answer and run the check below. An exercise left open stops nothing. `training_gans_solutions.ipynb` has them
# solved.
#
# | chapter | |
# | --- | --- |
# | 1 | [the pictures](#1.-The-pictures) |
# | 2 | [two networks](#2.-Two-networks) |
# | 3 | [the game, and what its losses mean](#3.-The-game,-and-what-its-losses-mean) |
# | 4 | [one turn each](#4.-One-turn-each) |
# | 5 | [training](#5.-Training) |
# | 6 | [reading the curves](#6.-Reading-the-curves) |
# | 7 | [how good are the pictures?](#7.-How-good-are-the-pictures?) |
# | 8 | [breaking it on purpose](#8.-Breaking-it-on-purpose) |
# | 9 | [from pictures to sound](#9.-From-pictures-to-sound) |

# %%
import time

import torch
from IPython.display import Audio, Image, display

from piano.doctor.rules import diagnose
from piano.doctor.signals import windows_of
from piano.foundation.model_folder import holds_shipped, shipped_folder
from piano.foundation.run_log import read_history
from piano.foundation.runtime import choose_threads
from tutorial import exercise_checks as checks
from tutorial.broken_runs import FAULTS, run_with_fault
from tutorial.discriminator_model import create_discriminator
from tutorial.exercise_checks import verdict
from tutorial.fashion_mnist import CLASS_NAMES, build_loader, load_fashion_mnist
from tutorial.from_pictures_to_sound import PROJECT, mp3_of, musigan, write_pieces
from tutorial.gan_analysis import (
    describe_equilibrium,
    describe_findings,
    detect_failure_modes,
    gan_windows,
    judge_windows,
    loss_statistics,
    nash_equilibrium,
)
from tutorial.gan_pictures import draw_images, draw_loss_curves, draw_sample_grids, draw_windows, figure_png
from tutorial.gan_training import discriminator_step, generator_step, make_images, train_gan
from tutorial.generator_model import create_generator
from tutorial.sample_quality import QualityRuler, accuracy, describe_quality, train_classifier

torch.set_num_threads(choose_threads())
RUNS = PROJECT / "tutorial" / "runs"
started = time.monotonic()


def show(figure):
    """A figure as a small PNG."""
    return Image(figure_png(figure))


def play(path, *, seconds):
    """The beginning of a sound file, as a player."""
    return Audio(data=mp3_of(path, seconds))


# %% [markdown]
# ## 1. The pictures
#
# Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) has 70,000 grey pictures of clothes, 28 by 28 pixels, in ten classes. With
# the project comes a subset of 10,000. We learn from 8,000 and keep 2,000 aside, to compare with later. If you have the
# full set, give its folder: `load_fashion_mnist("my/folder")`; an epoch is then seven times as long.

# %%
data = load_fashion_mnist()
real = data.training.images
first_of_class = [int((data.training.labels == label).nonzero()[0]) for label in range(len(CLASS_NAMES))]
print(
    f"{len(real)} pictures to learn from, {len(data.held_out.images)} kept aside; shape {tuple(real.shape)}, "
    f"values from {real.min():g} to {real.max():g}"
)
print(", ".join(CLASS_NAMES))
show(
    draw_images(
        {"one of each class": real[first_of_class], "the first of the set": real[:20]}, columns=10, width=6
    )
)

# %% [markdown]
# In the file a pixel is a whole number from 0 (black) to 255 (white). The loader has turned it into a number from -1 to 1.
#
# **Exercise 1.** Write that function.


# %% exercise
def to_signal(pixels):
    """Grey values 0 to 255 -> numbers from -1 to 1 of the same shape."""
    # solution
    return pixels / 127.5 - 1
    # end


# %%
verdict(checks.check_normalise, to_signal)

# %% [markdown]
# ## 2. Two networks
#
# The **generator** $G$ turns noise $z$, 100 random numbers from a normal distribution, into a picture. It never sees a real one.
# The **discriminator** $D$ looks at a picture and says how probable it is that the picture is real. Both are small versions of
# DCGAN (Radford et al. 2015, arXiv 1511.06434), whose rules made such networks trainable: strided convolutions instead of
# pooling, batch normalisation in the generator, ReLU there and LeakyReLU in the discriminator, tanh at the end.
#
# The generator's last layer is tanh, which gives numbers from -1 to 1: hence the range of the pictures.

# %%
torch.manual_seed(0)
generator, discriminator = create_generator(latent_dim=100), create_discriminator()
for name, network in (("generator", generator), ("discriminator", discriminator)):
    print(f"{name}: {sum(parameter.numel() for parameter in network.parameters()):,} weights")
print(generator)
noise = torch.randn(10, 100)
untrained = make_images(generator, noise)
print(
    "D of what an untrained generator makes:",
    [round(p, 2) for p in discriminator(untrained[:4]).sigmoid().flatten().tolist()],
)
show(draw_images({"an untrained generator": untrained}, columns=10, width=6))

# %% [markdown]
# A convolution with stride 2 halves the side of a picture. A *transposed* convolution goes the other way: every input
# pixel paints a square of `kernel` pixels, the squares begin `stride` pixels apart, and `padding` pixels are cut off at
# every border.
#
# **Exercise 2.** How long is the side of what comes out?


# %% exercise
def transposed_size(side, *, kernel, stride, padding):
    """Side of the output of a transposed convolution."""
    # solution
    return (side - 1) * stride + kernel - 2 * padding
    # end


# %%
verdict(checks.check_transposed_size, transposed_size)

# %% [markdown]
# ## 3. The game, and what its losses mean
#
# The two networks play against each other (Goodfellow et al. 2014, arXiv 1406.2661, equation 1):
#
# $$\min_G \max_D \;\; \mathbb{E}_{x}\,[\log D(x)] + \mathbb{E}_{z}\,[\log (1 - D(G(z)))]$$
#
# $D(x)$ is the probability that $D$ gives to a real picture, $D(G(z))$ what it gives to a generated one. $D$ wants the first to
# be 1 and the second 0; $G$ wants the second to be 1.
#
# What is the best that $D$ can do against a given generator? Take one picture $x$. Among real pictures it has the density
# $p_{data}(x)$, among generated ones $p_g(x)$. If both sorts come equally often, the best answer is the probability that
# this one is from the real sort (proposition 1 of the paper).
#
# **Exercise 3.** Write it down.


# %% exercise
def best_discriminator(*, p_data, p_generator):
    """Probability that a picture is real, from its densities among real and generated pictures."""
    # solution
    return p_data / (p_data + p_generator)
    # end


# %%
verdict(checks.check_best_discriminator, best_discriminator)

# %% [markdown]
# When the generator makes everything as often as it occurs, $p_g = p_{data}$, the best answer is 1/2 everywhere. That is the
# game's **equilibrium**: neither can do better alone.
#
# $D$ puts out a *logit* $l$, any real number; its probability is $\sigma(l) = 1 / (1 + e^{-l})$. Then $-\log D = \log(1 + e^{-l})$, which
# PyTorch calls `softplus(-l)`, and $-\log(1 - D)$ is `softplus(l)`. Our loss of $D$ is the mean of both halves:
#
# $$L_D = \tfrac12 \left( \mathbb{E}_x[-\log D(x)] + \mathbb{E}_z[-\log(1 - D(G(z)))] \right)$$
#
# At $D = 1/2$ this is $\log 2 = 0.693$. Remember that number. (Some texts add the halves; theirs is 1.386.)
#
# **Exercise 4.** Write $L_D$. `torch.nn.functional.softplus` helps.


# %% exercise
def my_discriminator_loss(*, real_logits, fake_logits):
    """Mean of both halves of the cross-entropy; logits have the shape (batch, 1)."""
    # solution
    softplus = torch.nn.functional.softplus
    return 0.5 * (softplus(-real_logits).mean() + softplus(fake_logits).mean())
    # end


# %%
verdict(checks.check_discriminator_loss, my_discriminator_loss)

# %% [markdown]
# $G$ could make $\log(1 - D(G(z)))$ small. But while its pictures are bad, $D$ is sure, and there this function is flat: the
# generator would learn least when it needs it most. So one gives it $L_G = -\log D(G(z))$ instead, which pulls in the same
# direction and is steep there. This is the **non-saturating** loss (section 3 of the paper). The gradients at some logits:

# %%
logits = torch.tensor([-8.0, -4.0, -2.0, 0.0, 2.0], requires_grad=True)
for name, loss in (
    ("log(1 - D)", -torch.nn.functional.softplus(logits)),
    ("-log D", torch.nn.functional.softplus(-logits)),
):
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    print(
        f"{name:11}",
        *(f"logit {at:+.0f}: {g:+.3f}  " for at, g in zip(logits.tolist(), gradient.tolist(), strict=True)),
    )

# %% [markdown]
# **Exercise 5.** Write the non-saturating loss, averaged over the batch.


# %% exercise
def my_generator_loss(fake_logits):
    """-log D(G(z)); logits have the shape (batch, 1)."""
    # solution
    return torch.nn.functional.softplus(-fake_logits).mean()
    # end


# %%
verdict(checks.check_generator_loss, my_generator_loss)

# %% [markdown]
# ## 4. One turn each
#
# For every batch each network has one turn. In its turn only that network moves:
#
# - **D's turn.** Make fakes, judge real and fake, go down $L_D$. The generator only lends its pictures: no gradient needs to
#   reach it, so the fakes are made under `torch.no_grad()`.
# - **G's turn.** Make new fakes, judge them, go down $L_G$. Here the gradient must pass *through* $D$ to reach $G$, but $D$ stays
#   as it is.
#
# A gradient that leaks into the wrong network is a common and silent mistake. So we look:


# %%
def weights_of(network):
    """A copy of all weights in one vector."""
    return torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])


d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))
g_optimizer = torch.optim.Adam(generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
g_before, d_before = weights_of(generator), weights_of(discriminator)
turn = discriminator_step(generator, discriminator, d_optimizer, real=real[:64], noise=torch.randn(64, 100))
print(
    f"D's turn: loss {turn.loss:.3f}; D moved: {not weights_of(discriminator).equal(d_before)}, "
    f"G moved: {not weights_of(generator).equal(g_before)}"
)
d_before = weights_of(discriminator)
loss = generator_step(generator, discriminator, g_optimizer, noise=torch.randn(64, 100))
print(
    f"G's turn: loss {loss:.3f}; D moved: {not weights_of(discriminator).equal(d_before)}, "
    f"G moved: {not weights_of(generator).equal(g_before)}"
)

# %% [markdown]
# Both losses begin near 0.693: $D$ knows nothing yet and answers about 1/2 to everything. So the same number can mean the end
# of a perfect game and the beginning of any game. Keep that in mind.
#
# **Exercise 6.** Write D's turn. The order matters: clear old gradients, go backward, step.


# %% exercise
def my_discriminator_turn(generator, discriminator, d_optimizer, *, real, noise):
    """One step of the discriminator; the generator gets no gradient."""
    # solution
    with torch.no_grad():
        fake = generator(noise)
    loss = my_discriminator_loss(real_logits=discriminator(real), fake_logits=discriminator(fake))
    d_optimizer.zero_grad()
    loss.backward()
    d_optimizer.step()
    # end


# %%
verdict(checks.check_discriminator_turn, my_discriminator_turn)

# %% [markdown]
# ## 5. Training
#
# Now all of it: fifty epochs of 4,800 pictures, drawn anew from the 8,000 every time, in batches of 64, with Adam at a learning rate of 0.0002 and $\beta_1 = 0.5$ (the values of DCGAN; the
# usual 0.9 remembers directions for so long that the two networks chase each other). `train_gan` in `gan_training.py` is the
# loop you now know. Every five epochs it keeps pictures of the same noise, and a checkpoint: if you interrupt it, the same
# cell goes on from there, as if it had never stopped. Delete `tutorial/runs` to start anew.
#
# This is the long cell: some minutes.

# %%
torch.manual_seed(0)
generator, discriminator = create_generator(latent_dim=100), create_discriminator()
d_losses, g_losses, generated_samples = train_gan(
    generator,
    discriminator,
    build_loader(real, batch_size=64, images_per_epoch=4800),
    num_epochs=50,
    device="cpu",
    learning_rate=0.0002,
    beta1=0.5,
    checkpoint_interval=5,
    folder=RUNS / "clothes",
)

# %% [markdown]
# ## 6. Reading the curves
#
# Above every step's loss is drawn thin, its running mean thick. The shaded band is where the loss of a healthy $D$ lives (rule
# of thumb of this project's [loss guide](../docs/loss-guide.md)), the dashed line is confusion, the dotted ones are the bounds of
# failure.

# %%
show(draw_loss_curves(d_losses, g_losses))

# %% [markdown]
# A game's losses do not fall like those of a classifier, for each is measured against an opponent that gets better too. $L_G$ may
# rise while the pictures improve. What counts is the balance:
#
# | $L_D$ | reading |
# | --- | --- |
# | below 0.1 | the game has collapsed: D knows everything, G learns little ("D overpowering") |
# | 0.1 to 0.4 | D leads; fine as long as the pictures get better |
# | 0.4 to 0.7 | healthy |
# | 0.693, standing still | equilibrium, *or a dead D* |
# | above 0.9 | D is wrong more often than by chance: the generator overpowers it ("D failure") |
# | many times its usual value, or not a number | divergence |

# %%
for name, losses in (("D", d_losses), ("G", g_losses)):
    print(name, "  ".join(f"{key} {value:.3f}" for key, value in loss_statistics(losses)._asdict().items()))
print(describe_findings(detect_failure_modes(d_losses, g_losses)))

# %% [markdown]
# The last line comes from the **doctor** of the audio model (`piano/doctor/rules.py`). It cuts a run into windows of a hundred
# steps and holds each against rules like those of the table; a rule speaks when it holds for three windows. Here it had the
# losses only. It can do more with what the run's log has besides: $D(x)$, $D(G(z))$, and the **diversity**, the mean distance between
# two generated pictures over that between two real ones. No loss contains that number.

# %%
windows = gan_windows(read_history(RUNS / "clothes"))
print(describe_findings(diagnose(windows)))
show(draw_windows(windows))

# %% [markdown]
# Is this an equilibrium? In theory training ends at $p_g = p_{data}$, with both answers at 1/2 and $L_D = 0.693$. With finite networks,
# finite data and turns of gradient steps nobody guarantees it (section 4.2 of the GAN paper assumes more), and most good
# GANs are stopped long before. So we check every condition apart:

# %%
print(describe_equilibrium(nash_equilibrium(windows)))

# %% [markdown]
# ## 7. How good are the pictures?
#
# First, look. Every column is one noise vector, every row five epochs later:

# %%
epochs = list(range(5, 51, 5))
show(draw_sample_grids(generated_samples, epochs))

# %% [markdown]
# Next, measure. A small classifier learns the ten classes from the real pictures. Then it looks at generated ones:
#
# - **confidence**: how sure it is. Blurred things between a shirt and a bag make it doubt.
# - **classes**: how many classes there are in effect ($e$ to the entropy of their shares). 10 is perfect; a generator that
#   makes only shoes has 3 at most.
# - **distance**: a kernel distance (Gretton et al. 2012, JMLR 13) between what the classifier sees in generated pictures and
#   in held-out real ones. 0 means the same distribution. The same idea with a larger network is called KID (arXiv 1801.01401).
# - **nearest**: how near they are to the nearest training picture, compared with pictures kept aside. Near 1 is
#   right; far below 1 would be copying.
#
# A number alone says little. Beside it stand real pictures that nobody learned from (as good as it gets) and an untrained
# generator (as bad).

# %%
classifier = train_classifier(data.training)
print(
    f"The classifier names {100 * accuracy(classifier, data.held_out):.0f} % of the pictures kept aside rightly."
)
ruler = QualityRuler(classifier, data)
torch.manual_seed(1)
many = make_images(generator, torch.randn(1000, 100))
quality = {
    "real, kept aside": ruler.measure(ruler.control),
    "generated, 50 epochs": ruler.measure(many),
    "untrained generator": ruler.measure(make_images(create_generator(), torch.randn(1000, 100))),
}
print(describe_quality(quality))
print(f"Distances up to {ruler.floor + 2 * ruler.floor_spread:.4f} are chance.")
print("Shares of the classes among generated pictures:")
print(
    ", ".join(
        f"{name} {100 * share:.0f} %"
        for name, share in zip(CLASS_NAMES, quality["generated, 50 epochs"].shares, strict=True)
    )
)

# %% [markdown]
# And how does $D$ see them? If $D$ gave held-out pictures much lower marks than training pictures, it would have learned
# the training set by heart: then its advice is no longer about clothes.

# %%
discriminator.eval()
with torch.no_grad():
    verdicts = {
        "training pictures": discriminator(real[:1000]),
        "pictures kept aside": discriminator(data.held_out.images[:1000]),
        "generated": discriminator(many),
        "noise": discriminator(torch.rand(1000, 1, 28, 28) * 2 - 1),
    }
for name, logits in verdicts.items():
    print(
        f"{name:20} mean probability of being real {logits.sigmoid().mean():.2f}, mean logit {logits.mean():+.2f}"
    )

# %% [markdown]
# ## 8. Breaking it on purpose
#
# One learns to read curves from sick runs. Here are short ones, two hundred and fifty steps each, with one fault apiece. First a healthy
# control, and a discriminator that learns twenty times as fast as the generator:

# %%
few = real[:3200]
broken = {}
for name in ("healthy", "eager D"):
    broken[name] = run_with_fault(FAULTS[name], few, RUNS / name.replace(" ", "_"))
    print(f"--- {name} ({FAULTS[name].words})")
    print(describe_findings(diagnose(broken[name].windows)), end="\n\n")
show(
    draw_loss_curves(broken["eager D"].trained.d_losses, broken["eager D"].trained.g_losses, title="eager D")
)

# %% [markdown]
# One more, a discriminator that does not learn at all. At first its loss is near 0.693, the number of the equilibrium, and
# then it climbs, for the generator learns to please a judge that knows nothing. In so short a run the losses alone are
# not enough for the doctor. What betrays it at once is that its weights do not move.

# %%
broken["frozen D"] = run_with_fault(FAULTS["frozen D"], few, RUNS / "frozen_D")
frozen = broken["frozen D"]
print(
    "From the losses alone:",
    describe_findings(detect_failure_modes(*frozen.trained[:2], steps_per_window=50)),
)
print("With everything:", describe_findings(diagnose(frozen.windows)))
print(describe_equilibrium(nash_equilibrium(frozen.windows)))

# %% [markdown]
# **Exercise 7.** Three runs, three faults, no names. Look at the curves and give each its diagnosis: `"D overpowering"`,
# `"D failure"` or `"mode collapse"`.

# %%
patients = {"A": "eager D", "B": "backward D", "C": "copying G"}
for name in ("backward D", "copying G"):
    broken[name] = run_with_fault(FAULTS[name], few, RUNS / name.replace(" ", "_"))
for letter, name in patients.items():
    means = broken[name].windows[-1].signals
    print(f"run {letter}:", "  ".join(f"{key} {value:.2f}" for key, value in means.items() if key != "moved"))

# %%
show(
    draw_images(
        {
            f"run {letter}": broken[name].trained.generated_samples[-1][:16]
            for letter, name in patients.items()
        }
    )
)

# %% exercise
diagnoses = {
    # solution
    "A": "D overpowering",
    "B": "D failure",
    "C": "mode collapse",
    # end
}

# %%
verdict(checks.check_diagnoses, diagnoses)

# %% [markdown]
# Now the doctor's opinion (look after you have answered):

# %%
for letter, name in patients.items():
    print(f"--- run {letter}")
    print(describe_findings(diagnose(broken[name].windows)), end="\n\n")

# %% [markdown]
# Often there is more than one finding, for one fault brings another: from a $D$ that knows everything, or that is always wrong,
# the generator learns nothing, and its pictures stay alike. The first or most critical one is where to begin. In run C the
# copies *are* the fault.
#
# What helps? Against an overpowering $D$: a lower rate for it, label smoothing (Salimans et al. 2016, arXiv 1606.03498), a gradient
# penalty (Mescheder et al. 2018, arXiv 1801.04406). Against a failing $D$: a higher rate, or two turns for each of $G$'s. Against
# mode collapse: a slower $G$, a $D$ that compares the pictures of a batch (minibatch discrimination, arXiv 1606.03498), or going back to
# an earlier checkpoint. Try one: copy a fault in `broken_runs.py`, change a number, run it.
#
# ## 9. From pictures to sound
#
# MusiGAN is a GAN too, but for sound. What is different, and what is the same?
#
# | | pictures | sound |
# | --- | --- | --- |
# | real | 784 pixels | a second has 16,000 samples, so an *encoder* first turns sound into a short sequence of 32 numbers, 16 times a second |
# | noise | 100 numbers for a picture | 32 numbers for each of those moments |
# | G | transposed convolutions | a transformer from noise to the sequence, a decoder from there to sound |
# | D | one | two: the *ear* hears sound, the *professor* reads the sequence |
# | beginning | at once with the game | first the encoder and decoder, then the transformer, then the game |
# | losses, their readings | $L_D$, $L_G$, 0.693, the bands | the same |
# | doctor | `diagnose(windows)` | the same function, on more signals |
#
# Let us train a very small one (`sound.yaml`) on made-up music: eight pieces of broken chords, a few hundred steps, 8,000
# samples a second. These are the commands one would type in a terminal.

# %%
SOUND, SETTINGS = RUNS / "sound", PROJECT / "tutorial" / "sound.yaml"
pieces = write_pieces(SOUND / "music", sample_rate=8000)
if not (SOUND / "checkpoints" / "metrics.jsonl").is_file():
    musigan("prepare", SOUND / "music", "--output", SOUND / "prepared", "--config", SETTINGS, "--workers", 1)
    musigan("dataset", "--input", SOUND / "prepared", "--output", SOUND / "dataset", "--config", SETTINGS)
    musigan(
        "train",
        "--config",
        SETTINGS,
        "--dataset",
        SOUND / "dataset",
        "--checkpoints",
        SOUND / "checkpoints",
        lines=2,
    )
play(pieces[0], seconds=4)

# %% [markdown]
# That was a piece it learned from. And this is what it makes of noise after so short a time:

# %%
if not list((SOUND / "made").glob("*.wav")):
    musigan(
        "generate",
        "--config",
        SETTINGS,
        "--checkpoints",
        SOUND / "checkpoints",
        "--seconds",
        4,
        "--count",
        1,
        "--output",
        SOUND / "made",
        lines=1,
    )
play(next((SOUND / "made").glob("*.wav")), seconds=4)

# %% [markdown]
# The run wrote a `metrics.jsonl` like ours above, a line a step. The doctor looked at it while it ran; now we read it
# ourselves. There are two games, one for each judge. The signals have their names before them (`professor_dn` is the
# professor's loss, corrected for label smoothing); `judge_windows` takes them off, and what is left is what we know.

# %%
sound_windows = windows_of(read_history(SOUND / "checkpoints"))
print("stages:", ", ".join(dict.fromkeys(window.stage for window in sound_windows)))
print(describe_findings(diagnose(sound_windows)))
for judge in ("professor_", "ear_"):
    print(f"--- {judge.removesuffix('_')}")
    for window in judge_windows(sound_windows, judge):
        numbers = "  ".join(f"{name} {value:.2f}" for name, value in sorted(window.signals.items()))
        print(f"step {window.step:4} ({window.stage}): {numbers}")
show(draw_windows(judge_windows(sound_windows, "professor_"), title="the professor's game"))

# %% [markdown]
# The same curves, the same bounds, the same questions: does a judge lead, and by how much? Is it at 0.693 because the game is
# level, or because it has learned next to nothing in so few steps? Do not expect much of a toy: it learned a tone colour, not
# music. Beside it, the model that comes with the project, after two hours on one core, with real piano music:

# %%
if holds_shipped(shipped_folder()):
    if not list((SOUND / "shipped").glob("*.wav")):
        musigan(
            "generate",
            "--checkpoints",
            "shipped",
            "--seconds",
            6,
            "--count",
            1,
            "--seed",
            3,
            "--output",
            SOUND / "shipped",
            lines=1,
        )
    display(play(next((SOUND / "shipped").glob("*.wav")), seconds=6))
else:
    print("No model in checkpoints/shipped: make one with `musigan demo`.")

# %% [markdown]
# ## Where to go from here
#
# - `musigan demo` trains the audio model for ten minutes on twelve piano scores. Then look at its curves with what you know.
# - `musigan train --minutes 60` learns from your own music; see the [README](../README.md).
# - [docs/loss-guide.md](../docs/loss-guide.md) has every loss of the audio model and how to read it; `piano/doctor/checks.py` has
#   the doctor's rules, a function each.
# - Make these pictures better: all 8,000 in every epoch (`images_per_epoch=None`), 64 channels instead of 32 (`Generator(channels=64)`), and
#   look whether the distance of chapter 7 follows.

# %%
print(f"This notebook took {(time.monotonic() - started) / 60:.1f} minutes.")
