"""A user's phenotype profiles: a long table of HPO terms, or phenopackets."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.phenotypes import phenotype_columns
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_outcome
from raredata_bench.datasets.phenotype_reading import (
    UNCHECKED,
    Ontology,
    checked_terms,
    merged,
    ontology,
    profiles,
    read_phenopackets,
)
from raredata_bench.datasets.public_phenotypes import disease_of, iter_phenopackets
from raredata_bench.datasets.user_rows import blanked, rows_of, safe_key, stem_of
from raredata_bench.datasets.user_tables import outcome_table
from raredata_bench.errors import CohortError, ConfigError, MissingDataError, closest

TERM_NAMES = ("term", "hpo_id", "hpo", "hpo_term", "term_id")
THERE = frozenset({"1", "true", "t", "yes", "y", "present", "+"})
GONE = frozenset({"0", "false", "f", "no", "n", "absent", "excluded", "not", "-"})
# Columns of the table that phenopackets make.
CASE, DISEASE, PUBLICATION, SEX = "case", "disease", "publication", "sex"


def read(asked: Mapping[str, Any]) -> Cohort:
    """Return the profiles that settings describe.

    Raises
    ------
    ConfigError
        A column that is needed is not named, or ``min_mentions`` is no whole number.
    CohortError
        A term that is no HPO id, does not exist or is obsolete; the message names file and row.
    MissingDataError
        A file is not there.
    """
    path = Path(str(asked["path"])).expanduser()
    known = ontology(None if asked.get("ontology") is None else str(asked["ontology"]))
    least = str(asked.get("min_mentions") or 2)
    if not io.is_number(least) or not float(least).is_integer() or float(least) < 1:
        raise ConfigError(f"`min_mentions` is {asked['min_mentions']!r}; it must be a whole number of 1 or more.")
    packed = path.is_dir() or path.suffix.lower() in (".json", ".zip")
    table, mentions, words, notes = _packets(path, asked, known) if packed else _long(path, asked, known)
    rows = rows_of(table, words)
    if len(set(rows.subject)) < len(rows.subject):
        raise CohortError(f"{table.where} has more than one row of a subject; a profile is of one case.")
    X, _, said = profiles(*mentions, list(map(str, rows.subject)), int(float(least)), path.name)
    notes = [*notes, *said, *([] if known is not None else [UNCHECKED])]
    key = safe_key(str(asked.get("name") or (path.name if path.is_dir() else stem_of(path))))
    return rows.cohort(key, X, phenotype_columns(X.terms), "phenotype", asked, notes)


Mentions = tuple[Sequence[str], Sequence[str], Sequence[bool]]


def _long(
    path: Path, asked: Mapping[str, Any], known: Ontology | None
) -> tuple[io.RawTable, Mentions, Mapping[str, Any], list[str]]:
    """Return the table of outcomes, the mentions, the settings of the former, and notes."""
    if "subject" not in asked:
        raise ConfigError("kind: phenotypes needs `subject`, the column of the case in the table of terms.")
    table, coded = blanked(io.read(path), None)
    subject = str(asked["subject"]).strip()
    people = user_outcome.cells_of(table, subject, "subject")
    if "term" in asked:
        name = str(asked["term"]).strip()
        terms = user_outcome.cells_of(table, name, "term")
    else:
        found = [one for one in table.names if one.casefold() in TERM_NAMES]
        if not found:
            raise ConfigError(f"{path.name} has no column of HPO terms that is known as one; name it with `term`.")
        name = found[0]
        terms = table.cells[name]
    there = [True] * table.n_rows
    column = str(asked.get("present") or "present").strip()
    if "present" in asked or column in table.cells:
        there = [
            _is_there(cell, i, column, table) for i, cell in enumerate(user_outcome.cells_of(table, column, "present"))
        ]
    said = [i for i, term in enumerate(terms) if term]
    places = [f"{table.where}, data row {i + 1}" for i in said]
    current, notes = checked_terms([terms[i] for i in said], places, known)
    outcomes = outcome_table(asked, table, subject)
    mentions = ([people[i] for i in said], current, [there[i] for i in said])
    return outcomes, mentions, asked, [*coded, *notes]


def _is_there(cell: str, row: int, column: str, table: io.RawTable) -> bool:
    word = cell.casefold()
    if word in THERE:
        return True
    if word in GONE:
        return False
    raise CohortError(
        f"{column!r} of {table.where} is {cell!r} in data row {row + 1}; a term is present (1, yes) or excluded (0, "
        f"no)."
    )


def _packets(
    path: Path, asked: Mapping[str, Any], known: Ontology | None
) -> tuple[io.RawTable, Mentions, Mapping[str, Any], list[str]]:
    """Return a table of the cases of phenopackets, their mentions, its settings, and notes."""
    cases = read_phenopackets(_loaded(path), disease_of)
    names = [case.id for case in cases]
    people, terms, there = merged(cases)
    current, notes = checked_terms(terms, [f"{path.name}, case {one}" for one in people], known)
    cells = {
        CASE: names,
        DISEASE: [case.disease for case in cases],
        PUBLICATION: [case.publication for case in cases],
        SEX: [case.sex for case in cases],
    }
    table = io.RawTable(list(cells), cells, len(names), path.name)
    words: dict[str, Any] = {"subject": CASE, "target": DISEASE, **asked}
    if "target_file" in asked:
        given = io.read(Path(str(asked["target_file"])).expanduser())
        words = {"subject": CASE, **asked}
        user_outcome.cells_of(given, words["subject"], "subject")
        return given, (people, current, there), words, notes
    if any(cells[PUBLICATION]) and "split_by" not in asked:
        # A case without a publication is a group of its own.
        own = [paper or f"case {name}" for paper, name in zip(cells[PUBLICATION], names, strict=True)]
        table = replace(table, cells={**cells, PUBLICATION: own})
        words["split_by"] = PUBLICATION
        notes.append("A split keeps the cases of a publication together; `split_by: case` would not.")
    return table, (people, current, there), words, notes


def _loaded(path: Path) -> dict[str, dict[str, Any]]:
    """Return phenopackets by the name of their file: of a folder, a zip file, or one JSON file with one or a list."""
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file or folder {path}.{closest(path.name, beside)}")
    if path.suffix.lower() == ".zip":
        if not zipfile.is_zipfile(path):
            raise CohortError(f"{path} is no zip file that can be read. Get it again.")
        found = dict(iter_phenopackets(path))
    else:
        sources = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        found = {}
        for source in sources:
            place = str(source.relative_to(path)) if path.is_dir() else source.name
            try:
                content = json.loads(source.read_text(encoding="utf-8-sig"))
            except ValueError as error:
                raise CohortError(f"{place} is no JSON: {error}. Correct it or leave it out.") from None
            packets = content if isinstance(content, list) else [content]
            for number, packet in enumerate(packets, start=1):
                name = place if len(packets) == 1 else f"{place}, entry {number}"
                if not isinstance(packet, dict) or not isinstance(packet.get("subject"), dict):
                    raise CohortError(f"{name} is no phenopacket: it has no `subject`. Correct it or leave it out.")
                found[name] = packet
    if not found:
        raise CohortError(f"{path} holds no phenopacket (files that end in .json).")
    return found
