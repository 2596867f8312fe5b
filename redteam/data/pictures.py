"""Reads one image file that nobody vouches for: eight bits, RGB, upright, or a sentence that says why not.

What becomes of each kind of file. Nothing is converted where two programs would convert differently; such a file is refused with the repair.

| kind                                      | as an image                                           | as a mask                              |
|-------------------------------------------|-------------------------------------------------------|----------------------------------------|
| RGB, 8 bits a channel                     | as it is                                              | the mean over channels, above 127.5    |
| grey, 8 bits                              | three equal channels                                  | the same, above 127.5                  |
| palette                                   | the colours that it names                             | the mean of the colours                |
| one bit                                   | refused: dithered or scanned, no photograph           | as it is                               |
| alpha, a transparent colour               | dropped where opaque everywhere, else refused         | the same                               |
| 16 bits, 32 bits, floats                  | refused: the last bits would go, by a rule unsaid     | refused                                |
| CMYK, YCCK, Lab, HSV                      | refused: RGB values depend on a colour profile        | refused                                |
| colour profile, gamma                     | ignored: the numbers in the file are the pixels       | ignored                                |
| EXIF orientation                          | turned upright, and the listed size with it           | turned; must fit the upright image     |
| animation (PNG, WebP)                     | refused                                               | refused                                |
| several pages or pictures (TIFF, MPO)     | the first                                             | the first                              |
| wrong or no extension                     | read as what it holds                                 | the same                               |
| header of more than 89,478,485 pixels     | refused before anything is decoded                    | refused                                |
| cut short, damaged, empty                 | refused, never filled up with grey                    | refused                                |
| other formats (GIF, HEIC, EPS, SVG ...)   | refused                                               | refused                                |
"""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from redteam.data.containers import container
from redteam.data.corpus import Container, UnreadableImage

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # no others: Pillow hands some, such as EPS, to outside programs
PIXEL_LIMIT = 1024**3 // 12  # Pillow's own default; held here because programs often lift Pillow's
MODES = ("L", "LA", "P", "RGB", "RGBA")
_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


@dataclass(frozen=True)
class Header:
    """A file as a corpus lists it, its pixels unread.

    height, width: 0 and 0 where the header cannot be read
    content:       hash of the bytes; `missing` or `unreadable` where there are none to hash
    container:     None where the header cannot be read
    """

    height: int
    width: int
    content: str
    container: Container | None = None


def read_rgb(path: Path) -> np.ndarray:
    """An image file -> (h, w, 3) uint8 by the table above. Raises UnreadableImage."""
    return read_upright(path, MODES)


def read_upright(path: Path, modes: tuple[str, ...]) -> np.ndarray:
    """A file in one of Pillow's modes -> (h, w, 3) uint8, turned as its EXIF says. Raises UnreadableImage."""
    with opened(path) as picture:
        check_kind(path, picture, modes)
        size = _header_size(picture)
        rgb = _opaque_rgb(path, picture)
        if picture.format != "TIFF":  # Pillow turns a TIFF while it decodes
            rgb = ImageOps.exif_transpose(rgb)
        pixels = np.array(rgb)
    if pixels.shape[:2] != size:  # a PNG may say its orientation after its pixels
        raise UnreadableImage(f"{path.name}: the header and the pixels disagree on height and width; save it again as an 8-bit RGB PNG")
    return pixels


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) that `read_rgb` will give, from the file's header alone. Raises UnreadableImage."""
    with opened(path) as picture:
        return _header_size(picture)


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits of a file's bytes, read in pieces. Raises UnreadableImage."""
    _check_file(path)
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableImage(_not_opened(path, error)) from error


def header(path: Path) -> Header:
    """A file as a corpus lists it. Nothing is raised: reading the sample later says what is wrong, and that becomes its `error` record."""
    try:
        content = file_sha256(path)
    except UnreadableImage:
        return Header(0, 0, "unreadable" if os.path.exists(path) else "missing")
    try:
        with opened(path) as picture:
            return Header(*_header_size(picture), content, container(picture))
    except UnreadableImage:
        return Header(0, 0, content)


def leaves(folder: Path, path: Path) -> bool:
    """Whether `path`, all links followed, lies outside `folder`."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _opaque_rgb(path: Path, picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    lowest = rgba.getchannel("A").getextrema()[0]
    if lowest < 255:
        raise UnreadableImage(f"{path.name}: alpha must be 255 everywhere, got {lowest} (mode {picture.mode}); lay the image on a background and save it as RGB")
    return rgba.convert("RGB")


def check_kind(path: Path, picture: Image.Image, modes: tuple[str, ...]) -> None:
    """Raises UnreadableImage for another of Pillow's modes, 16 bits and animations."""
    deep = any(_sixteen_bit(tile[3]) for tile in getattr(picture, "tile", ()))  # Pillow would drop the low byte in silence
    if deep or picture.mode not in modes:
        found = f"16-bit {picture.mode}" if deep else picture.mode
        wanted = "8-bit RGB" if "RGB" in modes else "8-bit grey"
        raise UnreadableImage(f"{path.name}: mode must be {wanted}{', grey' * ('RGB' in modes)} or palette, got {found}; convert it to {wanted} and save it as PNG")
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
def opened(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it; whatever goes wrong inside becomes UnreadableImage, and no warning gets out."""
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on metadata; too many pixels are refused below
            with _whole_files(), Image.open(path, formats=FORMATS) as picture:
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


@contextmanager
def _whole_files() -> Iterator[None]:
    """Pillow refuses files that are cut short, also where another program told it to fill them up with grey."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


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
