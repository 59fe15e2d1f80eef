"""Sound files to waveforms of one sampling rate."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import gcd

import numpy as np
import soundfile
from scipy.signal import resample_poly

from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import CohortError, ConfigError


def read_sound(content: bytes, where: str) -> tuple[np.ndarray, int]:
    """Return one sound, float32 (length,), channels averaged, and its sampling rate in Hz.

    Parameters
    ----------
    content : bytes
        A WAV, FLAC or whatever else libsndfile reads.
    where : str
        Names the file, and the row that asks for it, in errors.

    Raises
    ------
    CohortError
        It is no sound, is cut short, has no sample, or one that is not finite.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            promised = len(file)
            samples = file.read(dtype="float32", always_2d=True)
            rate = int(file.samplerate)
    except (soundfile.LibsndfileError, ValueError, RuntimeError) as error:
        # libsndfile names the stream that it was handed, which says nothing to anybody.
        why = str(error).rpartition(">: ")[2].rstrip(".")
        raise CohortError(f"{where} cannot be read as a sound: {why}. Replace it or leave it out.") from None
    if not len(samples):
        raise CohortError(f"{where} has no sample: its length is zero. Replace it or leave it out.")
    if len(samples) < promised:
        raise CohortError(f"{where} is cut short: {len(samples)} of {promised} samples are there. Replace it.")
    if not np.isfinite(samples).all():
        first = int((~np.isfinite(samples)).any(axis=1).argmax())
        raise CohortError(f"{where} holds a sample that is no number, the first at {first / rate:.3f} s. Replace it.")
    return samples.mean(axis=1), rate


def as_waveforms(
    sounds: Sequence[np.ndarray], rates: Sequence[int], names: Sequence[str], rate: int | None
) -> tuple[Waveforms, tuple[str, ...]]:
    """Return sounds of one rate from those read, and what was changed.

    Parameters
    ----------
    sounds : sequence of ndarray of float32, each (length,)
    rates : sequence of int
        Hz of each.
    names : sequence of str
        Of their files, for errors.
    rate : int or None
        Resample to it; without, rates must agree.

    Raises
    ------
    CohortError
        No sound, or rates that differ.
    ConfigError
        A rate that is not positive.
    """
    if not len(sounds):
        raise CohortError("There is no sound.")
    if rate is not None and rate <= 0:
        raise ConfigError(f"`rate` is {rate}; it must be a positive number of Hz.")
    notes: list[str] = []
    known = sorted(set(rates))
    if rate is None and len(known) > 1:
        shown = "; ".join(f"{names[list(rates).index(one)]} has {one} Hz" for one in known[:3])
        raise CohortError(f"Sounds differ in their sampling rate: {shown}. Give `rate: 16000` to bring all to one.")
    wanted = known[0] if rate is None else rate
    changed = [one for one in known if one != wanted]
    if changed:
        notes.append(f"Sounds of {', '.join(map(str, changed))} Hz were resampled to {wanted} Hz.")
        sounds = [_resampled(one, own, wanted) for one, own in zip(sounds, rates, strict=True)]
    lengths = np.array([len(one) for one in sounds], dtype=np.int64)
    samples = np.zeros((len(sounds), int(lengths.max())), dtype=np.float32)
    for i, one in enumerate(sounds):
        samples[i, : len(one)] = one
    return Waveforms(samples, int(wanted), lengths), tuple(notes)


def _resampled(sound: np.ndarray, own: int, wanted: int) -> np.ndarray:
    if own == wanted:
        return sound
    common = gcd(own, wanted)
    return np.asarray(resample_poly(sound, wanted // common, own // common), dtype=np.float32)
