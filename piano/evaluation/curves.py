"""Training curves: metrics.jsonl to one small line chart for each number of each stage, as inline SVG."""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NOT_CURVES = {
    "stage",
    "event",
    "epoch",
    "step",
    "total_step",
    "stage_step",
    "seconds",
    "audio_seconds",
    "learning_rate",
}
WIDTH, HEIGHT = 320, 126
LEFT, TOP, BASELINE = 52, 8, 102
MOST_POINTS = 240

PLAIN_WORDS = {
    "reconstruction": "how far the autoencoder's copy is from the original; should fall and settle",
    "kl": "how much the latents say, in nats a frame; should settle at its target",
    "beta": "the price put on what the latents say; moves until kl meets its target",
    "flow": "error in guessing clean latents from noisy ones; should fall, never to zero",
    "ear_loss": "the ear's mistakes; 0.69 means it cannot tell real from made, near 0 that it always can",
    "professor_loss": "the professor's mistakes; 0.69 means it cannot tell real from made, near 0 that it always can",
    "ear_real": "the ear's verdict on real music; above 0 is right",
    "ear_fake": "the ear's verdict on made music; below 0 is right",
    "professor_real": "the professor's verdict on real music; should lie above its verdict on made music",
    "professor_fake": "the professor's verdict on made music",
    "training/pretrain_phase": "1 while the generator learns alone, without its judges",
    "training/adv_ramp": "share of its weight that the adversary has",
    "training/ear_d_loss": "the ear's mistakes alone, without penalties; 0.69 means it cannot tell",
    "training/ear_d_real": "the ear's probability that real music is real; one half when it cannot tell",
    "training/ear_d_fake": "the ear's probability that made music is real; one half when it cannot tell",
    "training/professor_d_loss": "the professor's mistakes alone, without penalties; 0.69 means it cannot tell",
    "training/professor_d_real": "the professor's probability that real music is real",
    "training/professor_d_fake": "the professor's probability that made music is real",
    "adversarial": "how well the generator is seen through; it and the judges pull against each other",
    "ear_adversarial": "how well the decoder is seen through by the ear",
    "ear_feature_matching": "difference inside the ear between real and made sound",
    "ear_reconstruction": "the copy's distance from the original while the ear listens; should not rise much",
    "energy_score": "distance of made latents from real ones, with a reward for variety",
}


class Curve(NamedTuple):
    """One number over one stage."""

    name: str
    minutes: NDArray[np.float64]
    """Training time of each point [shape=(steps,)]."""
    values: NDArray[np.float64]
    """[shape=(steps,)]"""


class Chart(NamedTuple):
    """Places of a curve in its picture."""

    points: str
    """Of the drawn line: "x,y x,y ..."."""
    low: float
    high: float


def stage_curves(history: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Gather every number that steps logged, by stage.

    Parameters
    ----------
    history : sequence of dict
        Lines of metrics.jsonl; lines with an `event` are no steps.

    Returns
    -------
    dict from stage to its curves, both in the order in which they first appear
    """
    gathered: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for entry in history:
        if "event" in entry or "stage" not in entry:
            continue
        numbers = gathered.setdefault(str(entry["stage"]), {})
        for name, value in entry.items():
            if name not in NOT_CURVES and isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault(name, []).append((float(entry.get("seconds", 0.0)) / 60, float(value)))
    return {
        stage: [Curve(name, *np.array(points, dtype=np.float64).T) for name, points in numbers.items()]
        for stage, numbers in gathered.items()
    }


def running_median(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Median over `width` neighbours, fewer at the ends [shape=(steps,)]: a lone spike does not bend it."""
    half = width // 2
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.nanmedian(windows, axis=1)


def smooth(curve: Curve) -> Curve:
    """The curve as it is drawn: medians over a twentieth of the stage, at most 240 points."""
    width = max(1, len(curve.values) // 20)
    kept = np.unique(np.linspace(0, len(curve.values) - 1, MOST_POINTS).round().astype(int))
    return Curve(curve.name, curve.minutes[kept], running_median(curve.values, width)[kept])


def place(curve: Curve) -> Chart:
    """Scale a curve to the picture, its smallest value at the bottom."""
    low, high = float(curve.values.min()), float(curve.values.max())
    start, end = float(curve.minutes[0]), float(curve.minutes[-1])
    xs = LEFT + (curve.minutes - start) / max(end - start, 1e-9) * (WIDTH - LEFT)
    ys = BASELINE - (curve.values - low) / max(high - low, 1e-12) * (BASELINE - TOP)
    return Chart(" ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True)), low, high)


def curve_svg(curve: Curve) -> str:
    """One chart as a figure with its words: title, the last value, what the number means.

    Parameters
    ----------
    curve : Curve
        With at least one point, all of them finite.

    Returns
    -------
    str
        HTML; colours come from the page.
    """
    drawn = smooth(curve)
    chart = place(drawn)
    last = drawn.values[-1]
    described = (
        f"{curve.name} from {drawn.values[0]:.3g} to {last:.3g}, within {chart.low:.3g} and {chart.high:.3g}"
    )
    meaning = PLAIN_WORDS.get(curve.name, "")
    note = f"<br><small>{escape(meaning)}</small>" if meaning else ""
    return (
        f'<figure class="curve"><figcaption><b>{escape(curve.name)}</b> <span>{last:.3g}</span>{note}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(described)}">'
        f'<line class="axis" x1="{LEFT}" y1="{BASELINE}" x2="{WIDTH}" y2="{BASELINE}"/>'
        f'<polyline points="{chart.points}"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{drawn.minutes[0]:.1f} min</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 8}" text-anchor="end">{drawn.minutes[-1]:.1f} min</text>'
        f'<text x="0" y="{TOP + 8}">{chart.high:.3g}</text>'
        f'<text x="0" y="{BASELINE}">{chart.low:.3g}</text></svg></figure>'
    )
