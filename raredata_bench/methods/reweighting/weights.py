"""Methods that add no rows: they weigh the real ones, or say where probabilities are cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.methods import Decision, Reweighter
from raredata_bench.data.cohort import Cohort


class ClassWeight(Reweighter):
    """Weighs each row by the inverse of the size of its class, n / (K n_c), so that every class counts the same.

    Do not use it where probabilities are acted upon, unless they are corrected for the prior afterwards: the learner
    then believes that all classes are equally common.
    """

    def _weights(self, train: Cohort) -> np.ndarray:
        counts = np.bincount(train.strata)
        return len(train) / (np.count_nonzero(counts) * counts[train.strata])


@dataclass(kw_only=True, eq=False)
class Threshold(Reweighter):
    """Leaves the rows alone and says where probabilities are cut into decisions.

    Changes nothing for scorers that look at probabilities or ranks. With few rows a cut from inner folds is unstable.

    Parameters
    ----------
    decision : {"half", "inner"}
        At one half, or where inner folds of the training rows give the best balanced accuracy.
    """

    decision: Decision = "half"

    def _weights(self, train: Cohort) -> np.ndarray | None:
        return None
