"""Whether a component applies to a modality, an outcome and a width."""

from __future__ import annotations

from raredata_bench.errors import IncompatibleError
from raredata_bench.facts import MethodInfo, covers
from raredata_bench.schema import LabelTarget, Schema, SurvivalTarget, TargetSpec


def check_applies(info: MethodInfo, schema: Schema, width: int) -> None:
    """Raise :class:`IncompatibleError` when a method does not apply to a modality, an outcome or a width."""
    outcome = outcome_kind(schema.target)
    if not covers(info.modalities, schema.modality):
        raise IncompatibleError(f"{info.key} works on {', '.join(info.modalities)}, not on {schema.modality}.")
    if outcome not in info.targets:
        raise IncompatibleError(f"{info.key} works on {', '.join(info.targets)} outcomes, not on {outcome}.")
    if info.p_max is not None and width > info.p_max:
        raise IncompatibleError(f"{info.key} takes at most {info.p_max} columns; the cohort has {width}.")
    for alteration, reason in schema.forbids:
        if alteration in info.alters:
            raise IncompatibleError(f"{info.key} makes a {alteration}, which would break the label here: {reason}.")


def outcome_kind(target: TargetSpec) -> str:
    """Return ``label``, ``survival`` or ``treatment``."""
    if isinstance(target, LabelTarget):
        return "label"
    return "survival" if isinstance(target, SurvivalTarget) else "treatment"
