"""Imports point down only: every module has a floor, and imports from lower floors alone.

docs/architecture.md has the reasons. A new module needs a row here, which is a decision about where it belongs.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

WING = "may import each other, without circles"
FLOORS: list[tuple[float, str, list[str]]] = [
    (1, WING, ["piano.foundation"]),
    (1.5, "", ["piano.stages"]),
    (2, "", ["piano.config_reader", "piano.split_and_append_chunks", "piano.loss_functions"]),
    (2, "", ["piano.piano_encoder_decoder", "piano.discriminator", "piano.vae_utilities", "piano.update_checkpoint"]),
    (2, "", ["piano.latent_style"]),
    (
        2,
        WING,
        [
            "piano.doctor.readings",
            "piano.doctor.checks",
            "piano.doctor.rules",
            "piano.doctor.signals",
            "piano.doctor.ranges",
            "piano.doctor.verdict",
        ],
    ),
    (2.5, "", ["piano.schedules"]),
    (3.1, "", ["piano.piano_model"]),
    (3.1, "", ["piano.time_budget"]),
    (3.1, "", ["piano.run_position"]),
    (3.12, "", ["piano.known_music"]),
    (3.12, "", ["piano.longer_run"]),
    (3.15, "", ["piano.run_keeper"]),
    (3.17, "", ["piano.run_screen"]),
    (3.19, "", ["piano.game"]),
    (3.2, "", ["piano.training_run"]),
    (3.3, "", ["piano.piano_train"]),
    (3.4, "", ["piano.piano_pretrain"]),
    (3.5, "", ["piano.piano_finetune", "piano.validation"]),
    (3.6, WING, ["piano.doctor.measure", "piano.doctor.remedies", "piano.doctor.live"]),
    (4, "", ["piano.utilities", "piano.machine_limits"]),
    (4, WING, ["data_prep"]),
    (4, WING, ["piano.evaluation.hearing", "piano.evaluation.clip_features", "piano.evaluation.distances"]),
    (4.1, "", ["piano.evaluation.metrics"]),
    (4.2, "", ["piano.evaluation.pictures"]),
    (
        4.2,
        WING,
        [
            "piano.evaluation.bootstrap",
            "piano.evaluation.set_scores",
            "piano.evaluation.paired",
            "piano.evaluation.descriptors",
            "piano.evaluation.lufs",
            "piano.evaluation.reconstruction",
            "piano.evaluation.measures",
            "piano.evaluation.music_folder",
        ],
    ),
    (
        4.3,
        WING,
        [
            "piano.evaluation.continuations",
            "piano.evaluation.learned_songs",
            "piano.evaluation.memorisation",
            "piano.evaluation.ruler",
            "piano.evaluation.score_table",
        ],
    ),
    (
        4.4,
        WING,
        [
            "piano.evaluation.tournament_scores",
            "piano.evaluation.tournament_text",
            "piano.evaluation.tournament_pictures",
        ],
    ),
    (4.5, "", ["piano.judging", "piano.judgement_file"]),
    (4.6, "", ["piano.tournament"]),
    (4, "", ["piano.made_sounds"]),
    (5, "", ["piano.generate_music", "piano.check_discriminator", "piano.export_model"]),
    (5.1, "", ["piano.player"]),
    (5.1, "", ["piano.reproduce"]),
    (5.1, "", ["piano.evaluation.score_generator"]),
    (5.2, "", ["piano.evaluate"]),
    (6, WING, ["piano.evaluation.gates", "piano.evaluation.run_ruler", "piano.evaluation.score_cost"]),
    (
        6,
        WING,
        [
            "piano.evaluation.curves",
            "piano.evaluation.run_settings",
            "piano.evaluation.training_figures",
            "piano.evaluation.training_pictures",
        ],
    ),
    (
        6,
        WING,
        [
            "piano.evaluation.report",
            "piano.evaluation.report_html",
            "piano.evaluation.report_titles",
            "piano.evaluation.report_verdict",
            "piano.evaluation.report_listen",
            "piano.evaluation.report_charts",
            "piano.evaluation.report_gates",
            "piano.evaluation.report_compared",
            "piano.evaluation.report_sounds",
            "piano.evaluation.report_composed",
            "piano.evaluation.report_training",
            "piano.evaluation.report_scores",
            "piano.evaluation.report_copies",
            "piano.evaluation.report_music",
            "piano.evaluation.report_settings",
            "piano.evaluation.sound_cards",
            "piano.evaluation.listen_page",
        ],
    ),
    (6.5, "", ["piano.compare"]),
    (6.5, "", ["piano.demo"]),
    (6.5, "", ["piano.resumed_settings"]),
    (7, "", ["piano.piano_main"]),
    (7.1, WING, ["piano.doctor.command", "piano.doctor.suspects", "piano.doctor.wiring", "piano.doctor.env"]),
    (7.5, WING, ["tutorial"]),
    (8, "", ["musigan"]),
]
"""Floor, whether its rooms may import each other, and its rooms: modules, or folders with all they hold."""

WITHOUT_TORCH = [
    "data_prep",
    "piano.config_reader",
    "piano.foundation.audio_io",
    "piano.foundation.dataset_format",
    "musigan",
]
SHIMS = {
    "piano/piano.py",
    "piano/evaluation/piano.py",
    "piano/doctor/piano.py",
    "data_prep/piano.py",
    "data_prep/data_prep.py",
    "tutorial/piano.py",
    "tutorial/tutorial.py",
}
"""Three lines each, so that scripts run from inside their folder; they import nothing of ours."""


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
        ".".join(short.with_suffix("").parts): path
        for path, short in relative.items()
        if path.name != "__init__.py" and short.as_posix() not in SHIMS
    }


MODULES = project_modules()


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def room(module: str) -> tuple[float, str, int]:
    """Floor, whether it is a wing, and the row of a module in the table."""
    for row, (floor, wing, names) in enumerate(FLOORS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return floor, wing, row
    pytest.fail(f"{module} has no floor: give it a row in FLOORS of tests/test_floors.py")


def reaches(module: str) -> set[str]:
    """Every module of the project that an import of this one brings in; itself too, if there is a circle."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = our_imports(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down_only(module: str) -> None:
    floor, wing, _ = room(module)
    wrong = [
        f"{module} (floor {floor}) imports {name} (floor {room(name)[0]})"
        for name in sorted(our_imports(module))
        if not (room(name)[0] < floor or (wing and room(name)[:2] == (floor, wing)))
    ]
    assert wrong == []


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


def test_training_knows_no_judging_room_and_the_judges_no_door() -> None:
    training = ["piano.training_run", "piano.piano_pretrain", "piano.piano_train"]
    assert not [name for module in training for name in reaches(module) if "evaluation" in name]
    assert "piano.piano_main" not in set().union(
        *(reaches(module) for module in MODULES if module != "musigan" and room(module)[0] <= 7)
    )


def test_musigan_imports_nothing_but_the_table_of_verbs_and_the_errors() -> None:
    assert our_imports("musigan") == {"piano.foundation.doors", "piano.foundation.errors"}
    reached = set().union(*(reaches(module) for module in our_imports("musigan")))
    assert {module.rpartition(".")[0] for module in reached} == {"piano.foundation"}


def test_the_table_names_no_room_that_is_gone() -> None:
    named = [name for _, _, names in FLOORS for name in names]
    gone = [name for name in named if not any(m == name or m.startswith(f"{name}.") for m in MODULES)]
    assert gone == []


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in [*(PROJECT / "piano").rglob("__init__.py"), PROJECT / "data_prep" / "__init__.py"]:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), f"{path} holds more than a docstring"
