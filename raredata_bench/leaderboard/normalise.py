"""Scores of synthetic rows on a common scale: 1 is as good as an independent real sample, 0 as bad as the box."""

from __future__ import annotations

import numpy as np
import pandas as pd

# The declared bad reference must lie this many standard errors from the real one, or the scale has no length.
MIN_ERRORS = 5.0


def ratio_of_means(long: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return ``reference`` and ``normalised`` for every group of splits.

    ``normalised = (mean bad - mean value) / (mean bad - mean reference)``, each as a distance from the ideal: a ratio
    of means, never a mean of ratios. It is NaN where the bad reference is not worse than the real one by five standard
    errors of the latter.

    Parameters
    ----------
    long : DataFrame
        One row per split; float columns ``value, reference, reference_sd, bad`` and ``worth, worth_reference,
        worth_bad``, which are the same with larger being better.
    by : list of str
        Columns that make a group.
    """
    groups = long.groupby(by, sort=False, dropna=False)
    reference = groups["reference"].mean()
    whole = long.dropna(subset=["worth", "worth_reference", "worth_bad"])
    variance = whole["reference_sd"] ** 2
    inner = whole.assign(variance=variance).groupby(by, sort=False, dropna=False)
    means = inner[["worth", "worth_reference", "worth_bad", "variance"]].mean()
    length = means["worth_reference"] - means["worth_bad"]
    error = np.sqrt(means["variance"] / inner.size())
    normalised = (means["worth"] - means["worth_bad"]) / length.where((length > 0) & (length >= MIN_ERRORS * error))
    return pd.DataFrame({"reference": reference, "normalised": normalised.reindex(reference.index)})
