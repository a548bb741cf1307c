"""How fast music is made: ours from noise to sound, RAVE's decoder where it is installed, Musika's figure as cited.

    python benchmarks/peer_speed.py
    python benchmarks/peer_speed.py --rave-python ~/rave/bin/python --threads 2

Random weights: cost, not quality. Every figure is seconds of sound per second of work on one machine, one after the
other: `tiny` (16 kHz mono) and `small` (44.1 kHz stereo) at sixteen steps (the default before the adversarial stages)
and at one (after them), each with sixteen phase iterations (the default) and with two; RAVE v1 and v2, 44.1 kHz mono,
decoder only: its latents are given, where ours are composed as well.

Musika is not on PyPI and is not measured here. Its row is *cited*: it was timed on another machine, two cores of an AMD
EPYC, and stands in the table with that word, as does RAVE's where --rave-python is not given.
How to install RAVE: peer_rave.py --help.
"""

import argparse
import sys
from pathlib import Path

import torch
from bench_generate import build, rate
from peer_common import dated, say, write_result
from peer_rave import ask_rave, check_rave

from piano.foundation.errors import run_command

PRESETS = ("tiny", "small")
SETTINGS = ((16, 16), (1, 16), (1, 2))
"""Sampling steps and phase iterations."""
RAVE_MODELS = ("v1", "v2")
RAVE_RATE = 44_100
CITED_RAVE = {"v1": 48.0, "v2": 61.0}
CITED_MUSIKA = "33-39"
CITED = "cited: another machine, two cores of an AMD EPYC"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    title, examples, *notes = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        description="\n\n".join([title, *notes]),
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rave-python", type=Path, help="Python in which RAVE is installed (default: RAVE's figures are cited)")
    add("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    add("--seconds", type=float, default=30.0, help="of ours at once (default: %(default)g)")
    add("--rave-seconds", type=float, default=10.0, help="of RAVE at once (default: %(default)g)")
    add("--runs", type=int, default=3, help="of each timing, the best counts (default: %(default)s)")
    add("--output", type=Path, default=Path("peer_results/speed.json"), help="result (default: %(default)s)")
    options = parser.parse_args(argv)
    if min(options.threads, options.runs) < 1 or min(options.seconds, options.rave_seconds) <= 0:
        parser.error("--threads, --runs, --seconds and --rave-seconds must be positive")
    return options


def time_ours(options: argparse.Namespace) -> dict[str, float]:
    """Times real time, by preset and settings."""
    torch.set_num_threads(options.threads)
    rates = {}
    for preset in PRESETS:
        generator = build(preset)
        sound = f"{generator.sample_rate / 1000:g} kHz {'stereo' if generator.sound_channels == 2 else 'mono'}"
        for steps, iterations in SETTINGS:
            rate(generator, 5.0, steps, iterations)
            best = max(rate(generator, options.seconds, steps, iterations) for _ in range(options.runs))
            name = f"MusiGAN `{preset}`, {sound}, {steps} step{'s' * (steps > 1)}, {iterations} phase iterations"
            rates[name] = best
            say(f"{name}: {best:.1f} x real time")
    return rates


def time_rave(options: argparse.Namespace) -> dict[str, float]:
    """Times real time of RAVE's decoders."""
    words = [
        "--threads",
        options.threads,
        "--sample-rate",
        RAVE_RATE,
        "--seconds",
        options.rave_seconds,
        "--runs",
        options.runs,
        "--models",
        *RAVE_MODELS,
    ]
    return ask_rave(options.rave_python, ["speed", *(str(word) for word in words)])


def compare(options: argparse.Namespace) -> None:
    """Time everything, tell."""
    if options.rave_python:
        check_rave(options.rave_python)
    say("== ours (about 2 min)")
    ours = time_ours(options)
    say("== RAVE (about 1 min)")
    rave = time_rave(options) if options.rave_python else CITED_RAVE
    how = "measured" if options.rave_python else CITED
    rows = [(name, f"{value:.0f}x", "measured") for name, value in ours.items()]
    rows += [(f"RAVE {name}, 44.1 kHz mono, decoder only", f"{value:.0f}x", how) for name, value in rave.items()]
    rows.append(("Musika, 44.1 kHz stereo", f"{CITED_MUSIKA}x", CITED))
    print(dated(f"{options.threads} threads, seconds of sound per second"))
    print("\n".join(f"| {' | '.join(row)} |" for row in [("", "speed", "how"), ("---", "---", "---"), *rows]))
    write_result(
        options.output,
        {
            "what": f"times real time, {options.threads} threads",
            "options": vars(options),
            "ours": ours,
            "rave": rave,
            "rave_is": how,
            "musika": CITED_MUSIKA,
            "musika_is": CITED,
        },
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_arguments(argv)
    return run_command(lambda: compare(options))


if __name__ == "__main__":
    sys.exit(main())
