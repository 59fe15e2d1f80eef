"""Image files to arrays of one size and one number of channels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from raredata_bench.data.images import Images
from raredata_bench.errors import CohortError, ConfigError

# A file that ends early is an error, not a picture that is grey below.
ImageFile.LOAD_TRUNCATED_IMAGES = False
SHOWN = 3


def read_image(content: bytes, where: str) -> np.ndarray:
    """Return one image, uint8 (height, width, 1 or 3): grey stays grey, all else becomes red, green, blue.

    Parameters
    ----------
    content : bytes
        A PNG, JPEG, TIFF, BMP or whatever else Pillow reads.
    where : str
        Names the file, and the row that asks for it, in errors.

    Raises
    ------
    CohortError
        It is no image, or is cut short.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode in ("I;16", "I", "F"):
                values = np.asarray(image, dtype=float)
                top = 65535.0 if image.mode == "I;16" or values.max(initial=0) > 255 else 255.0
                return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)[..., None]
            if image.mode in ("L", "1"):
                return np.asarray(image.convert("L"), dtype=np.uint8)[..., None]
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except UnidentifiedImageError:
        raise CohortError(
            f"{where} is no image that can be read ({len(content)} bytes). Replace or leave it out."
        ) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise CohortError(f"{where} cannot be read as an image: {error}. Replace it or leave it out.") from None


def as_images(pixels: Sequence[np.ndarray], names: Sequence[str], side: int | None) -> tuple[Images, tuple[str, ...]]:
    """Return images of one size from those read, and what was changed.

    Parameters
    ----------
    pixels : sequence of ndarray of uint8, each (height, width, 1 or 3)
    names : sequence of str
        Of their files, for errors.
    side : int or None
        Resize each to ``side`` x ``side``; without, sizes must agree.

    Raises
    ------
    CohortError
        No image, or sizes that differ.
    ConfigError
        A side below 4 pixels.
    """
    if not len(pixels):
        raise CohortError("There is no image.")
    if side is not None and side < 4:
        raise ConfigError(f"`side` is {side}; it must be at least 4 pixels.")
    notes: list[str] = []
    colour = any(one.shape[2] == 3 for one in pixels)
    grey = [i for i, one in enumerate(pixels) if one.shape[2] == 1]
    if colour and grey:
        notes.append(f"{len(grey)} of {len(pixels)} images are grey and were given three equal channels.")
        pixels = [np.repeat(one, 3, axis=2) if one.shape[2] == 1 else one for one in pixels]
    sizes = sorted({one.shape[:2] for one in pixels})
    if side is not None:
        changed = [size for size in sizes if size != (side, side)]
        if changed:
            notes.append(f"Images of {_text(changed)} were resized to {side} x {side} pixels.")
            pixels = [_resized(one, side) for one in pixels]
    elif len(sizes) > 1:
        first = {size: next(n for n, one in zip(names, pixels, strict=True) if one.shape[:2] == size) for size in sizes}
        shown = "; ".join(f"{name} is {size[1]} x {size[0]}" for size, name in list(first.items())[:SHOWN])
        raise CohortError(f"Images differ in size: {shown}. Give `side: 64` to bring all to one size, or crop them.")
    return Images(np.stack(pixels)), tuple(notes)


def _text(sizes: Sequence[tuple[int, ...]]) -> str:
    texts = [f"{width} x {height}" for height, width in sizes[:SHOWN]]
    return ", ".join(texts) + (f" and {len(sizes) - SHOWN} other sizes" if len(sizes) > SHOWN else "")


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    if pixels.shape[:2] == (side, side):
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    out = np.asarray(
        image.resize((side, side), Image.Resampling.BOX if min(pixels.shape[:2]) > side else Image.Resampling.BILINEAR)
    )
    return out[..., None] if out.ndim == 2 else out
