"""What a document names in code letters, and whether the project has it: files, functions, settings, options."""

import ast
import builtins
import contextlib
import fnmatch
import functools
import importlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from musigan import VERBS
from piano.config_reader import Config, load_config_from_yaml
from tests.shown_commands import PROJECT, is_placeholder, options_of, script, shown_commands, unknown_options

FOLDERS = ("piano", "data_prep", "tutorial", "benchmarks", "tests", "docs", "checkpoints", "findings", ".ci", "runs")
OURS = ("piano", "data_prep", "tutorial", "benchmarks")
"""Folders whose texts (names of figures, events, fields) documents may name; a test's texts prove nothing."""
SUFFIXES = frozenset(
    re.findall(
        r"\w+",
        "py md yaml yml json jsonl pt npy npz wav flac mp3 m4a ogg png html csv tsv txt sh ipynb toml safetensors sf2 "
        "js mjs css onnx wasm",
    )
)
MADE = re.findall(
    r"\S+",
    """
    prepared prepared/* dataset/* records report.json report.csv manifest.json sound.npy fingerprint.npy .lock .work
    shards shards/* shard_*.npy shard_*.json training_set.npy validation_set.npy *_pairs.npy *_pieces.npy
    generator_epoch_*.pt discriminator_epoch_*.pt checkpoints/metrics.jsonl checkpoints/report.html
    best.json metrics.jsonl metrics-unsaved.jsonl dataset.json samples samples/* loss.png real_fake.png RUN/doctor
    doctor.json report.html scores.json scores.png comparison comparison.json comparison.png exported demo/*
    kinds.png stereo.png
    check_discriminator interpretation.txt matrix.png ratings.png ratings.csv verdicts.csv verdicts.json tournament.json
    judged.jsonl music_out music_out/* *seed[0-9]*_sample_[0-9]*.wav song.reconstruction.wav .full.wav .full
    .venv tutorial/runs checkpoints/tensorboard
    my_model/* LICENSE figures figures/*
    model.json endpoint.onnx encoder.onnx decoder.onnx ort.mjs ort.wasm ort-wasm-simd-threaded.wasm
    ort.wasm.bundle.min.mjs exported-onnx exported-web shipped-web shipped-onnx
    *Music fragment.mp3 hiss.wav theme.mp3 song.mp3 song/*.wav Song.wav runs my_model mine
    """,
)
"""Files and folders that no clone holds: the commands make them; those of the last line are the user's."""
LIBRARIES = ("numpy", "torch", "torchaudio", "soundfile", "os", "lightning_fabric", "safetensors", "Fabric")
FOREIGN = {
    "nohup",
    "tee",
    "head",
    "sha256sum",
    "sigmoid(logit)",
    "vocals",
    "src/",
    "estimated",
    "@trains",
    "srun",
    "scontrol",
}
"""In code letters, but nothing to look up: commands of the system, a formula, words in a name and in a table."""
FOREIGN_COMMANDS = ("sha256sum", "pip", "git", "conda", "tensorboard", "wandb", "npm", "bash", "python", "sbatch")
FOREIGN_OPTIONS = {"--index-url", "--no-deps", "--editable", "--logdir", "--constraint", "--check"}
"""Of pip, TensorBoard and sha256sum."""


def code(text: str) -> Iterator[tuple[str, str]]:
    """Pieces of a document in code letters, each with its kind: `span`, or the language of a block ("" for none)."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for language, block in fence.findall(text):
        yield language, block
    text = fence.sub("", text)
    indented = re.compile(r"(?<=\n\n)(?: {4}.*\n)+", re.MULTILINE)
    for block in indented.findall(text):
        yield "", block
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", indented.sub("", text)):
        yield "span", " ".join(span.split())


@functools.cache
def files() -> tuple[str, ...]:
    """Every file and folder of the project, relative to it."""
    found = [path for path in PROJECT.iterdir() if path.is_file()]
    for name in FOLDERS:
        found += [PROJECT / name, *(PROJECT / name).rglob("*")]
    names = [path.relative_to(PROJECT).as_posix() for path in found if "__pycache__" not in path.parts]
    return tuple(name for name in names if not name.startswith("tutorial/runs"))


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Every Python file of the project, parsed, by its path."""
    return {
        path: ast.parse((PROJECT / path).read_text(encoding="utf-8"))
        for path in files()
        if path.endswith(".py") and path != "tests/test_documents.py"
    }


