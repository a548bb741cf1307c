"""What was heard of a radio becomes a take, with a receipt by which `musigan reproduce` plays it once more.

The receipt holds the moves of the controls with their samples. A radio that goes on from a sound of the visitor cannot
be made again by it, and the take says so.
"""

import json
from typing import Any

import numpy as np

from piano.foundation import bounds
from piano.foundation.audio_writer import open_writer
from piano.foundation.doors import command
from piano.foundation.errors import AudioError
from piano.foundation.made_files import publish_together, unfinished
from piano.foundation.model_folder import project_name
from piano.foundation.receipt import LONGEST_COMMENT, RadioMove, RadioPart, Receipt, discreet_name, own_versions
from piano.play.library import Library, Take
from piano.play.models import Models
from piano.play.radio_work import Moved, RadioWork, first_needed

LEAST_SECONDS = 1.0
MOST_MOVES = 1000
EXACT = f"`{command('reproduce', 'FILE')}` plays it once more, sample by sample."
NEARLY = f"`{command('reproduce', 'FILE')}` plays it once more, up to rounding: loops or threads changed meanwhile."
WITH_SOUNDS = "It cannot be made again: the radio went on from a sound, or took its style. It is kept as it was heard."
TOO_MANY = "It cannot be made again: the controls moved too often for its receipt. It is kept as it was heard."


def keep_heard(work: RadioWork, begin: int, end: int, *, library: Library, models: Models) -> Take:
    """Keep what was heard of a radio from one sample to another, or what there is of it.

    Raises
    ------
    AudioError
        That is less than a second.
    """
    rate = work.sample_rate
    sound = work.played(begin, end)
    if len(sound.pcm) < LEAST_SECONDS * rate:
        raise AudioError("there is less than a second of it to keep: let it play on.")
    moves = moves_of(work.moves(), sound.sample, sound.sample + len(sound.pcm), rate)
    receipt, again = receipt_of(work, moves, sound.sample, len(sound.pcm), models)
    live = told_live(work, moves, sound.sample, len(sound.pcm), again)
    comment = receipt.text() if receipt is not None else json.dumps({"musigan": "radio"} | live)[:LONGEST_COMMENT]
    last = moves[-1].wishes
    start = library.folder / f"radio_seed{last.seed}_piece_{last.piece:04d}"
    library.folder.mkdir(parents=True, exist_ok=True)
    path = start.with_name(f"{start.name}.flac")
    with unfinished(path) as temporary:
        channels = sound.pcm.shape[1]
        with open_writer(path, rate, channels, metadata={"comment": comment}, into=temporary) as writer:
            writer.write(sound.pcm.T.astype(np.float32) / 32768.0)
        (path,) = publish_together({".flac": temporary}, start)
    return library.add(
        path, name=f"Radio, seed {last.seed}, piece {last.piece + 1}", kind="radio", model=work.name, live=live
    )


def moves_of(history: list[Moved], begin: int, end: int, sample_rate: int) -> list[Moved]:
    """The moves that made what was heard from one sample to another, in the order in which they were asked for."""
    counts = [index for index, moved in enumerate(history) if moved.sample < end] or [0]
    return history[first_needed(history[: counts[-1] + 1], begin, sample_rate) : counts[-1] + 1]


def receipt_of(
    work: RadioWork, moves: list[Moved], begin: int, samples: int, models: Models
) -> tuple[Receipt | None, str]:
    """A receipt by which it can be played again, and a sentence about that; None where it cannot."""
    if any(isinstance(source, str) for moved in moves for source in _sources(moved)):
        return None, WITH_SOUNDS
    if len(moves) > MOST_MOVES:
        return None, TOO_MANY
    origin, content = moves[0].sample, models.content(work.name)
    folder, generator = models.folders[work.name], work.composer.generator
    first, ways = moves[0].wishes, work.ways(origin, begin + samples)
    receipt = Receipt(
        kind="sample",
        model=models.hash(work.name),
        folder=project_name(folder) or discreet_name(folder),
        epoch=content["epoch"],
        seed=first.seed,
        item=first.piece if first.piece < bounds.COUNT.high else 0,
        seconds=samples / work.sample_rate,
        steps=work.steps_of(first),
        phase_iterations=first.phase_iterations,
        radio=RadioPart(begin=begin - origin, moves=[_plain(work, moved, origin) for moved in moves]),
        device=generator.device.type,  # type: ignore[arg-type]
        dtype=str(work.composer.sampling.dtype).removeprefix("torch."),  # type: ignore[arg-type]
        threads=max(way.threads for way in ways),
        versions=own_versions()
        | ({} if all(way.is_compiled for way in ways) else {"loops": "torch"}),  # it may be older than the loops
    )
    if len(receipt.text()) > LONGEST_COMMENT:
        return None, TOO_MANY
    is_float32 = receipt.dtype == "float32"
    is_exact = len({(way.is_compiled, way.threads if is_float32 else None) for way in ways}) == 1
    return receipt, EXACT if is_exact else NEARLY


def _sources(moved: Moved) -> tuple[int | str | None, ...]:
    return (moved.wishes.prompt, *(moved.wishes.between or ()))


def _plain(work: RadioWork, moved: Moved, origin: int) -> RadioMove:
    wishes = moved.wishes
    return RadioMove(
        at=moved.sample - origin,
        end=max(moved.end - origin, 0),
        seed=wishes.seed,
        piece=wishes.piece,
        surprise=wishes.surprise,
        near=wishes.near,
        between=wishes.between,  # type: ignore[arg-type]  # no sounds among them
        blend=wishes.blend,
        wander_seconds=wishes.wander_seconds,
        steps=work.steps_of(wishes),
        phase_iterations=wishes.phase_iterations,
    )


def told_live(work: RadioWork, moves: list[Moved], begin: int, samples: int, again: str) -> dict[str, Any]:
    """What was asked of a radio, for a table."""
    rate, last = work.sample_rate, moves[-1].wishes
    return {
        "kind": "radio",
        "model": work.name,
        "seed": last.seed,
        "piece": last.piece,
        "seconds": round(samples / rate, 3),
        "first_sample": begin,
        "moves": [
            {"sample": each.sample} | each.wishes.model_dump(exclude_defaults=True) for each in moves[-MOST_MOVES:]
        ],
        "again": again,
    }
