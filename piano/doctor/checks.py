"""The diagnoses: what each looks at, from when on it is sick, what it says, and what helps.

Every check sees the windows of the stage so far and the prefix of a judge, and reads the last window: a Reading, or
None where its signals are not there. The bounds are explained, and held against measured runs, in docs/doctor.md.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from piano.doctor.windows import (
    CONFUSION,
    JUDGES,
    Reading,
    Severity,
    Window,
    judge_name,
    loss_name,
    median,
    series_of,
    signal_of,
)

PATIENCE = 3
"""Sick windows in a row before a rule speaks, unless it says otherwise."""
STANDS_STILL = 1e-7
"""Of a network's weights in a window: less is what single precision rounds off, and no learning."""

Check = Callable[[Sequence[Window], str], Reading | None]
"""(windows of the stage so far, prefix of the judge) -> what it sees in the last of them; None: nothing to see."""


class Rule(NamedTuple):
    """One diagnosis: how it is seen and what helps."""

    name: str
    check: Check
    advice: str
    of_judges: bool = False
    """Whether it is asked of every judge apart."""
    patience: int = PATIENCE
    settings: tuple[str, ...] = ()
    """Last parts of the names of settings that bring it about when they are far from usual."""


# --- the game --------------------------------------------------------------------------------------------------------


def _overpowering(windows: Sequence[Window], judge: str) -> Reading | None:
    name = loss_name(windows, judge)
    loss = signal_of(windows, name)
    real, fake = signal_of(windows, f"{judge}d_real"), signal_of(windows, f"{judge}d_fake")
    if loss is None:
        return None
    accuracy = signal_of(windows, f"{judge}accuracy")
    is_certain = real is not None and fake is not None and real > 0.95 and fake < 0.05
    is_never_wrong = accuracy is not None and accuracy >= 0.98
    bound = 0.25 if is_never_wrong else 0.10
    if loss >= bound and not is_certain:
        return Reading(name, loss, bound)
    severity: Severity = "critical" if loss < 0.03 else "warning"
    says = (
        f"The {judge_name(judge)} tells real from generated almost without error, "
        "so the generator gets little to learn from."
    )
    return Reading(name, loss, bound, severity, says)


def _takes_leaps(windows: Sequence[Window], judge: str) -> bool:
    reading = _judge_divergence(windows, judge)
    return reading is not None and reading.severity is not None


def _judge_divergence(windows: Sequence[Window], judge: str) -> Reading | None:
    name = f"{judge}step_size"
    size, loss = signal_of(windows, name), signal_of(windows, loss_name(windows, judge))
    if size is None:
        return None
    # A judge that learns takes larger steps than one that is finished; wrong ones need less of a proof.
    bound = 0.005 if loss is not None and loss > 0.90 else 0.03
    wrong = " and is wrong more often than by chance" if loss is not None and loss > 0.90 else ""
    says = (
        f"The {judge_name(judge)} changes by {100 * size:.1f} % of its weights a step{wrong}: its steps are "
        "too large to learn anything, and what it tells the generator means nothing."
    )
    return Reading(name, size, bound, "critical" if size > bound else None, says)


def _judge_failure(windows: Sequence[Window], judge: str) -> Reading | None:
    name = loss_name(windows, judge)
    loss, moved = signal_of(windows, name), signal_of(windows, f"{judge}moved")
    probes, accuracy = signal_of(windows, f"{judge}probes"), signal_of(windows, f"{judge}accuracy")
    if moved is not None and moved <= STANDS_STILL:
        says = (
            f"The {judge_name(judge)}'s weights have not moved at all: it does not learn, "
            "and what it tells the generator means nothing."
        )
        return Reading(f"{judge}moved", moved, STANDS_STILL, "critical", says)
    if loss is not None and loss > 0.90 and not _takes_leaps(windows, judge):
        return Reading(name, loss, 0.90, "critical", f"The {judge_name(judge)} is wrong more often than by chance.")
    if accuracy is not None and accuracy < 0.25:
        says = (
            f"The {judge_name(judge)} has real and generated the wrong way round: "
            f"it prefers the real one in {100 * accuracy:.0f} % of all pairs."
        )
        return Reading(f"{judge}accuracy", accuracy, 0.25, "critical", says)
    if probes is not None and probes > 0.70:
        says = f"The {judge_name(judge)} takes noise, silence and a tone for real music."
        return Reading(f"{judge}probes", probes, 0.70, "critical", says)
    return None if loss is None else Reading(name, loss, 0.90)


