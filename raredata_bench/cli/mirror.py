"""``raredata-bench mirror STUDY``: bring MLflow up to date with the records."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from raredata_bench.bench.studies import study_folder
from raredata_bench.bench.tracking import mirror_study
from raredata_bench.cli.common import results_argument


def main(argv: Sequence[str]) -> int:
    """Mirror one study."""
    words, results = results_argument(list(argv))
    parser = argparse.ArgumentParser(prog="raredata-bench mirror", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--uri", help="an MLflow server, or sqlite:///file; SQLite beside the results by default")
    given = parser.parse_args(words)
    root = study_folder(given.study, results)
    written, there, address = mirror_study(str(root), given.uri)
    print(f"{written} runs written, {there} were there already: {address}")
    return 0
