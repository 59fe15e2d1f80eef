"""The facts of a component, as its yaml states them under ``info:`` and the registry hands them to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Among the modalities of a method or a learner: every one, also those that packages of others may add.
ANY = "any"
# What a method may do to a row (``alters``), and a dataset may forbid (``forbids``).
ALTERATIONS = (
    "rotation", "flip", "shift", "scaling", "shape", "cropping", "colour", "intensity", "blur", "noise", "mixing",
    "pitch", "tempo", "spectrum", "time",
)  # fmt: skip


def covers(modalities: Sequence[str], modality: str) -> bool:
    """Whether a component that declares ``modalities`` applies to one."""
    return modality in modalities or ANY in modalities


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Facts of a dataset, from its yaml.

    Parameters
    ----------
    key, label, summary : str
        File name of its yaml, name in tables, one sentence.
    modality : str
        One of ``raredata_bench.schema.MODALITIES``; empty for ``user``, whose file decides.
    tasks : tuple of str
        Tasks that are natural for it, the first being its default.
    disease, orpha : str
        Name and ORPHA code.
    n : int
        Subjects, for planning; 0 where only loading tells.
    licence, source, doi : str
        Terms, where the file comes from, original publication.
    simulated : bool
        True for simulators; shown wherever the name appears.
    private : bool
        Whether the rows are those of whoever runs it: no picture of them is kept unless it is asked for.
    horizon_days : float or None
        Where a survival outcome is asked as a label, days.
    time_unit, time_source : str
        Unit of the times in the source, and what says so.
    forbids : mapping of str to str
        Alterations that would change the outcome of a row, with the reason; methods that make one are refused. Words
        are those of :data:`ALTERATIONS`.
    subgroups : tuple of str or mapping
        Columns, or ``site``, by whose levels scores are also given apart; of a number bands, ``{column: age, cuts:
        [50]}``.
    bayes : mapping of str to float
        Of a simulator at its own settings what its true model scores on the observed columns, by scorer.
    requires : tuple of str
        Import names of optional packages.
    """

    key: str
    label: str
    modality: str = ""
    tasks: tuple[str, ...] = ()
    summary: str = ""
    disease: str = ""
    orpha: str = ""
    n: int = 0
    licence: str = ""
    source: str = ""
    doi: str = ""
    simulated: bool = False
    private: bool = False
    horizon_days: float | None = None
    time_unit: str = ""
    time_source: str = ""
    forbids: Mapping[str, str] = field(default_factory=dict)
    subgroups: tuple[Any, ...] = ()
    bayes: Mapping[str, float] = field(default_factory=dict)
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """Facts of a method.

    Parameters
    ----------
    key, label, summary : str
        File name of its yaml (``ctgan@paper`` for a published setting), name in tables, one sentence.
    family : str
        control, reweighting, resampling, transform, statistical, deep, adapter.
    review_family : str
        Family in the scoping review: reference, classical, oversampling, deep generative, rule/model-based, framework.
    kind : {"reweight", "offline", "online"}
        ``reweight`` methods add no rows: they run once, under the plan ``as_is``, as does ``none``.
    modalities, targets, plans : tuple of str
        Where it applies: modalities of the schema, or ``any``; ``label``, ``survival``; plan keys.
    alters : tuple of str
        What it may do to a row, in the words of ``DatasetInfo.forbids``.
    makes : {"rows", "features"}
        Whether it makes rows of the modality, or of an image, a volume, a sound or a history its features only.
    n_min, n_soft : int
        Rows per stratum that is to be filled, below which it refuses, or runs and is marked ``low_n``.
    p_max : int or None
        Columns above which it refuses.
    needs_all_strata : bool
        Whether ``n_min`` holds for every stratum, or only for those that it has to add rows to.
    sees : {"", "truth", "test_fold"}
        What a control method is handed on purpose: the simulator, or the test fold.
    licence, doi, interpretability : str
        Licence of the code that does the work; source; I1 to I4 of the reporting card.
    seconds : float
        What one fit on about 100 rows and 20 columns takes on one core, for the forecast of a sweep.
    search : mapping
        By parameter what a tuned track tries: a list of values, or ``{low, high, log, whole}``.
    stacked : bool
        Whether the folds of a job are fitted together.
    requires : tuple of str
        Import names of optional packages.
    """

    key: str
    label: str
    family: str
    review_family: str
    kind: str
    summary: str = ""
    modalities: tuple[str, ...] = ("table", "omics")
    targets: tuple[str, ...] = ("label",)
    plans: tuple[str, ...] = ("balance", "x2", "x3", "x5", "replace")
    n_min: int = 1
    n_soft: int = 1
    p_max: int | None = None
    needs_all_strata: bool = False
    alters: tuple[str, ...] = ()
    makes: str = "rows"
    sees: str = ""
    licence: str = "Apache-2.0"
    doi: str = ""
    interpretability: str = "I1"
    seconds: float = 0.05
    search: Mapping[str, Any] = field(default_factory=dict)
    stacked: bool = False
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LearnerInfo:
    """Facts of a learner.

    ``targets`` are ``label`` and ``survival``; ``kind`` is sklearn, survival or lightning; ``reads`` is ``columns``
    (of an image, a volume, a sound or a history its feature table) or ``raw`` (pixels, voxels, samples, visits);
    ``seconds`` is what one fit on about 100 rows and 20 columns takes on one core, for the forecast of a sweep;
    ``search`` is as in :class:`MethodInfo`.
    """

    key: str
    label: str
    kind: str
    summary: str = ""
    modalities: tuple[str, ...] = ("table", "omics")
    targets: tuple[str, ...] = ("label",)
    reads: str = "columns"
    licence: str = "Apache-2.0"
    doi: str = ""
    seconds: float = 0.05
    search: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScorerInfo:
    """Facts of a scorer.

    Parameters
    ----------
    key, label, summary, unit, doi : str
        File name of its yaml, name in tables, one sentence, unit of the value, source.
    family : str
        utility, calibration, survival, treatment, fidelity, diversity, privacy, plausibility, fairness, cost.
    higher_is_better : bool
        Direction.
    low, high : float or None
        Range of possible values, inclusive; ``None`` is unbounded.
    best : float or None
        The ideal value where it is neither bound (a calibration slope of 1); gains are then measured as
        reductions of the distance to it.
    needs : {"outcome", "comparison", "cost"}
        What the function is given.
    targets : tuple of str
        ``label``, ``survival``, ``treatment``.
    unfit : mapping of str to str
        Modalities on whose real datasets it did not put control rows in order, with what was seen; it is not run there.
    rope : float
        Differences of at most this size, in the scorer's unit, are too small to matter (region of practical
        equivalence): .01 for the AUROC and concordances, .02 for balanced accuracy and shares of a class, .04 for the
        MCC, which spans twice as much, .005 for Brier scores and .02 for shares of one (.005 of at most .25). 0, the
        default, declares none: then nothing is called equivalent.
    mean_of : {"", "pairs", "censored_pairs", "squares"}
        What the value is a mean of, for the bootstrap over subjects: pairs of rows in the right order, the same
        weighted for censoring, or squared errors of probabilities; empty for none of these.
    """

    key: str
    label: str
    family: str
    needs: str
    higher_is_better: bool
    summary: str = ""
    low: float | None = None
    high: float | None = None
    best: float | None = None
    unit: str = ""
    targets: tuple[str, ...] = ("label",)
    modalities: tuple[str, ...] = ()
    unfit: Mapping[str, str] = field(default_factory=dict)
    rope: float = 0.0
    mean_of: str = ""
    doi: str = ""