def _vanishing(windows: Sequence[Window], judge: str) -> Reading | None:
    ratio, loss = (signal_of(windows, f"{judge}gradient_ratio"), signal_of(windows, loss_name(windows, judge)))
    if ratio is None or loss is None:
        return None
    is_sick = ratio < 1e-3 and loss < 0.10
    says = (
        f"What the {judge_name(judge)} tells the generator has all but no gradient: "
        "less than a thousandth of the other losses'."
    )
    return Reading(f"{judge}gradient_ratio", ratio, 1e-3, "critical" if is_sick else None, says)


def _oscillation(windows: Sequence[Window], judge: str) -> Reading | None:
    losses = series_of(windows, loss_name(windows, judge))[-20:]
    if len(losses) < 8:
        return None
    mean = sum(losses) / len(losses)
    deviation = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / len(losses))
    turns = _swings(losses, least=0.15)
    is_sick = deviation > 0.15 and turns >= 6
    says = (
        f"{judge_name(judge).capitalize()} and generator chase each other in circles: the loss swings by "
        f"{deviation:.2f} and turned {turns} times in {len(losses)} windows."
    )
    return Reading(f"{judge}dn_deviation", deviation, 0.15, "warning" if is_sick else None, says)


def _swings(values: Sequence[float], *, least: float) -> int:
    """How often a series turned, counting only ways of at least so much: neither noise nor one long slope counts."""
    turns, direction, extreme = 0, 0, values[0]
    for value in values[1:]:
        if direction and (value - extreme) * direction > 0.0:
            extreme = value
        elif abs(value - extreme) >= least:
            turns += direction != 0
            direction, extreme = (1 if value > extreme else -1), value
    return turns


def _judge_overfitting(windows: Sequence[Window], judge: str) -> Reading | None:
    share = signal_of(windows, f"{judge}overfitting")
    if share is None:
        return None
    says = (
        f"The {judge_name(judge)} knows its training music by heart: music it never learned from "
        "looks to it almost as false as generated music."
    )
    return Reading(f"{judge}overfitting", share, 0.6, "warning" if share > 0.6 else None, says)


# --- the music -------------------------------------------------------------------------------------------------------


def _mode_collapse(windows: Sequence[Window], judge: str) -> Reading | None:
    spread, songs = signal_of(windows, "diversity"), signal_of(windows, "kl_songs_d")
    if spread is not None and spread < 0.30:
        says = (
            f"What is generated from different noise is nearly the same: {100 * spread:.0f} % "
            "of the variety of real examples."
        )
        return Reading("diversity", spread, 0.30, "critical" if spread < 0.15 else "warning", says)
    losses = [loss for name in JUDGES if (loss := signal_of(windows, loss_name(windows, name))) is not None]
    if songs is not None and songs > 0.5 and any(0.4 <= loss <= 0.7 for loss in losses):
        return Reading("kl_songs_d", songs, 0.5, "warning", "The songs of a batch are far more alike than real ones.")
    return None if spread is None else Reading("diversity", spread, 0.30)


def _mode_dropping(windows: Sequence[Window], judge: str) -> Reading | None:
    spread = signal_of(windows, "noise_spread")
    if spread is None:
        return None
    before = series_of(windows, "noise_spread")[-3:]
    # A block that has just begun to compose in one step is near the mean, and leaves it.
    grows = len(before) == 3 and spread > before[0] + 0.01
    says = "Two continuations of the same beginning from different noise hardly differ: the noise is ignored."
    return Reading("noise_spread", spread, 0.2, "warning" if spread < 0.2 and not grows else None, says)


