"""How the saved discriminators judge one generator's music, or every generator's, beside real music as a control.

With --all, a tournament: every generator before every discriminator. It rates both, says whether the judges pass their
controls and whether they forgot old fakes, names the strictest of them, and proposes a checkpoint (docs/tournament.md).
"""

import argparse
import csv
import math
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from piano.config_reader import load_config_from_yaml
from piano.evaluation.pictures import ChartLine, LineChart, chart_row
from piano.foundation import options as kinds
from piano.foundation.checkpoint_format import find_epoch, list_epochs, read_best
from piano.foundation.doors import fill, program
from piano.foundation.errors import CheckpointError, run_command
from piano.foundation.made_files import claim_results, write_bytes, write_json
from piano.foundation.options import make_output_folder
from piano.foundation.runtime import choose_threads
from piano.foundation.screen_text import (
    CommandParser,
    columns,
    counted,
    csv_cell,
    printable,
    text_table,
    tolerate_old_terminals,
    wrapped_lines,
)
from piano.judging.judgement_file import KEPT_NAME
from piano.judging.tournament import FakeSettings, Tournament, play, trained_judges
from piano.judging.tournament_pictures import draw_matrix, draw_ratings
from piano.judging.tournament_scores import FEWEST_STRICT, STRICT_SHARE, read_tournament
from piano.judging.tournament_text import join, ratings_csv, tables_text, tournament_text
from piano.judging.verdicts import Items, JudgeVerdict, RealClips, family_logits, real_clips, told_apart
from piano.piano_model import VariationalAttentionModel
from piano.utilities import load_generator

__all__ = ["Items", "JudgeVerdict", "family_logits", "interpret", "interpret_matrix", "main", "told_apart"]

CONFUSION = math.log(2.0)
FOOLED, STRICT = 0.35, 1.0
"""d_loss (label: real) below which a judge is fooled, and above which it is strict; log 2 is the confusion point."""
USELESS = 0.4
"""Mean probability of real music below which a judge is useless: its low opinion of fakes means nothing."""
WRONG_WAY = 0.4
"""A judge that ranks real music above fakes in no larger share of pairs prefers the fakes; 0.5 is guessing."""
EXAMPLE = """examples:
  {musigan check-discriminator} --gen-ckpt 690
  {musigan check-discriminator} --all --checkpoints trial --output trial/check
  {musigan check-discriminator} --all --steps auto

Broken off? The same command goes on where it stopped; judgements are kept in judged.jsonl of the output folder.
"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog=program("check-discriminator"), description=__doc__, epilog=fill(EXAMPLE))
    parser.add_argument(
        "--gen-ckpt", type=kinds.epoch, default="latest", help="the generator's epoch (default: latest)"
    )
    parser.add_argument("--all", action="store_true", help="every generator against every discriminator (default: off)")
    kinds.add_shared(parser, "--config", "--checkpoints")
    parser.add_argument("--output", type=Path, help="folder (default: check_discriminator inside the checkpoints)")
    parser.add_argument("--real", type=Path, help="real music: a data set folder, or sound files (default: as trained)")
    kinds.add_shared(parser, "--count", default=16, help="fakes, and real clips (default: %(default)s)")
    parser.add_argument(
        "--memory",
        type=kinds.positive_int,
        default=256,
        metavar="MB",
        help="what fakes may take at once (default: 256)",
    )
    kinds.add_shared(
        parser,
        "--steps",
        default=None,
        help="sampling steps of the fakes: a number or auto (default: auto; with --all 1, the judges' game)",
    )
    kinds.add_shared(parser, "--seed", type=kinds.any_seed, help="of the fakes (default: 0)")
    kinds.add_shared(parser, "--threads", "--overwrite")
    options = parser.parse_args(argv)
    if options.count < 2:
        parser.error("--count must be at least 2")
    if options.steps is None:
        options.steps = "1" if options.all else "auto"
    return options


def main(argv: list[str] | None = None) -> int:
    """Judge, and write table, pictures and interpretation."""
    options = parse_arguments(argv)
    tolerate_old_terminals()
    return run_command(lambda: check(options))


def check(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    torch.set_num_threads(options.threads or choose_threads())
    folder = options.checkpoints or load_config_from_yaml(options.config).checkpoint_folder
    output = options.output or folder / "check_discriminator"
    left_out: dict[str, str] | None = {} if options.all else None
    judges = trained_judges(folder, left_out)
    newest = find_epoch(folder, "generator", "latest" if options.all else options.gen_ckpt)
    make_output_folder(output)
    claim_results(  # judgements that were kept are only added to: they are no results
        output, ("verdicts.json",), command="check-discriminator", of=[folder], overwrite=options.overwrite
    )
    tournament = play(
        folder,
        list_epochs(folder, "generator") if options.all else [newest],
        judges,
        real_music(options, folder, newest),
        FakeSettings(options.count, options.seed, options.steps, memory=options.memory * 2**20),
        kept=output / KEPT_NAME,
        left_out=left_out,
    )
    if tournament.known_before:
        print(f"{counted(tournament.known_before, 'judgement')} known from before.")
    write_table(tournament.verdicts, output)
    text = report_tournament(tournament, folder, output) if options.all else report_one(tournament, output)
    write_bytes(output / "interpretation.txt", (text + "\n").encode())
    print(f"\n{wrapped_lines(text)}\n\nWritten to {printable(output)}")


def real_music(options: argparse.Namespace, folder: Path, newest: int) -> RealClips:
    """Music never trained on: what --real names, else the validation pairs of the run's data set."""
    source = options.real
    if source is None:
        written = folder / "config.yaml"
        source = load_config_from_yaml(written if written.is_file() else options.config).dataset_folder
    generator = newest_readable(folder, newest) if options.all else load_generator(folder, newest)
    return real_clips(source, generator, options.count, may_be_files=options.real is not None)


