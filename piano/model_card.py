"""The card of a model that is given away: what it learned from and how, how good it is, its limits, in the run's words.

Nothing is measured for it and nothing is guessed: what the files of the run do not say is said to be unknown.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import torch

from piano.config_reader import CONFIG_NAME, Config, load_config_from_yaml
from piano.foundation.checkpoint_format import read_best
from piano.foundation.dataset_format import SPLITS, DatasetManifest, dataset_identity, read_json_object, read_manifest
from piano.foundation.errors import MusiganError
from piano.foundation.model_folder import named_folder, project_name
from piano.foundation.music_amount import hours
from piano.foundation.run_log import read_history
from piano.foundation.score_words import JUDGED_AGAIN, RULER_VERSION, is_number, score_sentence
from piano.foundation.screen_text import counted, printable
from piano.foundation.sums import SUMS_NAME
from piano.licence import LICENCE_NAME, Licence
from piano.run_settings import Changes, changes, flatten
from piano.training.known_music import DATASET_NAME
from piano.watching.curves import find_stages, minutes_of

FRONT = "musigan"
"""How a card names the program: it is read elsewhere, whatever was typed to write it."""
CARD_NAME = "README.md"
"""As hosts of models show it."""
TAGS = ("musigan", "music", "audio", "audio-generation", "generative", "gan", "vae")
MACHINE_MADE = (
    f"Everything that comes out of this model is made by a machine. Sounds that `{FRONT} generate` writes say so in "
    "their receipt and in a field of the file (IPTC digital source type). Say so, too, where you publish them."
)
MEASURES = {"coverage": "coverage", "recall": "recall", "diversity": "diversity (real music: 1)"}
NOT_SETTINGS = (
    "presets",
    "checkpoint_folder_load",
    "start_from",
    "runtime",
    "training",
    "sample_count",
    "sample_seconds",
)
"""Places, and what says how a run was watched or where it ran: nothing that a model is like."""


class Run(NamedTuple):
    """What the files of a run's folder say; nothing where they are gone."""

    folder: Path
    config: Config | None
    history: list[dict[str, Any]]
    songs: dict[str, int]
    """How many, by split; empty where that is not known."""
    identity: str
    """Hash of the data set; empty: not known."""
    manifest: DatasetManifest | None
    """Of the very data set that was learned from, if it is still there."""


class Given(NamedTuple):
    """What is given away."""

    epoch: int
    keywords: dict[str, Any]
    parameters: int
    is_half: bool
    steps: int
    """Sampling steps that `auto` means."""
    has_discriminator: bool
    has_ends: bool
    """Whether it holds how pieces of its music end."""
    warning: str
    """A sentence about a model that cannot compose yet; empty for others."""
    licence: Licence
    about: str
    """What its owner says of the music that it learned from, in Markdown; empty: nothing."""
    samples: Sequence[str]
    """Names inside the folder, with `/`."""
    figures: Sequence[str]


def read_run(folder: Path) -> Run:
    """Gather what a run's folder says of itself; what cannot be read is left out."""
    config = manifest = None
    if (folder / CONFIG_NAME).is_file():
        try:
            config = load_config_from_yaml(folder / CONFIG_NAME)
        except MusiganError:
            config = None
    facts = _dataset_facts(folder)
    identity = str(facts.get("identity", ""))
    if config is not None and identity:
        try:
            found = read_manifest(config.dataset_folder)
            manifest = found if dataset_identity(found) == identity else None
        except MusiganError:
            manifest = None
    songs = facts.get("songs")
    counts = {split: len(songs[split]) for split in SPLITS if split in songs} if isinstance(songs, Mapping) else {}
    return Run(folder, config, read_history(folder), counts, identity, manifest)


def _dataset_facts(folder: Path) -> dict[str, Any]:
    try:
        return read_json_object(folder / DATASET_NAME)
    except (OSError, ValueError):
        return {}


