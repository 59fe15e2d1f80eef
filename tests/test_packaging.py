"""What an installation holds: the configuration in the wheel, none of it in an editable install, pinned versions."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "pip install -e . -c constraints.txt && raredata-bench sweep study=quickstart",
    'pip install -e ".[test]" -c constraints.txt && pytest',
)
OPTIONS = "from raredata_bench.bench import registry; print(registry.conf_dir(), *registry.options('plan'), sep='\\n')"
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!]+")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of what a build reads."""
    place = tmp_path / "checkout"
    place.mkdir()
    for name in ("raredata_bench", "conf"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, place / name)
    return place


def python(code: str, path: Path, folder: Path) -> list[str]:
    """Run code in a fresh process that finds the package under ``path`` first; return the lines it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "RAREDATA_BENCH_CONF"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=folder, check=False,
        env=environment | {"PYTHONPATH": str(path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def build(tree: Path, hook: str) -> zipfile.ZipFile:
    """Build a wheel (``build_wheel`` or ``build_editable``) as an installer does, without a network."""
    code = f"import hatchling.build as b; print(b.{hook}('dist'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tree, check=False
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(tree / "dist" / done.stdout.splitlines()[-1])


# -------------------------------------------------------------------------------------------------- wheel


def test_the_wheel_holds_the_configuration(tree: Path, tmp_path: Path) -> None:
    wheel = build(tree, "build_wheel")
    held = set(wheel.namelist())
    wanted = {f"raredata_bench/{path.relative_to(tree)}" for path in (tree / "conf").rglob("*.yaml")}
    assert len(wanted) > 10 and wanted <= held
    assert {f"{path.relative_to(tree)}" for path in (tree / "raredata_bench").rglob("*.py")} <= held
    assets = {f"{path.relative_to(tree)}" for path in (tree / "raredata_bench/report/site/assets").iterdir()}
    assert {Path(name).suffix for name in assets} == {".html", ".css", ".js"} and assets <= held
    tops = {name.split("/")[0] for name in held}
    assert tops == {"raredata_bench", f"raredata_bench-{_project()['version']}.dist-info"}
    installed = tmp_path / "site"
    wheel.extractall(installed)
    found, *plans = python(OPTIONS, installed, tmp_path)
    assert Path(found) == installed / "raredata_bench" / "conf"
    assert plans == sorted(path.stem for path in (tree / "conf" / "plan").glob("*.yaml"))


def test_the_wheel_states_command_and_licence(tree: Path) -> None:
    wheel = build(tree, "build_wheel")
    info = f"raredata_bench-{_project()['version']}.dist-info"
    assert "raredata-bench = raredata_bench.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_an_editable_install_holds_no_copy_that_could_go_stale(tree: Path, tmp_path: Path) -> None:
    wheel = build(tree, "build_editable")
    held = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert [Path(name).suffix for name in held] == [".pth"], held
    site = tmp_path / "site"
    wheel.extractall(site)
    # Other checkouts may be installed here too; this one's line goes to the front.
    code = f"import site; site.addsitedir({str(site)!r}); import sys; sys.path.insert(0, sys.path.pop()); {OPTIONS}"
    # Not on PYTHONPATH: only the .pth file of the editable install leads to the checkout.
    found, *before = python(code, site, tmp_path)
    assert Path(found) == tree / "conf"
    (tree / "conf" / "plan" / "added_after_install.yaml").write_text("_target_: raredata_bench.tasks.plans.AsIs\n")
    _, *after = python(code, site, tmp_path)
    assert sorted(set(after) - set(before)) == ["added_after_install"]


def test_the_checkout_comes_before_a_copy_inside_the_package(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "conf", tree / "raredata_bench" / "conf")
    (tree / "conf" / "plan" / "newer.yaml").write_text("_target_: raredata_bench.tasks.plans.AsIs\n")
    found, *plans = python(OPTIONS, tree, tmp_path)
    assert Path(found) == tree / "conf"
    assert "newer" in plans


# ---------------------------------------------------------------------------------------------- constraints


def _project() -> dict[str, object]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_are_pins_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    odd = [line for line in lines if not line.startswith("#") and not PIN.fullmatch(line)]
    assert not odd, f"one name==version per line, without build tags, addresses, options or markers: {odd}"
    names = [canonicalize_name(line.split("==")[0]) for line in lines if not line.startswith("#")]
    assert len(names) == len(set(names))
    assert not {"torchvision", "torchaudio"} & set(names)
    assert not any(":" in line and "/" in line for line in lines), "no address, not even in a comment"


def test_everything_that_an_installation_pulls_in_is_pinned() -> None:
    """Walk the requirements of what is installed here, from ours down, the extra ``test`` included."""
    project = _project()
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict) and isinstance(project["dependencies"], list)
    waiting = [Requirement(text) for text in [*project["dependencies"], *extras["test"]]]
    pins, seen, loose = _pins(), set(), []
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in pins:
            loose.append(name)
        elif pins[name] not in requirement.specifier:
            loose.append(f"{name}: {pins[name]} is not {requirement.specifier}")
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        for text in importlib.metadata.requires(requirement.name) or []:
            below = Requirement(text)
            asked = requirement.extras or {""}
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in asked):
                waiting.append(below)
    assert not loose, f"not pinned, or not as required: {sorted(set(loose))}"
    unused = set(pins) - {name for name, _ in seen}
    assert not unused, f"pinned, but nothing asks for it: {sorted(unused)}"


# --------------------------------------------------------------------------------------------------- readme


def test_the_readme_begins_with_the_two_commands() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:25]
    assert [line for line in first if line.startswith("pip install")] == list(COMMANDS)


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash") and "set -euo pipefail" in text
    # It states the commands, runs them as they stand, and stops where the README says another thing.
    found = re.search(r"^commands=\(\n(.+?)\n\)$", text, flags=re.MULTILINE | re.DOTALL)
    assert found
    assert [line.strip().strip("'") for line in found[1].splitlines()] == list(COMMANDS)
    assert 'grep -qxF -- "$command" README.md' in text and 'bash -euo pipefail -c "$command"' in text


def test_the_readme_names_every_key_of_a_users_cohort_and_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    config = (ROOT / "conf" / "dataset" / "user.yaml").read_text(encoding="utf-8")
    keys = re.findall(r"^([a-z_]+):", config, flags=re.MULTILINE)
    assert len(keys) > 10
    absent = [key for key in keys if key not in ("info", "_target_") and f"`{key}`" not in readme]
    assert not absent, f"keys that the README does not name: {absent}"
    commands = re.findall(
        r'^    "([a-z]+)": \(', (ROOT / "raredata_bench" / "cli" / "main.py").read_text(), re.MULTILINE
    )
    assert len(commands) > 5
    assert not [name for name in commands if f"raredata-bench {name}" not in readme]


def test_licences_that_are_not_plainly_permissive_are_said() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(word in readme for word in ("Apache-2.0", "BUSL-1.1", "GPL-3", "SurvSet", "SDV", "scikit-survival"))
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_links_inside_the_readme_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in link]
    assert not [link for link in links if not (ROOT / link).exists()]
