"""The house rules, held by walking the source: floors, hidden imports, sizes, one broad except, the registry."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from raredata_bench.bench import registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "raredata_bench"
CONF = ROOT / "conf"

# An import only ever points to a lower floor, or stays in its own room.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "seeding", "schema"),
    ("data",),
    ("facts", "contracts", "tasks", "training"),
    ("datasets", "methods", "learners", "scoring", "audit"),
    ("bench",),
    ("leaderboard", "advisor", "exchange"),
    ("report", "testing"),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Floors whose rooms may import one another: the single files at the bottom, and the bases with what is built on them.
OPEN_FLOORS = (0, 2)
HEAVY = ("torch", "lightning", "sdv", "mlflow", "monai")
CODE_LINES, FUNCTION_LINES, README_LINES = 400, 60, 40
# Rooms in which a component's own name must not decide anything.
NAMELESS = ("methods", "learners", "scoring", "bench")
KEYED = {"name", "key", "method", "learner", "scorer", "dataset", "regime", "plan", "task"}
# The baseline that every gain is measured against, and the plan under which it runs, are words of the protocol.
PROTOCOL = {"none", "as_is"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in sources()}


def imported(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every import statement of a file with the dotted name it reaches, as deep as a module goes."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{at(path, node)}: imports are absolute"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node, full if full in modules() else base


def ours(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    for node, name in imported(path):
        if name.split(".")[0] == PACKAGE.name:
            yield node, name


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def reachable(*starts: str) -> set[str]:
    """Return the modules that importing some modules loads, their packages' ``__init__`` included."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name in found or name not in modules():
            continue
        found.add(name)
        waiting.extend(target for _, target in ours(modules()[name]))
        waiting.extend(name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))
    return found


@cache
def code_lines(path: Path) -> frozenset[int]:
    """Return the numbers of the lines that hold code: no docstring, comment or blank."""
    text = path.read_text(encoding="utf-8")
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skip:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return frozenset(lines)


# ------------------------------------------------------------------------------------------------- imports


def test_every_module_has_a_floor() -> None:
    strangers = {room_of(name) for name in modules()} - {""} - set(FLOOR)
    assert not strangers, f"{strangers} stand on no floor; add them to DESIGN's table and to this one"


def test_imports_only_point_down() -> None:
    wrong = []
    for path in sources():
        room = room_of(module_of(path))
        for node, target in ours(path):
            there = room_of(target)
            if not room or not there or there == room:
                continue
            here_floor, there_floor = FLOOR[room], FLOOR[there]
            if there_floor > here_floor or (there_floor == here_floor and here_floor not in OPEN_FLOORS):
                wrong.append(f"{at(path, node)}: {room} (F{here_floor}) imports {target} (F{there_floor})")
    assert not wrong, "\n".join(wrong)


