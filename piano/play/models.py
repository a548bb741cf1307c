"""The models that visitors may choose: names for folders, loaded when they are first asked for."""

import threading
from pathlib import Path
from typing import Any, NamedTuple

from piano.foundation.errors import CheckpointError
from piano.foundation.model_folder import named_folder, project_models, project_name
from piano.foundation.screen_text import printable


class StyleMap(NamedTuple):
    """The styles of the music that a model learned from, as points on a plane; see `style_map`."""

    points: list[tuple[float, float]]
    """Each number from 0 to 1, evenly spread: its rank along the first two directions in which styles differ."""
    tempo: list[float]
    """Beats a minute."""
    energy: list[float]
    """How much moves, by rank from 0 to 1."""
    has_keys: bool
    """Whether new music can be asked for a key."""


class Models:
    """Folders of models by the names that visitors see; no other folder can be reached.

    Parameters
    ----------
    folders : dict of str to Path
        The first one is played unless another is asked for.
    device : str
        auto, cpu, cuda or mps.
    """

    def __init__(self, folders: dict[str, Path], *, device: str = "cpu") -> None:
        self.folders = folders
        self._device = device
        self._loaded: dict[str, Any] = {}
        self._contents: dict[str, dict[str, Any]] = {}
        self._maps: dict[str, StyleMap] = {}
        self._hashes: dict[str, str] = {}
        self._kernels: Any = None
        self._lock = threading.Lock()

    @property
    def default(self) -> str:
        """The name of the model that is played unless another is asked for."""
        return next(iter(self.folders))

    def is_loaded(self, name: str) -> bool:
        """Whether it can play at once."""
        return name in self._loaded

    def get(self, name: str) -> Any:
        """The composer of a model; loads it the first time, which takes a second or two.

        Raises
        ------
        CheckpointError
            There is no such model, or it is damaged.
        """
        if name not in self.folders:
            raise CheckpointError(
                f"there is no model {printable(name)[:40]} here: there are {', '.join(self.folders)}."
            )
        if (composer := self._loaded.get(name)) is not None:  # who composes never waits for another model to load
            return composer
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def use_compiled_loops(self) -> None:
        """From now on `get` gives composers with the compiled loops; a radio that plays goes on with them.

        Call it where `foundation.compiled.is_ready`: else this waits.
        """
        from piano.composer import Composer
        from piano.foundation import compiled

        kernels = compiled.kernels()
        with self._lock:
            self._kernels = kernels
            for name, old in self._loaded.items():
                self._loaded[name] = Composer(old.generator, old.sampling, kernels=kernels)

    def content(self, name: str) -> dict[str, Any]:
        """What the checkpoint of a loaded model holds beside its weights."""
        self.get(name)
        return self._contents[name]

    def hash(self, name: str) -> str:
        """The hash of a model, for receipts; worked out once."""
        if name not in self._hashes:
            from piano.foundation.receipt import model_hash

            content = self.content(name)
            self._hashes[name] = model_hash(content.get("average") or content["model"], content["keywords"])
        return self._hashes[name]

    def styles(self, name: str) -> StyleMap:
        """The styles of the music that a model learned from."""
        composer = self.get(name)
        if name not in self._maps:
            self._maps[name] = style_map(composer.generator)
        return self._maps[name]

    def described(self) -> list[dict[str, Any]]:
        """What visitors may know of each model; what is not known before it is loaded is None."""
        told = []
        for name in self.folders:
            composer = self._loaded.get(name)
            generator = None if composer is None else composer.generator
            told.append(
                {
                    "name": name,
                    "title": _TITLES.get(project_name(self.folders[name]), name),
                    "sample_rate": None if generator is None else generator.sample_rate,
                    "channels": None if generator is None else generator.sound_channels,
                    "steps": None if composer is None else composer.steps,
                    "epoch": None if generator is None else self._contents[name]["epoch"],
                    "has_styles": None if generator is None else generator.style.is_fitted,
                    "is_loaded": generator is not None,
                }
            )
        return told

    def _load(self, name: str) -> Any:
        # With these comes PyTorch: a page is served before it is there.
        from piano.composer import Composer, Sampling
        from piano.foundation.runtime import choose_device, sampling_dtype
        from piano.utilities import build_generator, load_checkpoint

        device = choose_device(self._device)
        content = load_checkpoint(self.folders[name], "generator", "best")
        generator = build_generator(content, device=device)
        self._contents[name] = content
        return Composer(generator, Sampling(dtype=sampling_dtype(device)), kernels=self._kernels)


_TITLES = {"shipped": "Solo piano, stereo", "mixed": "Bands and all instruments"}


def chosen_folders(names: list[Path], default: Path | None) -> dict[str, Path]:
    """Folders of models by name: those that were named first, then those that come with the project.

    Parameters
    ----------
    names : list of Path
        Folders, or names of the project's models.
    default : Path, optional
        Where the config has its checkpoints; taken if it holds a model and nothing was named.
    """
    chosen: dict[str, Path] = {}
    for given in names or ([default] if default is not None else []):
        folder = named_folder(given)
        name = project_name(folder) or printable(folder.resolve().name)
        while name in chosen and chosen[name] != folder:
            name += "'"
        chosen[name] = folder
    return chosen | {name: folder for name, folder in project_models().items() if name not in chosen}


def style_map(generator: Any) -> StyleMap:
    """Points, tempo and energy of the styles that a generator draws from."""
    style = generator.style
    frequency, movement = style.tempo_and_movement()
    axes = [_ranks(style.anchors[:, axis]) for axis in range(min(2, style.style_dim))]
    return StyleMap(
        points=[(round(x, 4), round(y, 4)) for x, y in zip(axes[0], axes[-1], strict=True)],
        tempo=[round(60.0 * beat, 1) for beat in frequency.tolist()],
        energy=[round(rank, 3) for rank in _ranks(movement)],
        has_keys=style.chroma is not None,
    )


def _ranks(values: Any) -> list[float]:
    """Where each value stands among all, from 0 to 1."""
    order = values.argsort().argsort().tolist()
    return [place / max(len(values) - 1, 1) for place in order]