def newest_readable(folder: Path, newest: int) -> VariationalAttentionModel:
    """The newest generator up to an epoch that is not damaged: all of a run play music of one form."""
    reason: CheckpointError | None = None
    for epoch in reversed([epoch for epoch in list_epochs(folder, "generator") if epoch <= newest]):
        try:
            return load_generator(folder, epoch)
        except CheckpointError as error:
            reason = reason or error
    raise reason or CheckpointError(f"there is no generator in {printable(folder)}.")


def report_one(tournament: Tournament, output: Path) -> str:
    """Table and curve of one generator before all judges; returns the words."""
    print(table_text(tournament.verdicts))
    draw_curve(tournament.verdicts, output / "curve.png")
    return interpret(tournament.verdicts)


def report_tournament(tournament: Tournament, folder: Path, output: Path) -> str:
    """Tables and pictures of the tournament; returns the words."""
    judged, best = tournament.judged, read_best(folder)
    report = read_tournament(judged)
    # The strictest is one that passes its controls, if any does.
    heard = [row.epoch for row in report.judges if row.hears] or judged.judges
    strictest = [verdict for verdict in tournament.verdicts if verdict.discriminator_epoch in heard]
    text = tournament_text(
        report, best, clips=judged.fake.shape[-1], real=len(judged.files), left_out=tournament.left_out
    )
    text += f"\n\n{interpret_matrix(strictest)}"
    if not any(row.hears for row in report.judges):
        text += " It fails its controls, like all others."
    print(tables_text(report))
    draw_matrix(judged, output / "matrix.png")
    draw_ratings(report, best, output / "ratings.png")
    write_bytes(output / "ratings.csv", ratings_csv(report).encode("ascii"))
    names = {"strictest": strictest_judge(strictest), "ruler": best, "left_out": tournament.left_out}
    write_json(output / "tournament.json", plain(report._asdict() | names))
    return text


def plain(value: Any) -> Any:
    """Named tuples as dictionaries, for JSON."""
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


# --- words -----------------------------------------------------------------------------------------------------------