def test_no_import_cycles() -> None:
    graph = {name: {target for _, target in ours(path)} - {name} for name, path in modules().items()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in done or name not in graph:
            return
        for target in sorted(graph[name]):
            walk(target, (*trail, name))
        done.add(name)

    for name in sorted(graph):
        walk(name, ())


def test_the_leaderboard_stands_alone() -> None:
    allowed = {
        "raredata_bench.errors",
        "raredata_bench.bench.record",
        "raredata_bench.schema",
        "raredata_bench.seeding",
    }
    wrong = [
        f"{at(path, node)}: {target}"
        for path in sorted((PACKAGE / "leaderboard").glob("*.py"))
        for node, target in ours(path)
        if target not in allowed and room_of(target) != "leaderboard"
    ]
    assert not wrong, f"nothing of ours above the record schema and the facts: {wrong}"


def test_no_imports_inside_functions() -> None:
    """A module loaded by a name that the configuration gives is the registry's way; a name in the code is hidden."""
    excepted = {"raredata_bench", "raredata_bench.cli.main"}
    wrong = []
    for path in sources():
        for function in functions(path):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    wrong.append(at(path, node))
                elif isinstance(node, ast.Call) and module_of(path) not in excepted:
                    called = ast.unparse(node.func)
                    literal = bool(node.args) and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
                    if called == "__import__" or (called.endswith("import_module") and literal):
                        wrong.append(f"{at(path, node)}: {ast.unparse(node)}")
    assert not wrong, f"imports inside functions: {wrong}"


def test_heavy_libraries_stay_behind_the_dispatcher() -> None:
    """By reading: no module that the help or the lists load may import one, however far down."""
    starts = [name for name in ("raredata_bench.cli.main", "raredata_bench.cli.list_") if name in modules()]
    wrong = [
        f"{at(modules()[name], node)}: {target}"
        for name in sorted(reachable(*starts))
        for node, target in imported(modules()[name])
        if target.split(".")[0] in HEAVY
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("words", [["--help"], ["list", "methods"], ["list", "datasets", "--json"]], ids=" ".join)
def test_help_and_lists_load_no_heavy_library(words: list[str]) -> None:
    """By running: a fresh process names what it has loaded at its end."""
    if find_spec("raredata_bench.cli.main") is None or find_spec("raredata_bench.cli.list_") is None:
        pytest.skip("the command line is not built yet")
    code = (
        "import sys\nfrom raredata_bench.cli.main import main\n"
        f"status = main({words!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('LOADED', status, loaded)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("LOADED 0 []"), done.stdout[-300:]


def test_importing_the_package_is_light() -> None:
    code = "import sys, raredata_bench; print([n for n in ('pandas', 'numpy', 'yaml') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


# --------------------------------------------------------------------------------------------------- sizes


def test_modules_are_of_a_size_to_live_in() -> None:
    sizes = {str(path.relative_to(ROOT)): len(code_lines(path)) for path in sources()}
    wrong = {name: size for name, size in sizes.items() if size > CODE_LINES}
    assert not wrong, f"more than {CODE_LINES} lines of code: {wrong}"


def test_functions_are_of_a_size_to_read() -> None:
    wrong = {}
    for path in sources():
        for function in functions(path):
            size = len([line for line in code_lines(path) if function.lineno <= line <= (function.end_lineno or 0)])
            if size > FUNCTION_LINES:
                wrong[f"{at(path, function)} {function.name}"] = size
    assert not wrong, f"more than {FUNCTION_LINES} lines of code: {wrong}"


def test_code_lines_are_counted_as_the_rule_says() -> None:
    path = PACKAGE / "seeding.py"
    lines = path.read_text(encoding="utf-8").splitlines()
    counted = {lines[number - 1] for number in code_lines(path)}
    assert "import hashlib" in counted
    assert "" not in counted
    assert not any("salted per process" in line or "Return the same number" in line for line in counted)


# --------------------------------------------------------------------------------------------------- habits


def test_everything_is_annotated() -> None:
    wrong = []
    for path in sources():
        for function in functions(path):
            given = function.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
            bare = [one.arg for one in named if one.annotation is None and one.arg not in ("self", "cls")]
            if bare or function.returns is None:
                wrong.append(f"{at(path, function)} {function.name}: {bare or 'return'}")
    assert not wrong, "\n".join(wrong)


def test_no_print_outside_the_command_line() -> None:
    wrong = [
        at(path, node)
        for path in sources()
        if room_of(module_of(path)) != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, wrong


def _broad(node: ast.AST) -> bool:
    names = ("Exception", "BaseException")
    if isinstance(node, ast.ExceptHandler):
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        return any(one is None or ast.unparse(one) in names for one in caught)
    suppressing = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")
    return suppressing and any(ast.unparse(one) in names for one in node.args)  # type: ignore[attr-defined]


def test_one_broad_except_and_it_is_the_guards() -> None:
    found = [at(path, node) for path in sources() for node in ast.walk(tree_of(path)) if _broad(node)]
    assert len(found) <= 1, found
    assert all(place.startswith("raredata_bench/bench/guard.py:") for place in found), found
    caught = [ast.unparse(node) for node in ast.walk(tree_of(PACKAGE / "bench" / "guard.py"))
              if isinstance(node, ast.ExceptHandler) and node.type is not None]  # fmt: skip
    assert not any("BaseException" in text for text in caught), "an interrupt must pass"


def test_init_files_hold_nothing() -> None:
    wrong = [
        at(path, node)
        for path in PACKAGE.rglob("__init__.py")
        if path.parent != PACKAGE
        for node in tree_of(path).body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert not wrong, wrong


def test_a_class_is_abstract_or_final() -> None:
    """Nobody in the package inherits from a class that can be instantiated; exceptions are a hierarchy by nature."""
    classes: dict[str, ast.ClassDef] = {}
    for path in sources():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and module_of(path) != "raredata_bench.errors":
                classes[node.name] = node
    wrong = []
    for name, node in classes.items():
        for base in (ast.unparse(one).split("[")[0] for one in node.bases):
            parent = classes.get(base)
            if parent is not None and not _abstract(parent):
                wrong.append(f"{name} inherits from {base}, which is no abstract class")
    assert not wrong, wrong


def _abstract(node: ast.ClassDef) -> bool:
    marks = {"ABC", "Protocol"} & {ast.unparse(base).split("[")[0] for base in node.bases}
    return bool(marks) or any(
        "abstractmethod" in ast.unparse(one) for one in ast.walk(node) if isinstance(one, ast.Name)
    )


# ------------------------------------------------------------------------------------------------- registry


def _options() -> dict[str, set[str]]:
    return {group: {path.stem for path in (CONF / group).glob("*.yaml")} for group in registry.GROUPS}


def _decides_by_name(node: ast.Compare, keys: set[str]) -> bool:
    """Whether a comparison asks for a component by its key: ``key == "smote"``, ``job.method in ("a", "b")``."""
    sides = [node.left, *node.comparators]
    words = {
        one.value
        for side in sides
        for one in ast.walk(side)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }
    asked = {
        part
        for side in sides
        for one in ast.walk(side)
        for part in ([one.id] if isinstance(one, ast.Name) else [one.attr] if isinstance(one, ast.Attribute) else [])
    }
    subscripts = {
        one.slice.value
        for side in sides
        for one in ast.walk(side)
        if isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Constant)
    }
    return bool((words - PROTOCOL - subscripts) & keys) and bool((asked | subscripts) & KEYED)


def test_nothing_is_decided_by_a_components_name() -> None:
    keys = set().union(*_options().values())
    wrong = []
    for path in sources():
        if room_of(module_of(path)) not in NAMELESS:
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Compare) and _decides_by_name(node, keys):
                wrong.append(f"{at(path, node)}: {ast.unparse(node)}")
            elif isinstance(node, ast.Match) and any(
                isinstance(one, ast.Constant) and one.value in keys - PROTOCOL
                for case in node.cases
                for one in ast.walk(case.pattern)
            ):
                wrong.append(f"{at(path, node)}: match by name")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "decides"),
    [
        ("key == 'smote'", True), ("'smote' == self.info.key", True), ("job.axes['method'] != 'smote'", True),
        ("name in ('a', 'smote')", True), ("method == 'none'", False), ("status == 'smote'", False),
        ("info.key == other.key", False),
    ],
)  # fmt: skip
def test_the_search_for_names_finds_them(text: str, decides: bool) -> None:
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Compare)
    assert _decides_by_name(node, {"smote"}) is decides


