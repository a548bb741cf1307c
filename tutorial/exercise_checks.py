"""The checks of the exercises: each tells a right answer from the usual wrong ones, and says what is amiss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tutorial.discriminator_model import create_discriminator
from tutorial.gan_training import discriminator_loss
from tutorial.generator_model import create_generator


class NotYet(Exception):
    """An answer is missing or wrong; the message says what is amiss."""


def verdict(check: Callable[[Any], None], answer: Any) -> None:
    """Check an answer and print what came of it; a wrong answer never stops the notebook."""
    try:
        check(answer)
    except NotYet as error:
        print(f"Not yet: {error}")
    except Exception as error:  # the reader's code may fail in any way, and should then say how
        print(f"Not yet: your code stopped with {type(error).__name__}: {error}")
    else:
        print("Right.")


def _must(holds: bool, sentence: str) -> None:
    if not holds:
        raise NotYet(sentence)


def _given(value: Any) -> Any:
    _must(value is not None and value is not Ellipsis, "nothing is returned. Replace the three dots by your answer.")
    return value


def check_normalise(to_signal: Callable[[np.ndarray], Any]) -> None:
    """Exercise 1: grey values 0 to 255 become -1 to 1."""
    pixels = np.array([[0, 51, 255]], dtype=np.uint8)
    found = np.asarray(_given(to_signal(pixels)), dtype=np.float64)
    _must(found.shape == pixels.shape, f"the shape became {found.shape}; every pixel keeps its place.")
    low, high = found[0, 0], found[0, 2]
    _must(
        not (math.isclose(low, 0, abs_tol=1e-6) and math.isclose(high, 1, abs_tol=1e-6)),
        "your range is 0 to 1. The generator ends in tanh, whose range is -1 to 1.",
    )
    _must(
        math.isclose(low, -1, abs_tol=1e-6) and math.isclose(high, 1, abs_tol=1e-6),
        f"0 became {low:.3f} and 255 became {high:.3f}; they should become -1 and 1.",
    )
    _must(
        math.isclose(found[0, 1], -0.6, abs_tol=1e-6), "the ends are right, but between them it is not a straight line."
    )


def check_transposed_size(transposed_size: Callable[..., int]) -> None:
    """Exercise 2: the side of what a transposed convolution puts out."""
    for side, kernel, stride, padding in ((7, 4, 2, 1), (14, 4, 2, 1), (1, 7, 1, 0), (5, 3, 2, 0)):
        found = _given(transposed_size(side, kernel=kernel, stride=stride, padding=padding))
        layer = nn.ConvTranspose2d(1, 1, kernel, stride=stride, padding=padding)
        true = layer(torch.zeros(1, 1, side, side)).shape[-1]
        _must(
            found == true,
            f"side {side}, kernel {kernel}, stride {stride}, padding {padding}: PyTorch makes {true}, you say {found}.",
        )


def check_best_discriminator(best_discriminator: Callable[..., Any]) -> None:
    """Exercise 3: the best answer to a picture is p_data / (p_data + p_generator)."""
    even = float(_given(best_discriminator(p_data=0.2, p_generator=0.2)))
    _must(
        math.isclose(even, 0.5),
        f"where both sorts are equally frequent you answer {even:.3g}; nobody can do better than 1/2 there.",
    )
    found = float(best_discriminator(p_data=0.3, p_generator=0.1))
    _must(not math.isclose(found, 0.25), "that is the probability of a generated picture; D(x) is that of a real one.")
    _must(math.isclose(found, 0.75), f"a picture three times as frequent among real ones: 0.75, you say {found:.3g}.")
    never = float(best_discriminator(p_data=0.3, p_generator=0.0))
    _must(math.isclose(never, 1.0), "a picture that the generator never makes is surely real: the answer is 1.")


def check_discriminator_loss(loss: Callable[..., Tensor]) -> None:
    """Exercise 4: both halves of the discriminator's loss, and their mean."""
    zeros = torch.zeros(4, 1)
    confused = float(_given(loss(real_logits=zeros, fake_logits=zeros)))
    _must(
        not math.isclose(confused, 2 * math.log(2), rel_tol=1e-4),
        "at confusion you have 1.386 = 2 log 2: that is the sum of the two halves. Take their mean.",
    )
    _must(
        math.isclose(confused, math.log(2), rel_tol=1e-4),
        f"a discriminator whose logits are all 0 answers 1/2 and has log 2 = 0.693; yours has {confused:.3f}.",
    )
    sure = float(loss(real_logits=zeros + 5, fake_logits=zeros - 5))
    _must(
        sure < 0.05,
        f"a discriminator that is sure and right has almost no loss, yours has {sure:.2f}: the halves are swapped.",
    )
    real, fake = torch.tensor([[0.3], [2.0]]), torch.tensor([[-1.0], [0.5]])
    true = float(discriminator_loss(real_logits=real, fake_logits=fake))
    found = float(loss(real_logits=real, fake_logits=fake))
    _must(
        math.isclose(found, true, rel_tol=1e-4), f"on logits in between it should be {true:.4f}, yours is {found:.4f}."
    )
    extreme = loss(real_logits=zeros - 200, fake_logits=zeros)
    _must(bool(torch.isfinite(extreme)), "a logit of -200 makes it infinite. softplus takes the logarithm safely.")