@functools.cache
def defined() -> dict[str, str]:
    """Where each class and function is defined: its name to the file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name: path for path, tree in trees().items() for node in ast.walk(tree) if isinstance(node, kinds)}


@functools.cache
def attributes() -> dict[str, frozenset[str]]:
    """What the objects of each class have: methods, fields, and what is put into `self`."""
    classes = {
        node.name: node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }
    found = {}
    for name, node in classes.items():
        stored = [
            part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
        ]
        fields = [
            part.target.id
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        ]
        found[name] = frozenset(
            [*stored, *fields, *(part.name for part in node.body if isinstance(part, ast.FunctionDef))]
        )
    return found


@functools.cache
def known_words() -> frozenset[str]:
    """Names that the code gives to anything: definitions, arguments, variables, attributes, modules, whole texts."""
    words = {*defined(), *VERBS, *dir(builtins), *LIBRARIES}
    words |= {Path(path).stem for path in trees()} | {part for path in files() for part in path.split("/")}
    for path, tree in trees().items():
        for node in ast.walk(tree):
            match node:
                case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    words.add(name)
                case ast.Constant(value=str(name)) if path.split("/")[0] in OURS or path == "musigan.py":
                    words.add(name)
                case ast.ImportFrom() | ast.Import():
                    words |= {alias.name.split(".")[0] for alias in node.names}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    asked = [*project["dependencies"], *itertools.chain(*extras.values())]
    words |= {*extras, *(re.split(r"[<>=;\[ ]", line)[0] for line in asked)}
    words |= set(re.findall(r"^(\w+)\b.*=", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    return frozenset(words | set(setting_names()) | set(presets()))


@functools.cache
def beginnings() -> frozenset[str]:
    """How names begin that the code puts together: "self_similarity_" of f"self_similarity_{seconds:g}s"."""
    found = set()
    for path, tree in trees().items():
        for node in ast.walk(tree) if path.split("/")[0] in OURS else ():
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                found.add(str(node.values[0].value))
    return frozenset(text for text in found if re.fullmatch(r"[a-z]{3}[a-z]*_[a-z_]+_", text))


@functools.cache
def presets() -> tuple[str, ...]:
    return tuple(yaml.safe_load((PROJECT / "piano/default_config.yaml").read_text(encoding="utf-8"))["presets"])


def _fields(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield before + name, field
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _fields(kind, f"{before}{name}.")


@functools.cache
def settings() -> dict[str, Any]:
    """Every setting by its full name, with its pydantic field; `loss_weights` and shares by their keys too."""
    found = dict(_fields(Config))
    config = load_config_from_yaml(PROJECT / "config.yaml")
    found |= {f"loss_weights.{name}": None for name in config.loss_weights}
    found |= {f"finetune.shares.{name}": None for name in config.finetune.shares}
    return found


@functools.cache
def setting_names() -> frozenset[str]:
    """Every setting by its last name."""
    return frozenset(name.rpartition(".")[2] for name in settings())


def wrong_setting(name: str, value: str | None = None) -> str | None:
    """What is wrong with a setting that is named with its full or last name, and perhaps a value."""
    fields = [
        field for full, field in settings().items() if full == name or ("." not in name and full.endswith(f".{name}"))
    ]
    if not fields:
        return f"no such setting: {name}"
    if value is None or value == "VALUE" or re.fullmatch("[a-z]", value):  # a letter of a formula
        return None
    if "|" in value:
        return next((wrong for part in value.split("|") if (wrong := wrong_setting(name, part.strip()))), None)
    for field in fields:
        if field is None:
            return None
        read = yaml.safe_load(value)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            wrong = [key for key in read if key not in field.annotation.model_fields]
            return f"no such setting: {name}.{wrong[0]}" if wrong else None
        for choice in (read, value):  # `off` is a word here
            with contextlib.suppress(ValidationError):
                TypeAdapter(field.annotation).validate_python(choice)
                return None
    return f"no value of {name}: {value}"


def is_file(token: str) -> bool:
    """Whether a path is one of the project's (from its top, or the end of one), or one that commands make."""
    token = token.removeprefix("./").rstrip("/")
    choices = re.search(r"\{([^}]*)\}", token)
    if choices:
        return all(is_file(token.replace(choices[0], choice)) for choice in choices[1].split(","))
    names = [token, re.sub(r"_N\b", "_1", token)]
    if any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in MADE):
        return True
    return any(fnmatch.fnmatchcase(path, token) or fnmatch.fnmatchcase(path, f"*/{token}") for path in files())