def test_no_list_of_components_is_kept_by_hand() -> None:
    options = {group: keys for group, keys in _options().items() if group in registry.INFOS}
    wrong = []
    for path in sources():
        for node in ast.walk(tree_of(path)):
            parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            words = {one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)}
            for group, keys in options.items():
                if len(words & keys) > 2 and len(words & keys) > len(words) / 2:
                    wrong.append(f"{at(path, node)}: {group}s {sorted(words & keys)[:4]}")
    assert not wrong, wrong


def _components() -> list[tuple[str, str]]:
    return [(group, key) for group, keys in _options().items() for key in sorted(keys)]


@pytest.mark.parametrize(("group", "key"), _components(), ids="/".join)
def test_every_option_reads(group: str, key: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]+(@[a-z0-9_]+)?", key), f"{key!r} is no key"
    config = yaml.safe_load((CONF / group / f"{key}.yaml").read_text(encoding="utf-8")) or {}
    if group in registry.INFOS:
        assert registry.info_of(group, key).key == key
        assert "_target_" in config, f"conf/{group}/{key}.yaml names no _target_"
    if "_target_" not in config:
        return
    module, _, name = config["_target_"].rpartition(".")
    assert module.split(".")[0] == PACKAGE.name, f"{module} is not ours: wrap what a library does"
    assert module in modules(), f"conf/{group}/{key}.yaml names {module}, which is no module"
    defined = {
        node.name for node in tree_of(modules()[module]).body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert name in defined, f"conf/{group}/{key}.yaml names {name}, which {module} does not define"


# -------------------------------------------------------------------------------------------------- readmes


def _rooms() -> list[Path]:
    top = [ROOT / name for name in ("conf", "benchmarks", "results", "tests")]
    rooms = [path for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))]
    studies = [path for path in (ROOT / "benchmarks").iterdir() if path.is_dir() and any(path.glob("*.py"))]
    return [path for path in [*top, *sorted(rooms), *sorted(studies)] if path.is_dir() and path.name != "__pycache__"]


@pytest.mark.parametrize("folder", _rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_folder_says_what_lives_in_it(folder: Path) -> None:
    assert (folder / "README.md").is_file(), f"{folder.relative_to(ROOT)} has no README.md"


def test_readmes_are_short() -> None:
    places = [
        path for top in ("raredata_bench", "conf", "benchmarks", "tests") for path in (ROOT / top).rglob("README.md")
    ]
    sizes = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in places}
    assert not {name: size for name, size in sizes.items() if size > README_LINES}
