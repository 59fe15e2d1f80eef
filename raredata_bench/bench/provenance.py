"""Where and with what a record was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "raredata-bench", "numpy", "scipy", "pandas", "scikit-learn", "imbalanced-learn", "torch", "lightning",
    "lifelines", "sdv", "SurvSet", "mlflow", "hydra-core",
)  # fmt: skip


@cache
def environment() -> dict[str, Any]:
    """Return versions, hardware and git revision; nothing that names the user or the machine."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "git": git_revision(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@cache
def git_revision() -> str:
    """Return the revision of the checkout this package lies in, with ``+`` when it has changes; empty elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if head and _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