def _resolves(module: str, names: list[str]) -> bool:
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return False
    for name in names:
        if not hasattr(found, name):
            if name in getattr(found, "__annotations__", {}) or name in getattr(found, "model_fields", {}):
                return True
            try:
                importlib.import_module(f"{found.__name__}.{name}")
            except (ImportError, AttributeError):
                return False
        found = getattr(found, name)
    return True


def is_dotted_name(token: str) -> bool:
    """Whether `a.b.c` can be imported and looked up, is a setting, or an attribute of an object that the code knows."""
    first, *rest = token.split(".")
    if token in settings():
        return True
    homes = [
        path[:-3].replace("/", ".") for path in trees() if Path(path).stem == first or path == f"{first}/__init__.py"
    ]
    homes = [home.removesuffix(".__init__").removeprefix("benchmarks.") for home in homes]
    folders = [path.removesuffix("/__init__.py") for path in trees() if path.endswith(f"/{first}/__init__.py")]
    if any(_resolves(home, rest) for home in [*homes, *(folder.replace("/", ".") for folder in folders)]):
        return True
    if homes or folders:
        return False
    if first in attributes():
        return rest[0] in attributes()[first] or _resolves(
            defined()[first].removesuffix(".py").replace("/", "."), [first, *rest]
        )
    if first == "Fabric":
        return _resolves("lightning_fabric", [first, *rest])
    if first in LIBRARIES:
        return _resolves(first, rest)
    return all(part in known_words() for part in token.split("."))


def is_word(token: str) -> bool:
    """Whether the code knows a single name, as it is or put together of two."""
    known = known_words()
    if token in known or token in FOREIGN or is_placeholder(token):
        return True
    if any(token.startswith(text) for text in beginnings()):
        return True
    if token.endswith("*"):
        return any(word.startswith(token.rstrip("*")) for word in {*known, *beginnings()})
    if token.startswith("_"):  # an ending
        return any(word.endswith(token) for word in known)
    judges = re.match(r"(ear|professor)_", token)
    return bool(judges) and token[judges.end() :] in known


@functools.cache
def said() -> str:
    """Every text in the code that is longer than a name, one below the other."""
    texts = []
    for path, tree in trees().items():
        if path.split("/")[0] not in OURS and path != "musigan.py":
            continue
        constants: dict[str, Any] = {}
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                    constants[name] = text
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)):
                    texts.append(text)
                case ast.JoinedStr(values=parts):  # put together of texts that have a name in the same file
                    names = [ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else "" for part in parts]
                    pieces = zip(parts, names, strict=True)
                    texts.append(
                        "".join(
                            constants.get(name, getattr(part, "value", "")) or ""
                            for part, name in pieces
                            if name in constants or not name
                        )
                    )
    return "\n".join(texts)


def whole_command(span: str) -> str:
    """A command that a sentence shortens (`evaluate.py --count 64`, `doctor env`), as it is typed."""
    first, _, rest = span.partition(" ")
    if not rest or "(" in first:
        return span
    if re.fullmatch(r"[\w/]+\.py", first):
        return f"python {span}"
    if first in VERBS and re.match(r"--|[a-z]+$", rest):
        return f"musigan {span}"
    scripts = {script(verb).stem for verb in VERBS}
    return f"python {first}.py {rest}" if first in scripts and rest.startswith("--") else span