def check_generator_loss(loss: Callable[[Tensor], Tensor]) -> None:
    """Exercise 5: the non-saturating form, which has a gradient when the generator is losing."""
    losing = torch.full((4, 1), -10.0, requires_grad=True)
    value = _given(loss(losing))
    _must(
        value.dim() == 0,
        f"a loss is one number; yours has the shape {tuple(value.shape)}. Take the mean over the batch.",
    )
    (gradient,) = torch.autograd.grad(value, losing)
    _must(
        float(gradient.abs().sum()) > 0.1,
        "where D is sure that a picture is fake (logit -10), your loss is almost flat: that is log(1 - D). Use -log D.",
    )
    _must(float(gradient.sum()) < 0, "going down your loss makes the discriminator surer. The sign is wrong.")
    _must(
        math.isclose(float(loss(torch.zeros(4, 1))), math.log(2), rel_tol=1e-4), "at a logit of 0 it should be 0.693."
    )


def check_discriminator_turn(turn: Callable[..., Any]) -> None:
    """Exercise 6: the discriminator moves, the generator neither moves nor gets a gradient."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, discriminator = create_generator(), create_discriminator()
        real, noise = torch.rand(8, 1, 28, 28) * 2 - 1, torch.randn(8, 100)
        before = [[p.detach().clone() for p in network.parameters()] for network in (generator, discriminator)]
        optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
        for parameter in discriminator.parameters():
            parameter.grad = torch.full_like(parameter, 100.0)  # left over from another step
        turn(generator, discriminator, optimizer, real=real, noise=noise)
    g_moved, d_moved = (
        max(float((p.detach() - old).abs().max()) for p, old in zip(network.parameters(), olds, strict=True))
        for network, olds in zip((generator, discriminator), before, strict=True)
    )
    _must(d_moved > 0, "the discriminator has not moved. Call backward() on the loss, then d_optimizer.step().")
    _must(
        d_moved < 5,
        "the gradients of an earlier step were still there. Call d_optimizer.zero_grad() before backward().",
    )
    _must(g_moved == 0, "the generator has moved. Only the discriminator learns in this turn.")
    _must(
        all(p.grad is None or not p.grad.any() for p in generator.parameters()),
        "a gradient has reached the generator. Make the fakes under torch.no_grad(), or detach() them.",
    )


RUN_NAMES = {"A": "D overpowering", "B": "D failure", "C": "mode collapse"}
"""What is wrong in the runs of exercise 7."""


def check_diagnoses(answers: Mapping[str, Any]) -> None:
    """Exercise 7: a name for each of three planted runs."""
    hints = {
        "A": "look at D's loss against its lower bound, and at how far D(x) and D(G(z)) are apart.",
        "B": "look at D's loss against its upper bound: is it right more often than by chance?",
        "C": "its losses stay within their bounds. Look at the one number that no loss contains.",
    }
    _given(answers)
    for run, name in RUN_NAMES.items():
        answer = answers.get(run)
        _must(answer is not None and answer is not Ellipsis, f"run {run} has no diagnosis yet.")
        _must(
            str(answer).strip().lower() == name.lower(),
            f"run {run} is not a case of '{answer}': {hints[run]} Choose among: {', '.join(RUN_NAMES.values())}.",
        )
