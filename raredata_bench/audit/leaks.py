"""What gives the outcome away on its own: a column, a thumbnail, age and sex, how a file was made, the site."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from scipy.stats import chi2_contingency

from raredata_bench.audit.findings import Finding, labelled, listed
from raredata_bench.audit.ranks import auc_error, held_out_auc, macro_columns
from raredata_bench.audit.thumbnails import thumbnails
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import Featured
from raredata_bench.data.images import Images

SURE, TELLING = 0.99, 0.95
CHANCE = 0.01
SURELY = 2.33  # standard errors, one chance in a hundred
THUMBNAIL, PERSON, TECHNICAL = 0.9, 0.75, 0.75
AGE_OR_SEX = re.compile(r"(age|sex|gender)([ _.-].*)?", re.I)
# Modalities in which a single feature that tells the outcome is a discovery more often than a leak.
MOLECULAR = ("omics", "blocks", "phenotype")


def single(cohort: Cohort) -> Iterator[Finding]:
    """Yield columns that tell the outcome on their own."""
    codes = cohort.strata
    if len(np.unique(codes)) < 2 or not cohort.matrix.shape[1] or not labelled(cohort):
        return
    area, p = macro_columns(cohort.matrix, codes)
    levelled = np.flatnonzero(cohort.schema.kinds == "categorical")
    for j in levelled:
        area[j], p[j] = _by_level(cohort.matrix[:, j], codes)
    found = np.flatnonzero((area >= TELLING) & (p * len(area) < CHANCE))
    found = found[np.argsort(-area[found], kind="stable")]
    if not len(found):
        return
    names = [f"{cohort.schema.names[j]} ({area[j]:.2f})" for j in found]
    sure = bool(area[found[0]] >= SURE)
    values = {"columns": [cohort.schema.names[j] for j in found], "auc": [float(area[j]) for j in found]}
    if cohort.schema.modality in MOLECULAR:
        text = f"{len(found)} features tell the outcome on their own (AUC): {listed(names)}. Batch, tissue, or biology?"
        yield Finding("leak", "note", text, values)
        return
    if isinstance(cohort.X, Featured):
        text = (
            f"{len(found)} features of a single row give the outcome away on their own (AUC): {listed(names)}. Were "
            "the classes recorded, stored or cut in different ways? If so, what is learnt is that."
        )
        yield Finding("leak", "problem" if sure else "warning", text, values)
        return
    what = "the outcome itself by another name, or made of it?" if sure else "measured before the outcome was known?"
    yield Finding(
        "leak",
        "problem" if sure else "warning",
        f"Single columns give the outcome away (AUC): {listed(names)}. Are they {what} If not sure, name them under "
        "`drop` and look at the difference.",
        values,
    )


def _by_level(values: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """Return the area of a column of levels, each rated by the classes of its other rows, and its chi-square p."""
    known = ~np.isnan(values)
    level, code = values[known].astype(int), codes[known]
    classes = np.unique(code)
    if len(classes) < 2 or len(np.unique(level)) < 2:
        return 0.5, 1.0
    table = np.zeros((level.max() + 1, codes.max() + 1))
    np.add.at(table, (level, code), 1)
    rated = np.stack([(table[level, k] - (code == k)) / np.maximum(table[level].sum(1) - 1, 1) for k in classes], 1)
    area = [macro_columns(rated[:, [k]], (code == label).astype(int))[0][0] for k, label in enumerate(classes)]
    full = table[table.sum(axis=1) > 0][:, classes]
    return float(np.mean(area)), float(chi2_contingency(full).pvalue)


def thumbnail(cohort: Cohort) -> Iterator[Finding]:
    """Yield whether sixteen pixels, or the mean colour alone, tell the outcome."""
    if not isinstance(cohort.X, Images) or not labelled(cohort):
        return
    small = thumbnails(cohort.X)
    owners = _owners(cohort)
    by = {
        "a 16-pixel thumbnail": held_out_auc(small.reshape(len(cohort), -1), cohort.strata, owners),
        "the mean colour": held_out_auc(small.mean(axis=(1, 2)), cohort.strata, owners),
    }
    known = {what: area for what, area in by.items() if area is not None}
    if not known:
        return
    what, area = max(known.items(), key=lambda pair: pair[1])
    telling = area >= THUMBNAIL and _above(area, cohort, THUMBNAIL - 0.1)
    text = f"{what[0].upper()}{what[1:]} tells the outcome (held-out macro AUC {area:.2f})"
    text += (
        ": how a picture was taken gives the class away. Do not rank methods on it; standardise, or crop."
        if telling
        else ", which is no more than colour and size would."
        if area > 0.7
        else "; nothing to worry about."
    )
    yield Finding("thumbnail", "problem" if telling else "note", text, dict(known))


def person(cohort: Cohort) -> Iterator[Finding]:
    """Yield how far age and sex alone tell the outcome."""
    if not labelled(cohort):
        return
    parts = [cohort.matrix[:, j] for j, name in enumerate(cohort.schema.names) if AGE_OR_SEX.fullmatch(name)]
    parts += [values for name, values in cohort.technical if AGE_OR_SEX.fullmatch(name)]
    if not parts:
        return
    area = held_out_auc(np.stack(parts, axis=1), cohort.strata, _owners(cohort))
    if area is None:
        return
    telling = area >= PERSON and _above(area, cohort, 0.6)
    text = f"Age and sex alone reach a held-out AUC of {area:.2f}" + (
        ": a model may learn who was recruited. Match the groups, or report it beside every result." if telling else "."
    )
    yield Finding("age_and_sex", "warning" if telling else "note", text, {"auc": area})


def technical(cohort: Cohort) -> Iterator[Finding]:
    """Yield what is known of how rows were made (file size, recording length, image size) and tells the outcome."""
    if not labelled(cohort):
        return
    for name, values in cohort.technical:
        if AGE_OR_SEX.fullmatch(name):
            continue
        area, p = (float(one[0]) for one in macro_columns(values[:, None], cohort.strata))
        if area >= TECHNICAL and p < CHANCE:
            text = (
                f"The {name} tells the outcome (AUC {area:.2f}): classes were recorded in different ways. Bring all to "
                "one form before anything is learnt."
            )
            yield Finding("acquisition", "warning", text, {"what": name, "auc": area})


def site(cohort: Cohort) -> Iterator[Finding]:
    """Yield sites of one class, and how far the site tells the outcome."""
    if cohort.site is None or not labelled(cohort):
        return
    sites, of = np.unique(cohort.site.astype(str), return_inverse=True)
    if len(sites) < 2:
        return
    single_class = [str(one) for k, one in enumerate(sites) if len(np.unique(cohort.strata[of == k])) < 2]
    area, p = _by_level(of.astype(float), cohort.strata)
    if single_class or (area >= TECHNICAL and p < CHANCE):
        text = f"The site tells the outcome (AUC {area:.2f})"
        text += f"; {listed(single_class)} has one class only" if single_class else ""
        level = "problem" if single_class and area >= TELLING else "warning"
        text += ". What is learnt may be the hospital: compare within sites, or leave such sites out."
        yield Finding("site", level, text, {"auc": area, "one_class": single_class})


def _owners(cohort: Cohort) -> np.ndarray:
    owners = cohort.subject if cohort.group is None else cohort.group
    return owners.astype(str)


def _above(area: float, cohort: Cohort, floor: float) -> bool:
    """Whether an area is above a floor beyond its error, by subjects of the rarest class."""
    counts = list(cohort.subject_counts.values())
    rare = max(2, min(counts))
    return area - SURELY * auc_error(area, rare, max(2, sum(counts) - rare)) > floor
