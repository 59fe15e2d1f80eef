"""Outcome arrays: labels (n,) int64, or structured arrays for survival and for trials."""

from __future__ import annotations

import numpy as np

from raredata_bench.schema import LabelTarget, SurvivalTarget, TargetSpec, TrialTarget

SURVIVAL_DTYPE = np.dtype([("event", "?"), ("time_days", "<f8")])
TRIAL_LABEL_DTYPE = np.dtype([("arm", "<i8"), ("label", "<i8")])
TRIAL_SURVIVAL_DTYPE = np.dtype([("arm", "<i8"), ("event", "?"), ("time_days", "<f8")])


def survival_array(event: np.ndarray, time_days: np.ndarray) -> np.ndarray:
    """Return a structured array (event: bool, time_days: float64) of shape (n,), scikit-survival's convention."""
    out = np.empty(len(event), dtype=SURVIVAL_DTYPE)
    out["event"] = np.asarray(event, dtype=bool)
    out["time_days"] = np.asarray(time_days, dtype=float)
    return out


def trial_array(arm: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Return a structured array with ``arm`` (int64) beside the fields of ``outcome`` (labels or survival)."""
    survival = outcome.dtype.names is not None
    out = np.empty(len(arm), dtype=TRIAL_SURVIVAL_DTYPE if survival else TRIAL_LABEL_DTYPE)
    out["arm"] = np.asarray(arm, dtype=np.int64)
    if survival:
        out["event"], out["time_days"] = outcome["event"], outcome["time_days"]
    else:
        out["label"] = outcome
    return out


def dtype_for(target: TargetSpec) -> np.dtype:
    """Return the dtype that ``y`` has under ``target``."""
    if isinstance(target, LabelTarget):
        return np.dtype("<i8")
    if isinstance(target, SurvivalTarget):
        return SURVIVAL_DTYPE
    return TRIAL_SURVIVAL_DTYPE if isinstance(target.outcome, SurvivalTarget) else TRIAL_LABEL_DTYPE


def stratum_codes(y: np.ndarray, target: TargetSpec) -> np.ndarray:
    """Return int64 (n,), an index into ``target.strata``: the class, or 0 censored and 1 event."""
    if isinstance(target, LabelTarget):
        return np.asarray(y, dtype=np.int64)
    if isinstance(target, TrialTarget) and isinstance(target.outcome, LabelTarget):
        return np.asarray(y["label"], dtype=np.int64)
    return np.asarray(y["event"], dtype=np.int64)


def count_strata(y: np.ndarray, target: TargetSpec) -> dict[str, int]:
    """Return the number of rows of each stratum, by name, zeros included."""
    counts = np.bincount(stratum_codes(y, target), minlength=len(target.strata))
    return {name: int(count) for name, count in zip(target.strata, counts, strict=True)}