def _divergence(windows: Sequence[Window], judge: str) -> Reading | None:
    bad = signal_of(windows, "not_finite")
    if bad is not None and bad > 0:
        says = f"A loss or gradient was not a number in {bad:.0f} step{'s' if bad != 1 else ''}."
        return Reading("not_finite", bad, 0.0, "critical" if bad >= 3 else "warning", says)
    for name in sorted(windows[-1].signals):
        if name not in DIVERGING and name not in GENERATOR_NORMS:
            continue
        values = series_of(windows, name)
        bound = 10.0 if name in GENERATOR_NORMS else 5.0
        if len(values) < 3 or values[-1] != windows[-1].signals[name]:
            continue
        usual = median(values[:-1] if len(values) < 6 else values[: max(3, len(values) // 2)])
        if usual > 0.0 and values[-1] > bound * usual:
            says = f"{name} has grown to {values[-1] / usual:.0f} times what is usual here."
            return Reading(name, values[-1], bound * usual, "critical", says)
    has_judge = any(name.endswith("dn") for name in windows[-1].signals)
    for part in ("decoder", "shortcut"):
        size = signal_of(windows, f"{part}_step_size") if has_judge else None
        if size is not None and size > 0.01:
            says = (
                f"The {part} changes by {100 * size:.1f} % of its weights a step: it runs away from all it has learned."
            )
            return Reading(f"{part}_step_size", size, 0.01, "critical", says)
    return Reading("not_finite", bad or 0.0, 0.0) if bad is not None else None


GENERATOR_NORMS = ("gradient_norm", "decoder_gradient_norm", "shortcut_gradient_norm", "generator_gradient_norm")
"""A judge's own gradient grows as it gets sharper; that is no divergence."""
DIVERGING = ("reconstruction", "ear_reconstruction", "flow", "g_loss", "energy_score")
"""Losses of the generator that never grow in a healthy run."""


# --- the latent ------------------------------------------------------------------------------------------------------


def _posterior_collapse(windows: Sequence[Window], judge: str) -> Reading | None:
    dead, ratio, beta = (signal_of(windows, name) for name in ("kl_dead_share", "kl_ratio", "beta"))
    if dead is not None and dead > 0.5:
        says = f"{100 * dead:.0f} % of the latent's dimensions say nothing to the decoder."
        return Reading("kl_dead_share", dead, 0.5, "critical", says)
    rates = series_of(windows, "kl_ratio")[-3:]
    # At the beginning of a stage the rate is low and grows: an encoder that still learns is not ill.
    if ratio is not None and beta and ratio < 0.7 and len(rates) == 3 and ratio < 1.05 * rates[0]:
        says = (
            f"The latent says only {100 * ratio:.0f} % of what it should, and does not learn to say more: "
            "the weight of the KL term holds it down."
        )
        return Reading("kl_ratio", ratio, 0.7, "critical", says)
    if dead is not None:
        return Reading("kl_dead_share", dead, 0.5)
    return None if ratio is None else Reading("kl_ratio", ratio, 0.7)


def _posterior_explosion(windows: Sequence[Window], judge: str) -> Reading | None:
    ratio, beta = signal_of(windows, "kl_ratio"), signal_of(windows, "beta")
    if ratio is None or not beta:
        return None
    high = list(itertools.takewhile(lambda window: window.signals.get("kl_ratio", 0.0) > 1.5, reversed(windows)))
    # The controller raises beta by two per cent a step: given so many, it should have got there.
    is_sick = len(high) >= 10 and high[0].step - high[-1].step >= CONTROLLER_STEPS
    says = f"The latent says {ratio:.1f} times as much as it should, and nothing stops it."
    return Reading("kl_ratio", ratio, 1.5, "warning" if is_sick else None, says)


CONTROLLER_STEPS = 500


def _prior_hole(windows: Sequence[Window], judge: str) -> Reading | None:
    gap, losses = signal_of(windows, "prior_gap"), series_of(windows, "flow_training")
    if gap is None or len(losses) < 4:
        return None
    is_flat = losses[-1] > 0.98 * losses[-4]
    says = "Composed latents lie elsewhere than real ones, and the flow has stopped learning."
    return Reading("prior_gap", gap, 0.3, "warning" if gap > 0.3 and is_flat else None, says)


def _generator_overfitting(windows: Sequence[Window], judge: str) -> Reading | None:
    held_out, training = series_of(windows, "flow_validation"), series_of(windows, "flow_training")
    if len(held_out) < 4 or len(training) < 4 or "flow_validation" not in windows[-1].signals:
        return None
    rises = all(after > before for before, after in zip(held_out[-4:], held_out[-3:], strict=False))
    is_sick = rises and held_out[-1] > 1.02 * min(held_out) and training[-1] < training[-4]
    says = "The flow gets better on its training music and worse on music it never saw."
    return Reading("flow_validation", held_out[-1], 1.02 * min(held_out), "warning" if is_sick else None, says)


def _memorisation(windows: Sequence[Window], judge: str) -> Reading | None:
    copies, nearest = signal_of(windows, "copy_share"), signal_of(windows, "nearest_ratio")
    if copies is not None and copies > 0.05:
        says = f"{100 * copies:.0f} % of the passages are all but equal to training music."
        return Reading("copy_share", copies, 0.05, "critical", says)
    if nearest is not None:
        says = "What is generated lies much nearer to training music than other real music does."
        return Reading("nearest_ratio", nearest, 0.5, "critical" if nearest < 0.5 else None, says)
    return None if copies is None else Reading("copy_share", copies, 0.05)


# --- the data and the wiring -----------------------------------------------------------------------------------------


def _silent_data(windows: Sequence[Window], judge: str) -> Reading | None:
    share = signal_of(windows, "data_silent")
    if share is None:
        return None
    severity: Severity | None = "critical" if share > 0.5 else "warning" if share > 0.2 else None
    return Reading("data_silent", share, 0.2, severity, f"{100 * share:.0f} % of the training data is silence.")


def _one_song(windows: Sequence[Window], judge: str) -> Reading | None:
    songs = signal_of(windows, "data_songs")
    if songs is None:
        return None
    says = "All training examples come from one song: there is nothing to learn but that song."
    return Reading("data_songs", songs, 2.0, "warning" if songs < 2 else None, says)


def _wiring(windows: Sequence[Window], judge: str) -> Reading | None:
    for name, says in (
        ("wiring_leaks", "{:.0f} parameters of a network that was not to learn got a gradient or were moved."),
        ("wiring_still", "{:.0f} parameters of a network that was to learn got no gradient."),
    ):
        value = signal_of(windows, name)
        if value is not None and value > 0:
            return Reading(name, value, 0.0, "critical", says.format(value))
    leaks = signal_of(windows, "wiring_leaks")
    return None if leaks is None else Reading("wiring_leaks", leaks, 0.0)


def _equilibrium(windows: Sequence[Window], judge: str) -> Reading | None:
    name = loss_name(windows, judge)
    losses, spread = series_of(windows, name)[-5:], signal_of(windows, "diversity")
    real, fake = signal_of(windows, f"{judge}d_real"), signal_of(windows, f"{judge}d_fake")
    probes, moved = signal_of(windows, f"{judge}probes"), signal_of(windows, f"{judge}moved")
    if len(losses) < 5 or spread is None or real is None or fake is None or signal_of(windows, name) is None:
        return None
    is_balanced = 0.62 <= losses[-1] <= 0.76 and 0.42 <= real <= 0.58 and 0.42 <= fake <= 0.58
    is_still = abs(losses[-1] - losses[0]) / (len(losses) - 1) < 1e-3
    is_alive = (probes is None or probes < 0.3) and (moved is None or moved > STANDS_STILL)
    is_there = is_balanced and is_still and is_alive and spread >= 0.7
    says = (
        f"{judge_name(judge).capitalize()} and generator are level, and what is generated is varied: "
        "as good as this game gets."
    )
    return Reading(name, losses[-1], CONFUSION, "note" if is_there else None, says)


RULES: tuple[Rule, ...] = (
    Rule(
        "silent data",
        _silent_data,
        "Listen to the files, leave silent ones out, and prepare the data again.",
        patience=1,
    ),
    Rule(
        "one song only",
        _one_song,
        "Add more recordings; or fine-tune a trained model on the one there is (`{musigan train} --from shipped`).",
        patience=1,
    ),
    Rule(
        "wiring",
        _wiring,
        "A fault of the program, not of your data: `{musigan doctor} wiring` shows which network.",
        patience=1,
    ),
    Rule(
        "divergence",
        _divergence,
        "Lower learning_rate and learning_rate_disc, and go on from the last good checkpoint.",
        patience=1,
        settings=("learning_rate", "learning_rate_disc", "loss_weights"),
    ),
    Rule(
        "D divergence",
        _judge_divergence,
        "Lower learning_rate_disc, and go on from a checkpoint before the judges' stage.",
        of_judges=True,
        patience=1,
        settings=("learning_rate_disc",),
    ),
    Rule(
        "D overpowering",
        _overpowering,
        "Lower learning_rate_disc, raise penalty, update_discriminator: 2, or smoothing: 0.1.",
        of_judges=True,
        settings=("learning_rate_disc", "penalty", "update_discriminator", "smoothing", "learning_rate"),
    ),
    Rule(
        "vanishing generator gradient",
        _vanishing,
        "As for D overpowering; the relativistic objective keeps a gradient for longer.",
        of_judges=True,
        settings=("learning_rate_disc", "penalty", "update_discriminator", "smoothing", "learning_rate"),
    ),
    Rule(
        "D failure",
        _judge_failure,
        "Check that gradients reach the judge (`{musigan doctor} wiring`), raise learning_rate_disc, lower penalty.",
        of_judges=True,
        settings=("learning_rate_disc", "penalty", "update_discriminator", "smoothing", "learning_rate"),
    ),
    Rule(
        "oscillation",
        _oscillation,
        "Halve both learning rates, lengthen ema.",
        of_judges=True,
        settings=("learning_rate", "learning_rate_disc", "penalty"),
    ),
    Rule(
        "D overfitting",
        _judge_overfitting,
        "More music; lower learning_rate_disc; raise penalty.",
        of_judges=True,
        settings=("learning_rate_disc", "penalty"),
    ),
    Rule(
        "mode collapse",
        _mode_collapse,
        "Raise loss_weights.energy_score, lower learning_rate, raise penalty, or go back to an earlier epoch.",
        settings=("loss_weights", "learning_rate", "penalty"),
    ),
    Rule(
        "mode dropping", _mode_dropping, "Raise loss_weights.energy_score.", settings=("loss_weights", "learning_rate")
    ),
    Rule(
        "posterior collapse",
        _posterior_collapse,
        "Raise kl_target, and see that the weight of the KL term (beta) comes down.",
        settings=("kl_target", "learning_rate"),
    ),
    Rule(
        "posterior explosion",
        _posterior_explosion,
        "Lower the autoencoder's learning_rate, or give it more steps.",
        patience=1,
        settings=("kl_target", "learning_rate"),
    ),
    Rule(
        "prior hole",
        _prior_hole,
        "More steps for the flow, or a larger attention block.",
        settings=("share", "learning_rate", "num_layers", "attention_channels", "kl_target"),
    ),
    Rule(
        "G overfitting",
        _generator_overfitting,
        "More music, model.dropout 0.1, or fewer flow steps.",
        patience=1,
        settings=("dropout", "share"),
    ),
    Rule(
        "memorisation",
        _memorisation,
        "More music, fewer steps, model.dropout 0.1; `{musigan evaluate}` names the copied passages.",
        settings=("dropout", "share"),
    ),
    Rule(
        "Nash equilibrium",
        _equilibrium,
        "Nothing is wrong: lower the learning rates once more, or stop here.",
        of_judges=True,
        patience=5,
    ),
)
