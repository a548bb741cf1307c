"""Imports point down only: every module has a floor, and imports from lower floors alone.

docs/architecture.md has the reasons. A new module needs a row here, which is a decision about where it belongs.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

FLOORS: tuple[tuple[int, list[str]], ...] = (
    (1, ["piano.foundation"]),
    (2, ["piano.stages"]),
    (3, ["piano.config_reader", "piano.split_and_append_chunks", "piano.loss_functions"]),
    (3, ["piano.piano_encoder_decoder", "piano.discriminator", "piano.vae_utilities", "piano.update_checkpoint"]),
    (3, ["piano.latent_style"]),
    (3, ["piano.doctor"]),
    (
        4,
        [
            *("piano.piano_model", "piano.inference_copy", "piano.stream_state", "piano.song_form", "piano.composer"),
            "piano.run_settings",
        ],
    ),
    (4, ["piano.machine_limits", "piano.made_sounds"]),
    (4, ["data_prep"]),
    (5, ["piano.utilities", "piano.resumed_settings"]),
    (5, ["piano.play.radio", "piano.play.replay"]),
    (5, ["piano.best_of", "piano.file_gaps", "piano.infill", "piano.infill_files", "piano.loops"]),
    (5, ["piano.training"]),
    (6, ["piano.piano_train", "piano.piano_pretrain", "piano.piano_finetune"]),
    (6, ["piano.evaluation"]),
    (7, ["piano.judging"]),
    (7, ["piano.watching"]),
    (6, ["piano.generate_options"]),
    (8, ["piano.generate_music", "piano.player", "piano.reproduce", "piano.export_model", "piano.verify"]),
    (8, ["piano.licence", "piano.model_card", "piano.giveaway"]),
    (8, ["piano.exporting"]),
    (8, ["piano.piano_main", "piano.demo", "piano.evaluate", "piano.compare", "piano.check_discriminator"]),
    (11, ["tutorial.play"]),
    (9, ["piano.report", "piano.checkup", "piano.play", "tutorial"]),
    (10, ["musigan"]),
)
"""Floor and its rooms: modules, or folders with all they hold; a module that has a row of its own stands there.
`tutorial.play` is what a user writes."""
WINGS = [
    "piano.foundation",
    "data_prep",
    "tutorial",
    *(
        f"piano.{name}"
        for name in (
            "doctor",
            "training",
            "evaluation",
            "judging",
            "watching",
            "report",
            "checkup",
            "play",
            "exporting",
        )
    ),
]
"""Folders whose modules may import each other, without circles."""
CHAINS = [
    ["piano.piano_model", "piano.inference_copy", "piano.stream_state", "piano.song_form", "piano.composer"],
    ["piano.file_gaps", "piano.infill", "piano.infill_files", "piano.loops"],
    ["piano.piano_train", "piano.piano_pretrain", "piano.piano_finetune"],
    ["piano.generate_music", "piano.player", "piano.reproduce", "piano.verify"],
    ["piano.generate_music", "piano.licence", "piano.model_card", "piano.giveaway", "piano.export_model"],
    ["piano.evaluate", "piano.compare"],
    ["piano.evaluate", "piano.player"],
]
"""Modules of one floor of which each may import those before it."""
DOORS = ["piano.doctor.command", "piano.evaluation.report", "piano.evaluation.training_pictures"]
"""Commands where the documents once said they are: each starts one of a higher floor, and nothing imports it."""

WITHOUT_TORCH = [
    "data_prep",
    "piano.config_reader",
    "piano.foundation.audio_io",
    "piano.foundation.dataset_format",
    "musigan",
]


def project_modules() -> dict[str, Path]:
    """Every module of the project by its full name; packages hold nothing but a docstring and are left out."""
    paths = [
        PROJECT / "musigan.py",
        *(PROJECT / "piano").rglob("*.py"),
        *(PROJECT / "data_prep").rglob("*.py"),
        *(PROJECT / "tutorial").glob("*.py"),
    ]
    relative = {path: path.relative_to(PROJECT) for path in paths}
    return {
        ".".join(short.with_suffix("").parts): path for path, short in relative.items() if path.name != "__init__.py"
    }


MODULES = project_modules()


def for_types(tree: ast.Module) -> list[ast.stmt]:
    """What stands under `if TYPE_CHECKING`: type checkers read it, nothing is loaded."""
    return [
        line
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for line in node.body
    ]


def imports(path: Path, *, types: bool = False) -> set[str]:
    """Full names of the modules that a file imports, wherever in the file: when it runs, or for its types only."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for line in for_types(tree) for node in ast.walk(line)]
    for node in typing if types else (node for node in ast.walk(tree) if node not in typing):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports inside the project are absolute"
            base = node.module or ""
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return found


