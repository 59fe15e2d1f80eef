"""Published cases as HPO terms under the data folder, grouped by the publication that reports them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.phenotypes import phenotype_columns
from raredata_bench.datasets import files
from raredata_bench.datasets.phenotype_reading import profiles
from raredata_bench.errors import CohortError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema


def load(
    *,
    info: DatasetInfo,
    folder: str,
    cases: str,
    cases_sha256: str,
    terms: str,
    terms_sha256: str,
    case: str,
    target: str,
    publication: str,
    term: str,
    present: str,
    min_publications: int = 10,
    min_mentions: int = 2,
    by: str = "publication",
    notes: Sequence[str] = (),
) -> Cohort:
    """Load cases and the terms that they mention.

    Do not use it for cases of your own: ``dataset=user`` with ``kind: phenotypes`` needs no checksums.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``source`` and ``licence`` are named when a file is not there.
    folder, cases, terms : str
        ``$RAREDATA_BENCH_DATA/<folder>/`` and its two tables, one row per case and one per mention.
    cases_sha256, terms_sha256 : str
        Their checksums.
    case, target, publication : str
        Columns of the first: id (also in the second), disease, publication.
    term, present : str
        Columns of the second: HPO id, and 1 for present or 0 for excluded.
    min_publications : int
        Diseases that fewer publications report are left out, for a split by publication cannot score them.
    min_mentions : int
        Terms that fewer cases mention are left out.
    by : {"publication", "case"}
        What a split keeps together. By case it flatters: a publication has a style, and so a disease is told by it.
    notes : sequence of str

    Raises
    ------
    MissingDataError
        A file is not there or is not the expected one.
    CohortError
        Fewer than two diseases are left.
    """
    table = files.read_csv(folder, cases, cases_sha256, info)
    papers = table.groupby(target)[publication].nunique()
    chosen = sorted(papers.index[papers >= min_publications])
    if len(chosen) < 2:
        raise CohortError(
            f"{info.key}: {len(chosen)} diseases have {min_publications} publications or more; the most frequent have "
            f"{sorted(papers, reverse=True)[:3]}. Lower min_publications."
        )
    table = table[table[target].isin(chosen)].reset_index(drop=True)
    mentions = files.read_csv(folder, terms, terms_sha256, info)
    mentions = mentions[mentions[case].isin(table[case])]
    people = table[case].astype(str).to_numpy(dtype=object)
    X, _, said = profiles(
        list(mentions[case].astype(str)), list(mentions[term]), list(mentions[present] == 1), list(people),
        min_mentions, f"{folder}/{terms}",
    )  # fmt: skip
    y = table[target].map({name: code for code, name in enumerate(chosen)}).to_numpy(dtype=np.int64)
    group = table[publication].astype(str).to_numpy(dtype=object) if by == "publication" else None
    schema = Schema("phenotype", phenotype_columns(X.terms), LabelTarget(target, tuple(chosen)))
    left = f"{len(papers) - len(chosen)} diseases with fewer than {min_publications} publications are left out."
    return Cohort(info.key, X, y, people, schema, group=group, notes=(*notes, left, *said))
