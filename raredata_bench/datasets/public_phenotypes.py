"""Releases of phenopacket-store: published cases as HPO terms, one JSON phenopacket each, in one zip file."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.phenotypes import phenotype_columns
from raredata_bench.datasets.download import fetch_url
from raredata_bench.datasets.phenotype_reading import checked_terms, merged, profiles, read_phenopackets
from raredata_bench.errors import CohortError, ConfigError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema

SHOWN = 5
RELEASE = "https://github.com/monarch-initiative/phenopacket-store/releases/download/{tag}/all_phenopackets.zip"


def load_phenopacket_store(
    *,
    info: DatasetInfo,
    tag: str,
    sha256: str | None = None,
    cohorts: Sequence[str] | None = None,
    diseases: Sequence[str] | None = None,
    min_cases: int = 20,
    most_diseases: int | None = 6,
    min_mentions: int = 2,
    download: bool | None = None,
    mirror: str | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load published cases of look-alike diseases from a release of phenopacket-store, grouped by publication.

    Do not use a split by case on them: a publication has a style of its own, and so a disease is told by it.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    tag : str
        Of the release (``0.1.27``).
    sha256 : str or None
        Of its zip file; without one that of the first download is kept and checked ever after.
    cohorts, diseases, min_cases, most_diseases
        See :func:`select_phenopackets`.
    min_mentions : int
        Terms that fewer cases mention are left out.
    download, mirror
        Permission and mirror, see :func:`raredata_bench.datasets.download.fetch_url`.
    notes : sequence of str

    Raises
    ------
    MissingDataError
        The file is not in the cache and may not be downloaded, or cannot be.
    CohortError
        The file is damaged, or fewer than two diseases are left.
    """
    url, name = RELEASE.format(tag=tag), f"phenopacket_store_{tag}.zip"
    path = fetch_url(url, info=info, name=name, sha256=sha256, allow=download, mirror=mirror)
    chosen = select_phenopackets(path, cohorts, diseases, min_cases, most_diseases)
    cases = read_phenopackets(chosen, disease_of)
    people, terms, there = merged(cases)
    current, moved = checked_terms(terms, [f"{path.name}, case {one}" for one in people], None)
    names = [case.id for case in cases]
    X, _, said = profiles(people, current, there, names, min_mentions, path.name)
    classes = sorted({case.disease for case in cases})
    y = np.array([classes.index(case.disease) for case in cases], dtype=np.int64)
    group = np.array([case.publication or f"case {case.id}" for case in cases], dtype=object)
    schema = Schema("phenotype", phenotype_columns(X.terms), LabelTarget("disease", tuple(classes)))
    said = (*notes, f"Release {tag} of phenopacket-store.", *moved, *said)
    return Cohort(info.key, X, y, np.array(names, dtype=object), schema, group=group, notes=said)


def iter_phenopackets(path: Path, cohorts: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each phenopacket of a release, in the order of their names.

    Parameters
    ----------
    path : Path
        ``all_phenopackets.zip``: ``<release>/<cohort>/<case>.json``.
    cohorts : sequence of str or None
        Folders, mostly named by a gene (``FBN1``); all by default.

    Raises
    ------
    CohortError
        The zip file or a phenopacket in it is damaged; the message names the file.
    ConfigError
        A cohort that the release does not have.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.lower().endswith(".json"))
            have = {_cohort_of(name) for name in names}
            for one in cohorts or ():
                if one not in have:
                    raise ConfigError(f"{path.name} has no cohort {one!r} among {len(have)}.{closest(one, have)}")
            for name in names:
                if cohorts is None or _cohort_of(name) in cohorts:
                    yield name, _packet(archive.read(name), f"{path.name}: {name}")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise CohortError(f"{path} is no zip file that can be read: {error}. Remove it and get it again.") from None


def disease_of(packet: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return id and label of the one disease that a phenopacket is diagnosed with, None where it is none or several."""
    found: dict[str, str] = {}
    for one in packet.get("interpretations") or []:
        disease = ((one or {}).get("diagnosis") or {}).get("disease") or {}
        if disease.get("id"):
            found[str(disease["id"])] = str(disease.get("label") or disease["id"])
    if not found:
        for one in packet.get("diseases") or []:
            term = {} if one.get("excluded") else one.get("term") or {}
            if term.get("id"):
                found[str(term["id"])] = str(term.get("label") or term["id"])
    return next(iter(found.items())) if len(found) == 1 else None


def select_phenopackets(
    path: Path,
    cohorts: Sequence[str] | None = None,
    diseases: Sequence[str] | None = None,
    min_cases: int = 1,
    most_diseases: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the phenopackets of the diseases asked for, by name.

    Parameters
    ----------
    path : Path
        A release, see :func:`iter_phenopackets`.
    cohorts : sequence of str or None
        Folders to look into.
    diseases : sequence of str or None
        Ids (``OMIM:154700``); all that have enough cases by default.
    min_cases : int
        Cases that a disease needs.
    most_diseases : int or None
        Keep the so many diseases with most cases, by id where they are as frequent.

    Raises
    ------
    CohortError
        The release is damaged, or fewer than two diseases are left.
    ConfigError
        A disease or a cohort that the release does not have, or a number below 1.
    """
    if min_cases < 1 or (most_diseases is not None and most_diseases < 2):
        raise ConfigError(f"min_cases is {min_cases} and most_diseases {most_diseases}; at least 1 and 2 are needed.")
    packets, of = {}, {}
    for name, packet in iter_phenopackets(path, cohorts):
        disease = disease_of(packet)
        if disease is not None:
            packets[name], of[name] = packet, disease[0]
    counts = Counter(of.values())
    for one in diseases or ():
        if one not in counts:
            raise ConfigError(f"{path.name} has no case of {one!r}.{closest(one, counts)} Ids look like OMIM:154700.")
    wanted = [one for one in sorted(diseases or counts, key=lambda id: (-counts[id], id)) if counts[one] >= min_cases]
    wanted = wanted[:most_diseases]
    if len(wanted) < 2:
        shown = ", ".join(f"{id} ({n})" for id, n in counts.most_common(SHOWN)) or "none"
        raise CohortError(
            f"{path.name} has {len(wanted)} of the diseases asked for with {min_cases} cases or more; two are needed. "
            f"Most frequent are {shown}."
        )
    return {name: packet for name, packet in packets.items() if of[name] in wanted}


def _cohort_of(name: str) -> str:
    return name.rstrip("/").split("/")[-2] if "/" in name else ""


def _packet(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise CohortError(f"{where} is no JSON: {error}. Get the release again.") from None
    if not isinstance(found, dict) or not isinstance(found.get("subject"), dict):
        raise CohortError(f"{where} is no phenopacket: it has no `subject`. Get the release again.")
    return found
