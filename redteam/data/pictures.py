"""Reads one image file that nobody vouches for: eight bits, RGB, upright, or a sentence that says why not."""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from redteam.data.corpus import UnreadableImage

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # no others: Pillow hands some, such as EPS, to outside programs
PIXEL_LIMIT = 1024**3 // 12  # Pillow's own default; held here because programs often lift Pillow's
_IMAGE_MODES = ("L", "LA", "P", "RGB", "RGBA")
_MASK_MODES = ("1", *_IMAGE_MODES)
_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


def read_rgb(path: Path) -> np.ndarray:
    """An image file -> (h, w, 3) uint8, turned upright as its EXIF says. Raises UnreadableImage.

    8-bit RGB, grey and palette images are read, with an alpha channel only where it is opaque everywhere. Of a file with several pages
    the first is read; an animation is refused.
    """
    return _upright(path, _IMAGE_MODES)


def read_mask(path: Path, height: int, width: int) -> np.ndarray:
    """A mask file -> (height, width) uint8, 255 where the mean over channels is above 127.5 (forged), else 0. Raises UnreadableImage."""
    levels = _upright(path, _MASK_MODES)
    if levels.shape[:2] != (height, width):
        found = f"{levels.shape[0]} high and {levels.shape[1]} wide"
        raise UnreadableImage(f"{path.name}: a mask must be as large as its image, {height} high and {width} wide, got {found}; make the mask from this image")
    forged = levels.sum(2, dtype=np.uint16) > 382  # of three channels: 3 * 127.5 = 382.5
    if levels.any() and not forged.any():
        brightest = int(levels.max())
        raise UnreadableImage(f"{path.name}: a mask must be white (255) where the image is forged, got {brightest} at most; save it in black and white")
    return forged.astype(np.uint8) * 255


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) that `read_rgb` will give, from the file's header alone. Raises UnreadableImage."""
    with _opened(path) as picture:
        return _header_size(picture)


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits of a file's bytes, read in pieces. Raises UnreadableImage."""
    _check_file(path)
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableImage(_not_opened(path, error)) from error


def survey(path: Path) -> tuple[int, int, str]:
    """Height, width and content hash of a file as a corpus lists it.

    A size of 0 x 0 says that the header cannot be read; content is `missing` or `unreadable` where there are no bytes to hash. Nothing
    is raised: reading the sample later says what is wrong, and that becomes its `error` record.
    """
    try:
        content = file_sha256(path)
    except UnreadableImage:
        return 0, 0, "unreadable" if os.path.exists(path) else "missing"
    try:
        return *image_size(path), content
    except UnreadableImage:
        return 0, 0, content


def leaves(folder: Path, path: Path) -> bool:
    """Whether `path`, all links followed, lies outside `folder`."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _upright(path: Path, modes: tuple[str, ...]) -> np.ndarray:
    with _opened(path) as picture:
        _check_kind(path, picture, modes)
        size = _header_size(picture)
        rgb = _opaque_rgb(path, picture)
        if picture.format != "TIFF":  # Pillow turns a TIFF while it decodes
            rgb = ImageOps.exif_transpose(rgb)
        pixels = np.array(rgb)
    if pixels.shape[:2] != size:  # a PNG may say its orientation after its pixels
        raise UnreadableImage(f"{path.name}: the header and the pixels disagree on height and width; save it again as an 8-bit RGB PNG")
    return pixels


def _opaque_rgb(path: Path, picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    lowest = rgba.getchannel("A").getextrema()[0]
    if lowest < 255:
        raise UnreadableImage(f"{path.name}: alpha must be 255 everywhere, got {lowest} (mode {picture.mode}); lay the image on a background and save it as RGB")
    return rgba.convert("RGB")


def _check_kind(path: Path, picture: Image.Image, modes: tuple[str, ...]) -> None:
    deep = any(_sixteen_bit(tile[3]) for tile in getattr(picture, "tile", ()))  # Pillow would drop the low byte in silence
    if deep or picture.mode not in modes:
        found = f"16-bit {picture.mode}" if deep else picture.mode
        raise UnreadableImage(f"{path.name}: mode must be 8-bit RGB, grey or palette, got {found}; convert it to 8-bit RGB and save it as PNG")
    if picture.format in ("PNG", "WEBP") and getattr(picture, "is_animated", False):
        raise UnreadableImage(f"{path.name}: an image must be one picture, got an animation; save the frame that is meant")


def _sixteen_bit(decoder_arguments: object) -> bool:
    words = decoder_arguments if isinstance(decoder_arguments, tuple) else (decoder_arguments,)
    return any(isinstance(word, str) and word.endswith((";16B", ";16L", ";16N")) for word in words)


def _header_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    # The base class's getexif: that of a PNG decodes the whole picture first. A TIFF's size is upright already.
    swapped = picture.format != "TIFF" and Image.Image.getexif(picture).get(ExifTags.Base.Orientation) in _SWAPPED
    return (width, height) if swapped else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it; whatever goes wrong inside becomes UnreadableImage, and no warning gets out."""
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on metadata; too many pixels are refused below
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > PIXEL_LIMIT:
                    raise Image.DecompressionBombError
                yield picture
    except (UnreadableImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"{path.name}: an image must have at most {PIXEL_LIMIT} pixels, its header says more; scale it down") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{path.name}: the file must be a PNG, JPEG, WebP, BMP or TIFF image, got something else; convert it to PNG") from error
    except PermissionError as error:
        raise UnreadableImage(_not_opened(path, error)) from error
    except Exception as error:  # Pillow raises a dozen kinds for damaged files: OSError, SyntaxError, struct.error, zlib.error ...
        raise UnreadableImage(f"{path.name}: the image data are damaged or cut short; copy the file again from where it came") from error


def _check_file(path: Path) -> None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableImage(f"{path.name}: there is no such file; put it back or take it out of the corpus") from error
    except OSError as error:
        raise UnreadableImage(_not_opened(path, error)) from error
    if not stat.S_ISREG(found.st_mode):  # a pipe would block for ever
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe"
        raise UnreadableImage(f"{path.name}: an image must be a file, got {kind}; take it out of the corpus")
    if found.st_size == 0:
        raise UnreadableImage(f"{path.name}: the file is empty (0 bytes); copy it again from where it came")


def _not_opened(path: Path, error: OSError) -> str:
    return f"{path.name}: the file cannot be opened ({error.strerror}); make it readable or take it out of the corpus"