def interpret(verdicts: list[JudgeVerdict]) -> str:
    """What the epochs of one generator's judges mean, in plain sentences (judges that were trained, in order)."""
    first, last = verdicts[0], verdicts[-1]
    judges = counted(len(verdicts), "trained discriminator")
    lines = [
        f"Generator {first.generator_epoch} before {judges}: d_loss (label = real) from "
        f"{first.d_loss:.2f} (epoch {first.discriminator_epoch}) to {last.d_loss:.2f} "
        f"(epoch {last.discriminator_epoch}); log 2 = {CONFUSION:.2f} is the confusion point."
    ]
    sound = [verdict for verdict in verdicts if verdict.real_probability >= USELESS]
    if sound:
        lines.append(trend_sentence(sound))
    lines.append(control_sentence(last))
    if wrong := [verdict for verdict in verdicts if verdict.told_apart <= WRONG_WAY]:
        lines.append(wrong_way_sentence(wrong))
    useless = [verdict.discriminator_epoch for verdict in verdicts if verdict.real_probability < USELESS]
    if useless:
        lines.append(
            f"Discriminators that call real music fake are useless as judges, whatever they say of the fakes: "
            f"epochs {join(useless)}."
        )
    return "\n".join(lines)


def trend_sentence(verdicts: list[JudgeVerdict]) -> str:
    """What the losses do over the epochs."""
    losses = [verdict.d_loss for verdict in verdicts]
    if max(losses) < FOOLED:
        return "All losses are low: every discriminator takes the fakes for real. D does not learn."
    if min(losses) > STRICT:
        return "All losses are high: every discriminator sees through the fakes. G fails against all of them."
    if len(losses) < 3:
        return "Fewer than three usable discriminators: no trend can be seen."
    rise = float(np.polyfit(np.arange(len(losses)), losses, 1)[0]) * (len(losses) - 1)
    if rise > 0.1:
        fooled = [v.discriminator_epoch for v in verdicts[: len(verdicts) // 2 + 1] if v.d_loss < CONFUSION - 0.05]
        which = f" (it fooled epochs {join(fooled)})" if fooled else ""
        return f"The loss rises with the epoch: later discriminators are stricter{which}. That is a healthy arms race."
    if rise < -0.1:
        return (
            "The loss falls with the epoch: later discriminators are easier to fool than earlier ones. "
            "D is forgetting, or G has overtaken it."
        )
    if abs(float(np.mean(losses)) - CONFUSION) < 0.15:
        return (
            "The loss stays level near the confusion point: the game is balanced, or D does not learn; "
            "the control tells which."
        )
    return "The loss stays level."


def control_sentence(last: JudgeVerdict) -> str:
    """Whether the newest judge can tell real from made at all, and by what."""
    shown = (
        f"Control: the last one gives real music {last.real_probability:.2f}, these fakes {last.probability:.2f}, "
        f"and ranks real above fake in {last.told_apart:.0%} of pairs "
        f"(ear {last.ear_told_apart:.0%}, professor {last.professor_told_apart:.0%})"
    )
    if last.told_apart > 0.9:
        return f"{shown}: it tells them apart."
    if last.told_apart > 0.6:
        return f"{shown}: it tells them apart more often than not."
    if last.told_apart > WRONG_WAY:
        return f"{shown}: it cannot tell them apart (G is that good, or D has learned nothing: try --all)."
    return f"{shown}: it prefers the fakes."


def wrong_way_sentence(wrong: list[JudgeVerdict]) -> str:
    """What it means to tell apart fewer pairs than a coin does."""
    worst = min(wrong, key=lambda verdict: verdict.told_apart)
    return (
        "Told apart is the share of pairs with real above fake, and 0.5 is guessing: a judge far below ranks the wrong "
        f"way round: epochs {join(each.discriminator_epoch for each in wrong)}. Epoch {worst.discriminator_epoch} "
        f"takes the fake for the real one in {1.0 - worst.told_apart:.0%} of pairs."
    )


def interpret_matrix(verdicts: list[JudgeVerdict]) -> str:
    """Strictness of every judge over earlier generators, and the strictest of them."""
    strictness = strictness_of(verdicts)
    strictest = strictest_judge(verdicts)
    if strictest is None:
        return "No discriminator has an earlier generator to judge: save more epochs."
    newest = max(verdict.discriminator_epoch for verdict in verdicts)
    lines = [
        f"Strictness, the share of earlier generators whose fakes a judge ranks below real music: "
        f"{', '.join(f'{judge}: {share:.2f}' for judge, share in strictness.items())}.",
        f"The strictest discriminator is epoch {strictest}: keep it for ranking and for restarts.",
    ]
    if strictness.get(newest, 1.0) < FEWEST_STRICT:
        lines.append(
            f"The newest one forgot old fakes, or never knew them (strictness below {FEWEST_STRICT}): "
            "the players may be going in circles."
        )
    return "\n".join(lines)


def strictness_of(verdicts: list[JudgeVerdict]) -> dict[int, float]:
    """For each judge that has earlier generators: the share of them whose fakes it ranks below real music."""
    strictness = {}
    for judge in sorted({verdict.discriminator_epoch for verdict in verdicts}):
        seen = [v for v in verdicts if v.discriminator_epoch == judge and v.generator_epoch < judge]
        if seen:
            strictness[judge] = float(np.mean([v.told_apart >= STRICT_SHARE for v in seen]))
    return strictness


def strictest_judge(verdicts: list[JudgeVerdict]) -> int | None:
    """The strictest judge; of equally strict ones the one that sees through most fakes of all generators."""

    def sees_through(judge: int) -> float:
        return float(np.mean([v.told_apart for v in verdicts if v.discriminator_epoch == judge]))

    strictness = strictness_of(verdicts)
    return max(strictness, key=lambda judge: (strictness[judge], sees_through(judge), judge), default=None)


# --- tables and pictures ---------------------------------------------------------------------------------------------


def table_text(verdicts: list[JudgeVerdict]) -> str:
    """One line for each discriminator; the rest of the numbers is in verdicts.csv."""
    names = ["epoch", "fake: d_loss", "fake: prob.", "real: d_loss", "real: prob.", "told apart", "ear", "professor"]
    rows = [
        [
            str(v.discriminator_epoch),
            f"{v.d_loss:.3f}",
            f"{v.probability:.3f}",
            f"{v.real_d_loss:.3f}",
            f"{v.real_probability:.3f}",
            f"{v.told_apart:.2f}",
            f"{v.ear_told_apart:.2f}",
            f"{v.professor_told_apart:.2f}",
        ]
        for v in verdicts
    ]
    return text_table([names, *rows], width=columns(), indent="", left=())


def write_table(verdicts: list[JudgeVerdict], output: Path) -> None:
    """verdicts.csv and verdicts.json."""
    rows = [asdict(verdict) for verdict in verdicts]
    text = StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    write_bytes(output / "verdicts.csv", text.getvalue().encode("ascii"))
    write_json(output / "verdicts.json", rows)


def draw_curve(verdicts: list[JudgeVerdict], path: Path) -> Path:
    """d_loss and probability over epochs, fakes beside real music, and who tells them apart; confusion marked."""
    epochs = [verdict.discriminator_epoch for verdict in verdicts]

    def line(name: str, field: str, style: str) -> ChartLine:
        return ChartLine(name, epochs, [getattr(verdict, field) for verdict in verdicts], style)

    fakes = f"generator {verdicts[0].generator_epoch}"
    charts = [
        LineChart(
            "d_loss, label = real",
            [line(fakes, "d_loss", "o-"), line("real music", "real_d_loss", "s--")],
            ("confusion, log 2", CONFUSION),
        ),
        LineChart(
            "mean probability of being real",
            [line(fakes, "probability", "o-"), line("real music", "real_probability", "s--")],
            ("confusion", 0.5),
        ),
        LineChart(
            "pairs in which real is ranked above fake",
            [
                line("ear and professor", "told_apart", "o-"),
                line("ear", "ear_told_apart", "^:"),
                line("professor", "professor_told_apart", "v:"),
            ],
            ("guessing", 0.5),
        ),
    ]
    return chart_row(charts, path, x_label="discriminator epoch")


if __name__ == "__main__":
    raise SystemExit(main())