def wrong_import(line: str) -> str | None:
    """What an import line names that is not there."""
    try:
        statement = ast.parse(line).body[0]
    except SyntaxError:  # `from utilities import ...`
        return None
    names = [alias.name for alias in getattr(statement, "names", [])]
    module = getattr(statement, "module", None)
    if module:
        return None if all(_resolves(module, [name]) for name in names) else f"no such import: {line}"
    wrong = [name for name in names if name not in known_words() and not is_dotted_name(name)]
    return f"no such import: {wrong[0]}" if wrong else None


_PATH = re.compile(r"[\w.~*<>\[\]-][\w.~*{},<>+/\[\]-]*")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.\w+)+)(\(.*\))?")
_WORD = re.compile(r"([A-Za-z_][\w-]*\*?)(\(.*\))?")
_OPTION = re.compile(r"(--[a-z][a-z-]*)([= ].*)?")
_SETTING = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): (\S.*)")


def wrong_in_span(span: str) -> str | None:
    """What a piece in code letters names that is not there; None where nothing is wrong, or nothing is named."""
    if span.startswith("{") and '"' in span:
        keys = re.findall(r'"([a-z_]+)"', span)
        return next((f"no such field: {key}" for key in keys if not is_word(key)), None)
    if option := _OPTION.fullmatch(span):
        return None if option[1] in all_options() else f"no such option: {option[1]}"
    if (setting := _SETTING.fullmatch(span)) and not _DOTTED.fullmatch(setting[2]):
        if setting[1] in known_words() and setting[1] not in setting_names() and is_word(setting[2]):
            return None  # a field of the log, with its value
        return wrong_setting(setting[1], setting[2])
    if span in known_words() or span in FOREIGN:
        return None
    if _PATH.fullmatch(span) and ("/" in span or ("." in span and span.rpartition(".")[2] in SUFFIXES)):
        if re.fullmatch(r"(\.\w+)+", span) or is_placeholder(span.partition("/")[0]) or is_placeholder(span):
            return None
        return None if is_file(span) else f"no such file: {span}"
    if dotted := _DOTTED.fullmatch(span):
        return None if is_word(span) or is_dotted_name(dotted[1]) else f"no such name: {dotted[1]}"
    if word := _WORD.fullmatch(span):
        if word[2] and word[1] not in defined() and word[1] not in dir(builtins):
            return f"no such function: {word[1]}"
        return None if is_word(word[1]) else f"no such name: {word[1]}"
    if span.startswith(("import ", "from ")):
        return wrong_import(span)
    if span.startswith("make "):
        return (
            None
            if f"\n{span[5:]}:" in (PROJECT / "Makefile").read_text(encoding="utf-8")
            else f"no such target: {span}"
        )
    if re.fullmatch(r"[A-Za-z]+( [\w(),]+)+", span) and not span.startswith(FOREIGN_COMMANDS):
        return None if span in said() or is_placeholder(span.split()[1]) else f"no text says: {span}"
    return None


@functools.cache
def all_options() -> frozenset[str]:
    """Every option of every verb and script."""
    scripts = [path for path in trees() if path.split("/")[0] in ("benchmarks", "tutorial", "piano", "tests")]
    return frozenset(FOREIGN_OPTIONS).union(*(options_of(name) for name in [*VERBS, *scripts]))


def wrong_names(text: str) -> list[str]:
    """Everything that a document names in code letters and that does not exist."""
    wrong: list[str] = []
    for kind, piece in code(text):
        piece = whole_command(piece) if kind == "span" else piece
        commands = shown_commands(piece)
        wrong += unknown_options(commands)
        for command in commands:
            pairs = zip(command.words, command.words[1:], strict=False)
            given = [after for word, after in pairs if word == "--set"]
            for name, _, value in (setting.partition("=") for setting in given):
                wrong += [problem] if name != "KEY" and (problem := wrong_setting(name, value)) else []
        if kind == "span" and not commands:
            wrong += [problem] if (problem := wrong_in_span(piece)) else []
        if kind == "" and not commands:
            words = re.findall(r"(?<![\w/.{])[A-Za-z]\w*_\w+(?:\.\w+)*(?![\w/{])", piece)
            wrong += [problem for word in words if (problem := wrong_in_span(word))]
    return wrong