def card_text(name: str, run: Run, given: Given) -> str:
    """The card as Markdown, with the header that hosts of models read.

    Parameters
    ----------
    name : str
        Of the model, for its heading.
    """
    title = _plain(name)
    parts = [
        header(given),
        f"# {title}\n\n{introduction(run, given)}",
        _section("Play it", usage(given)),
        _section("Hear it", _list(f"[{PurePosixPath(path).name}]({path})" for path in given.samples)),
        _section("What it learned from", data_words(run, given.about)),
        _section("How it learned", training_words(run, given)),
        _section("How good it is", score_words(run, given)),
        _section("Figures of the run", _list(f"[{PurePosixPath(path).name}]({path})" for path in given.figures)),
        _section("What it cannot do", limits(run, given)),
        _section("Licence", given.licence.words),
        _section("Check these files", checking()),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def header(given: Given) -> str:
    """The YAML header that Hugging Face reads: licence, library, tags."""
    lines = ["---", f"license: {given.licence.identifier}"]
    if given.licence.identifier == "other":
        lines += [f"license_name: {given.licence.name}", f"license_link: {LICENCE_NAME}"]
    return "\n".join([*lines, "library_name: musigan", "tags:", *(f"- {tag}" for tag in TAGS), "---", ""])


def introduction(run: Run, given: Given) -> str:
    """What it is, in two sentences."""
    keywords = given.keywords
    channels = "stereo" if keywords.get("sound_channels", 1) == 2 else "mono"
    precision = "matrices in half precision" if given.is_half else "single precision"
    warning = f"\n\n**Not finished:** {printable(given.warning)}." if given.warning else ""
    return (
        "A MusiGAN model: it makes music out of white noise, as raw sound, and goes on from a fragment. "
        f"Its sound has {keywords['sample_rate']:,} Hz, {channels}. It has {counted(given.parameters, 'parameter')} "
        f"({precision}).\n\n{MACHINE_MADE}{warning}"
    )


def usage(given: Given) -> str:
    """How to play it."""
    judges = (
        "`discriminator.safetensors` has the judges, which fine-tuning goes on with." if given.has_discriminator else ""
    )
    return (
        "With MusiGAN installed, from the folder that holds this one:\n\n```bash\n"
        f"{FRONT} generate --checkpoints FOLDER\n"
        f"{FRONT} generate --checkpoints FOLDER --prompt fragment.mp3\n"
        f"{FRONT} train --from FOLDER --minutes 10 --checkpoints mine\n```\n\n"
        f"`generator.safetensors` holds epoch {given.epoch}: numbers and a header, never code. It plays in "
        f"{counted(given.steps, 'sampling step')} unless asked otherwise. {judges}"
    ).rstrip()


def data_words(run: Run, about: str) -> str:
    """The music: what its owner says of it, and what the run's own files know."""
    lines = []
    for split in SPLITS:
        if split not in run.songs:
            continue
        use = "learned from" if split == "training" else "kept to measure with, never learned from"
        time = f", {time_words(60 * hours(run.manifest, split))} of music" if run.manifest else ""
        lines.append(f"- {counted(run.songs[split], 'song')}{time}: {use}")
    if run.manifest:
        channels = counted(run.manifest.channels, "channel")
        lines.append(
            f"- prepared at {run.manifest.sample_rate:,} Hz with {channels}, in segments of "
            f"{run.manifest.segment_seconds:g} s"
        )
        if run.manifest.is_split_inside:
            lines.append("- one recording only: its end was kept to measure with")
    about = about.strip() or "What music it is, and who made it, nobody has said: no file of a run does."
    if not lines:
        return f"{about}\n\nHow much music it was, the files of the run do not say."
    if run.identity:
        lines.append(f"- identity of the data set: `{_code(run.identity)[:64]}`")
    gone = "" if run.manifest else "\n\nThe data set is no longer where the run found it, so its hours are not known."
    return "\n".join([about, "", *lines]) + gone


def training_words(run: Run, given: Given) -> str:
    """How long, in which stages, with which settings."""
    lines = []
    steps = [entry for entry in run.history if isinstance(entry.get("total_step"), int)]
    if steps:
        minutes = max(map(minutes_of, run.history))
        reached = max((minutes_of(line) for line in run.history if line.get("epoch") == given.epoch), default=0.0)
        lines.append(
            f"The run learned for {time_words(minutes)}, {counted(max(line['total_step'] for line in steps), 'step')}; "
            f"this is its epoch {given.epoch}, reached after {time_words(reached)}."
        )
        stages = [
            f"| {stage.name} | {stage.end - stage.start:.1f} | {stage.steps} |" for stage in find_stages(run.history)
        ]
        lines.append("\n".join(["| stage | minutes | steps |", "| --- | --- | --- |", *stages]))
    else:
        lines.append("The run left no log, so how long it learned is not known.")
    if run.config is not None and run.config.start_from is not None:
        own = project_name(named_folder(run.config.start_from))
        lines.append(
            f"It went on from {f'`{own}`, a model that comes with MusiGAN' if own else 'another trained model'}."
        )
    lines.append(settings_words(run))
    lines.append(f"Exported by {software()}.")
    return "\n\n".join(line for line in lines if line)


def settings_words(run: Run) -> str:
    """The preset, and the settings unlike it; of paths nothing is told."""
    if run.config is None:
        return ""
    own = flatten(run.config.model_dump(mode="json"))
    own = {name: value for name, value in own.items() if name.split(".")[0] not in NOT_SETTINGS}
    found: Changes | None = changes(own)
    if found is None or not found.is_own:
        return f"Preset `{_code(own.get('preset'))}`, which this version of MusiGAN does not know."
    told = {name: pair for name, pair in found.values.items() if not is_place(pair[0])}
    if not told:
        return f"Settings: all as preset `{found.preset}` has them."
    rows = [f"| `{name}` | `{_code(here)}` | `{_code(usual)}` |" for name, (here, usual) in sorted(told.items())]
    head = f"Settings unlike preset `{found.preset}`:\n\n| setting | here | usual |\n| --- | --- | --- |\n"
    return head + "\n".join(rows)


def score_words(run: Run, given: Given) -> str:
    """The score of this epoch with its interval, as the run measured it."""
    best = read_best(run.folder)
    measured = [
        line
        for line in run.history
        if is_number(line.get("kernel_score"))
        and (given.epoch, line.get("event")) in ((line.get("epoch"), "score"), (line.get("best"), JUDGED_AGAIN))
    ]
    said = "The run did not measure this epoch."
    ruler: Any = None
    if measured:
        line, ruler = measured[-1], measured[-1].get("ruler")
        ends = [float(line[name]) for name in ("low", "high") if is_number(line.get(name))]
        interval = (ends[0], ends[1]) if len(ends) == 2 else None
        numbers = [line.get(name) if isinstance(line.get(name), int) else None for name in ("clips", "songs")]
        said = f"On music that it never learned from, it is {score_sentence(line['kernel_score'], interval, *numbers)}."
        if interval:
            said += f" The 95 % interval of the kernel score {line['kernel_score']:.3f} is {_ends(interval)}."
        if isinstance(line.get("steps"), int):
            said += f" Measured in {counted(line['steps'], 'sampling step')}."
        rows = [f"| {words} | {line[name]:.2f} |" for name, words in MEASURES.items() if is_number(line.get(name))]
        if rows:
            said += "\n\n" + "\n".join(["| measure | value |", "| --- | --- |", *rows])
    elif best is not None and best.epoch == given.epoch and best.kernel_score is not None:
        ruler, said = best.ruler, f"On music that it never learned from, it is {score_sentence(best.kernel_score)}."
    if ruler is not None:
        now = "" if ruler == RULER_VERSION else f" (now there is version {RULER_VERSION}: they cannot be compared)"
        said += f"\n\nMeasured by the run itself, with version {printable(ruler)} of MusiGAN's ruler{now}."
    return said


def limits(run: Run, given: Given) -> str:
    """What nobody should expect of it."""
    keywords = given.keywords
    lines = []
    if all(name in keywords for name in ("seq_len", "sample_rate")):
        seconds = keywords["seq_len"] / keywords["sample_rate"]
        lines.append(
            f"- It hears {seconds:.1f} s at once. That a theme returns and a piece ends is planned around the network: "
            "it repeats and varies, and develops nothing."
        )
    if given.has_ends:
        lines.append(
            "- It holds how some pieces of that music end, 4.5 s of each as latents: pieces are led to ends like these."
        )
    lines.append("- It knows the kind of music that it learned from, and nothing else.")
    lines.append(
        f"- It may repeat passages of that music. How near it comes to copying is measured by `{FRONT} evaluate` with "
        "`--train`; this export did not measure it."
    )
    verdict = _best_values(run.folder)
    if verdict.get("is_ruined") is True and isinstance(verdict.get("verdict"), str):
        lines.append(f"- The verdict on its own run: {_plain(verdict['verdict'].replace(str(run.folder), 'the run'))}")
    return "\n".join(lines)


def checking() -> str:
    """How to see that nothing was changed on the way."""
    return (
        f"`{SUMS_NAME}` has the hash of every file. Inside this folder:\n\n"
        f"```bash\nsha256sum --check {SUMS_NAME}\n```\n\n"
        f"With MusiGAN installed, `{FRONT} verify FOLDER` looks at more: whether the model loads, whether the samples "
        "are its own, and whether the first one can be made again."
    )


def time_words(minutes: float) -> str:
    """40 seconds, 14.5 minutes, 2.5 hours."""
    if minutes < 1.0:
        return counted(round(60 * minutes), "second")
    return counted(round(minutes, 1), "minute") if minutes < 90.0 else counted(round(minutes / 60.0, 1), "hour")


def software() -> str:
    """The program that wrote the card."""
    try:
        own = f"MusiGAN {version('musigan')}"
    except PackageNotFoundError:
        own = "MusiGAN, run from its folder"
    return f"{own}, with PyTorch {torch.__version__}"


def is_place(value: Any) -> bool:
    """Whether a setting's value is a path from the root: where somebody keeps files is not told."""
    return isinstance(value, str) and any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))


def _best_values(folder: Path) -> dict[str, Any]:
    try:
        return read_json_object(folder / "best.json")
    except (OSError, ValueError):
        return {}


def _section(title: str, text: str) -> str:
    return f"\n## {title}\n\n{text}" if text else ""


def _list(items: Any) -> str:
    return "\n".join(f"- {item}" for item in items)


def _ends(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _code(value: Any) -> str:
    """A value between back ticks, in a table."""
    return printable("none" if value is None else value).replace("`", "'").replace("|", "/")


def _plain(text: str) -> str:
    """Words that are no Markdown and no HTML."""
    return re.sub(r"([\\`*_<>\[\]#|])", r"\\\1", printable(text))