@cache
def our_imports(module: str) -> set[str]:
    """Modules of the project that one of them imports."""
    return {name for name in imports(MODULES[module]) if name in MODULES}


def inside(module: str, name: str) -> bool:
    """Whether a module is the one of that name, or lies in the folder of that name."""
    return module == name or module.startswith(f"{name}.")


def floor_of(module: str) -> int:
    """Floor of a module in the table."""
    for floor, names in FLOORS:
        if any(inside(module, name) for name in names):
            return floor
    pytest.fail(f"{module} has no floor: give it a row in FLOORS of tests/test_floors.py")


def may_import(module: str, name: str) -> bool:
    """Whether a module may import another: from lower floors, in its wing, or what comes before it in its chain."""
    if floor_of(name) < floor_of(module):
        return True
    in_one_wing = any(inside(module, wing) and inside(name, wing) for wing in WINGS)
    return in_one_wing or any(
        module in chain and name in chain and chain.index(name) < chain.index(module) for chain in CHAINS
    )


def reaches(module: str) -> set[str]:
    """Every module of the project that an import of this one brings in; itself too, if there is a circle."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = our_imports(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("module", sorted(MODULES.keys() - set(DOORS)))
def test_imports_point_down_only(module: str) -> None:
    wrong = [
        f"{module} (floor {floor_of(module)}) imports {name} (floor {floor_of(name)})"
        for name in sorted(our_imports(module))
        if not may_import(module, name)
    ]
    assert wrong == []


def test_imports_for_types_point_down_too() -> None:
    named = {module: imports(path, types=True) & MODULES.keys() for module, path in MODULES.items()}
    assert named["musigan"] == {"piano.player"}
    assert [(module, name) for module, names in named.items() for name in names if not may_import(module, name)] == []


def test_nothing_imports_a_door() -> None:
    assert MODULES.keys() >= set(DOORS)
    assert [module for module in MODULES if our_imports(module) & set(DOORS)] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_make_no_circle(module: str) -> None:
    assert module not in reaches(module)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("data_prep.")))
def test_preparation_knows_settings_and_the_foundation_but_no_model(module: str) -> None:
    ours = {name for name in our_imports(module) if not name.startswith(("data_prep.", "piano.foundation."))}
    assert ours <= {"piano.config_reader"}


@pytest.mark.parametrize("start", WITHOUT_TORCH)
def test_preparing_music_never_waits_for_pytorch(start: str) -> None:
    modules = [name for name in MODULES if name == start or name.startswith(f"{start}.")]
    assert modules
    libraries = {
        name.split(".")[0]
        for module in modules
        for used in {module} | reaches(module)
        for name in imports(MODULES[used])
    }
    assert not libraries & {"torch", "torchaudio", "lightning_fabric"}


def test_the_foundation_knows_no_room_above_it() -> None:
    above = {
        f"{module} imports {name}"
        for module in MODULES
        if module.startswith("piano.foundation.")
        for name in our_imports(module)
        if not name.startswith("piano.foundation.")
    }
    assert above == set()


def test_training_knows_no_judging_room() -> None:
    training = [name for name in MODULES if name.startswith("piano.training.")]
    training += ["piano.piano_train", "piano.piano_pretrain", "piano.piano_finetune"]
    above = ("piano.evaluation.", "piano.watching.", "piano.judging.", "piano.report.")
    assert [name for module in training for name in reaches(module) if name.startswith(above)] == []


def test_musigan_imports_nothing_but_the_table_of_verbs_and_the_errors() -> None:
    assert our_imports("musigan") == {"piano.foundation.doors", "piano.foundation.errors"}
    reached = set().union(*(reaches(module) for module in our_imports("musigan")))
    assert {module.rpartition(".")[0] for module in reached} == {"piano.foundation"}


def test_the_tables_name_no_room_that_is_gone() -> None:
    named = [name for _, names in FLOORS for name in names] + WINGS + [name for chain in CHAINS for name in chain]
    assert [name for name in named if not any(inside(module, name) for module in MODULES)] == []


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in [*(PROJECT / "piano").rglob("__init__.py"), PROJECT / "data_prep" / "__init__.py"]:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), f"{path} holds more than a docstring"
