"""Mixed tables: a ``pandas.DataFrame`` whose dtypes are those of its schema."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from raredata_bench.data import payloads
from raredata_bench.errors import CohortError
from raredata_bench.schema import Column, Schema


def conform(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return ``frame`` with the columns, order and dtypes of ``schema``.

    Raises
    ------
    CohortError
        A column is missing, a value is not one of the declared levels, or a number cannot be read as one.
    """
    absent = [name for name in schema.names if name not in frame.columns]
    if absent:
        raise CohortError(f"The table lacks the columns {absent[:5]}; it has {list(frame.columns)[:10]}.")
    columns = {}
    for column in schema.columns:
        values = frame[column.name]
        if column.levelled:
            kept = pd.Categorical(values, categories=list(column.levels), ordered=column.kind == "ordinal")
            lost = pd.unique(values[np.asarray(kept.isna()) & values.notna().to_numpy()])
            if len(lost):
                raise CohortError(
                    f"Column {column.name!r} holds {list(lost)[:5]}, which are not among its levels "
                    f"{list(column.levels)[:10]}. Name them in the schema or mark them as missing."
                )
            columns[column.name] = pd.Series(kept, index=frame.index)
        else:
            try:
                columns[column.name] = values.astype("float64")
            except (TypeError, ValueError) as error:
                raise CohortError(f"Column {column.name!r} is {column.kind} but holds text: {error}.") from None
    return pd.DataFrame(columns, index=frame.index).reset_index(drop=True)


@payloads.n_rows.register
def _(payload: pd.DataFrame) -> int:
    return len(payload)


@payloads.take.register
def _(payload: pd.DataFrame, index: np.ndarray) -> pd.DataFrame:
    return payload.iloc[np.asarray(index)].reset_index(drop=True)


@payloads.stack.register
def _(first: pd.DataFrame, others: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([first, *others], ignore_index=True)


@payloads.fingerprint.register
def _(payload: pd.DataFrame) -> str:
    sha = hashlib.sha256("\x1f".join(map(str, payload.columns)).encode())
    for name in payload.columns:
        values = payload[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            sha.update("\x1f".join(map(str, values.cat.categories)).encode())
            sha.update(np.ascontiguousarray(values.cat.codes.to_numpy(), dtype="<i4").tobytes())
        else:
            sha.update(np.ascontiguousarray(values.to_numpy(), dtype="<f8").tobytes())
    return sha.hexdigest()


@payloads.as_matrix.register
def _(payload: pd.DataFrame, schema: Schema) -> np.ndarray:
    out = np.empty((len(payload), len(schema.columns)))
    for j, column in enumerate(schema.columns):
        values = payload[column.name]
        if column.levelled:
            codes = values.cat.codes.to_numpy().astype(float)
            codes[codes < 0] = np.nan
            out[:, j] = codes
        else:
            out[:, j] = values.to_numpy()
    # R writes its NA as a signalling NaN, at which arithmetic warns.
    out[np.isnan(out)] = np.nan
    return out


@payloads.with_matrix.register
def _(payload: pd.DataFrame, matrix: np.ndarray, schema: Schema) -> pd.DataFrame:
    settled = payloads.settle(matrix, schema)
    columns: dict[str, object] = {}
    for j, column in enumerate(schema.columns):
        values = settled[:, j]
        if column.levelled:
            codes = np.where(np.isnan(values), -1, np.nan_to_num(values)).astype(int)
            dtype = pd.CategoricalDtype(list(column.levels), ordered=column.kind == "ordinal")
            columns[column.name] = pd.Categorical.from_codes(codes.tolist(), dtype=dtype)
        else:
            columns[column.name] = values
    return pd.DataFrame(columns, columns=list(schema.names))


@payloads.with_column.register
def _(payload: pd.DataFrame, column: Column, codes: np.ndarray) -> pd.DataFrame:
    dtype = pd.CategoricalDtype(list(column.levels), ordered=column.kind == "ordinal")
    return payload.assign(**{column.name: pd.Categorical.from_codes(np.asarray(codes).tolist(), dtype=dtype)})
