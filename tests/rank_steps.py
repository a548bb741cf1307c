"""Two steps of every player in so many processes: what each would move by, for test_two_processes.

    python tests/rank_steps.py FOLDER PROCESSES

Leaves `steps.pt` in FOLDER: for each of VARIANTS the gradients, averaged over processes, the logged terms, the judges'
memory, and the first numbers of every item.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from piano.foundation.runtime import start_runtime
from piano.piano_pretrain import autoencoder_turn, draw_noisy_latents, draw_noisy_sounds, flow_turn
from piano.piano_train import (
    decoder_turn,
    draw_both,
    draw_compositions,
    draw_sounds,
    ear_turn,
    joint_ear_turn,
    joint_turn,
    professor_turn,
    shortcut_turn,
)
from piano.training.fitting import fit_normaliser, fit_spectrum, fit_style
from piano.training.game import Player, learn
from piano.training.run_keeper import compute_as, computing
from piano.training.schedules import Step
from piano.training.training_run import TrainingRun
from tests.tiny_run import start_run, tiny_config, tonal_pairs

MUSIC = ("no_seconds", "silence", "melody", "melody_d", "silence_d", "compute_std_d", "min_max_stats_d", "kl_songs_d")
VARIANTS = {"whole": (1, "32"), "in parts": (2, "32"), "bf16": (1, "bf16")}
"""Accumulation steps and precision."""


def main() -> None:
    folder, processes = Path(sys.argv[1]), int(sys.argv[2])
    runtime = start_runtime(device="cpu", precision="32", threads=2, devices=processes)
    weights = {f"loss_weights__{name}": 0.3 for name in MUSIC}
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    torch.set_num_threads(1)
    if processes > 1:
        group = runtime._group._get_backend(torch.device("cpu"))  # nothing public says it
        found["longest_wait_days"] = group.options._timeout.days
    with runtime.together(advice=""):
        for name, (parts, runtime.precision) in VARIANTS.items():
            config = tiny_config(
                folder / name,
                accumulation_steps=parts,
                runtime__devices=processes,
                batch_size=8,
                discriminator__wave_windows=[256],
                **weights,
            )
            run = start_run(config, runtime=runtime, pairs=tonal_pairs(10))
            found[f"{name}, own numbers"] = own_numbers(run)
            found[name] = steps_of(prepared(run))
        if runtime.is_main:
            torch.save(found, folder / "steps.pt")


def own_numbers(run: TrainingRun) -> Tensor:
    """What dropout would draw of: at the start, and after what a checkpoint restores [shape=(2, processes, 4)]."""
    kept = run.runtime.asked_of_main(lambda: computing(run.config, run.runtime))
    drawn = []
    for _ in range(2):
        drawn.append(run.runtime.gather(torch.rand(1, 4)))
        compute_as(kept, run.config, run.runtime)
    return torch.stack(drawn)


def prepared(run: TrainingRun) -> TrainingRun:
    """All that stages measure before they learn, and networks that no longer begin with silence."""
    networks = [run.generator, run.average.network]
    fit_spectrum(networks, run.data, seed=0)
    fit_normaliser(networks, run.data)
    fit_style(networks, run.data, frames=32, seed=0)
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for network in (run.generator, run.discriminator):
            for parameter in network.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=random)
    return run


def steps_of(run: TrainingRun) -> dict[str, Any]:
    """Gradients and terms of two steps of every player, without moving anything but the judges' memory."""
    networks, gradients = run.generator, {}
    ear, professor = run.discriminator.ear, run.discriminator.professor
    players = [
        ("autoencoder", "autoencoder", autoencoder_turn, networks.autoencoder),
        ("flow", "flow", flow_turn, networks.attention),
        ("ear", "ear", ear_turn, ear),
        ("ear", "decoder", decoder_turn, networks.autoencoder.decoder),
        ("professor", "professor", professor_turn, professor),
        ("professor", "shortcut", shortcut_turn, networks.shortcut),
        ("joint", "joint_ear", joint_ear_turn, ear),
        ("joint", "joint", joint_turn, nn.ModuleList([networks.shortcut, networks.autoencoder.decoder])),
    ]
    terms: dict[str, dict[str, Tensor]] = {}
    first_numbers: dict[str, Tensor] = {}
    for number, (stage, name, turn, learner) in enumerate(players):
        for index in range(2):  # with penalties, and without; no item is judged that is remembered already
            step = Step((run.config.seed, stage), 8 * number + index, 0.5)
            batches = drawn(run, step, stage)
            first_numbers[f"{name} {index}"] = numbers_of(batches, run)

            def keep(
                optimizer: Any, *, clip: float, place: str = f"{name} {index}", learner: nn.Module = learner
            ) -> Tensor:
                run.runtime.average_gradients(learner.parameters())
                gradients[place] = torch.cat(
                    [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in learner.parameters()]
                )
                for network in (run.generator, run.discriminator):
                    network.zero_grad(set_to_none=True)
                return gradients[place].norm()

            game = run.game(step)._replace(move=keep)
            optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
            found = learn(game, Player(name, optimizer, turn), batches)
            terms[f"{name} {index}"] = {
                key: run.runtime.mean(torch.as_tensor(value).float()) for key, value in found.items()
            }
    memory = {"queue": professor.minibatch.queue, "filled": professor.minibatch.filled}
    offsets = {"ear": run.discriminator.ear_offset, "professor": run.discriminator.professor_offset}
    return {"gradients": gradients, "terms": terms, "memory": memory | offsets, "numbers": first_numbers}


def drawn(run: TrainingRun, step: Step, stage: str) -> list[Any]:
    """The micro-batches of a step."""
    if stage == "autoencoder":
        return list(draw_noisy_sounds(run, step, beta=0.1))
    if stage == "flow":
        return list(draw_noisy_latents(run, step))
    if stage == "ear":
        return list(draw_sounds(run, step, stage))
    if stage == "professor":
        return list(draw_compositions(run, step, stage))
    return list(draw_both(run, step, stage, frames=32))


def numbers_of(batches: list[Any], run: TrainingRun) -> Tensor:
    """A few numbers of every item of a step, in the order of the whole batch."""
    tensors = [getattr(batch, "composition", batch) for batch in batches]
    fields = [batch.latents if hasattr(batch, "latents") else batch.waveforms for batch in tensors]
    return torch.cat([run.runtime.gather(field.flatten(1)[:, :4]) for field in fields])


if __name__ == "__main__":
    main()
