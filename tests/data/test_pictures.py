import hashlib
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from redteam.data.corpus import Container, UnreadableImage
from redteam.data.masks import read_classes, read_mask
from redteam.data.pictures import PIXEL_LIMIT, Header, file_sha256, header, image_size, leaves, read_rgb

DAMAGED = "the image data are damaged or cut short; copy the file again from where it came"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def refusal(read, *arguments):
    with pytest.raises(UnreadableImage) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(path, width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("name, options", [("a.png", {}), ("a.bmp", {}), ("a.tiff", {}), ("a.webp", {"lossless": True})])
def test_lossless_formats_come_back_as_they_were(tmp_path, pixels, name, options):
    path = save(tmp_path / name, pixels, **options)
    read = read_rgb(path)
    assert read.dtype == np.uint8 and read.flags.writeable
    np.testing.assert_array_equal(read, pixels)
    assert image_size(path) == (24, 40)


def test_a_jpeg_reads_as_pillow_decodes_it(tmp_path, pixels):
    path = save(tmp_path / "a.jpg", pixels, quality=80)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(read_rgb(path), np.asarray(picture))


def test_the_photo_of_a_multi_picture_jpeg_is_read(tmp_path, pixels):
    path = tmp_path / "phone.jpg"
    Image.fromarray(pixels).save(path, format="MPO", save_all=True, append_images=[Image.fromarray(pixels[:8, :8])])
    assert read_rgb(path).shape == pixels.shape


def test_grey_and_palette_images_become_rgb(tmp_path, pixels):
    grey = read_rgb(save(tmp_path / "grey.png", pixels[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))
    palette = Image.fromarray(pixels).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_alpha_is_dropped_only_where_it_is_opaque_everywhere(tmp_path, pixels):
    alpha = np.full((24, 40, 1), 255, np.uint8)
    path = save(tmp_path / "a.png", np.concatenate([pixels, alpha], 2))
    np.testing.assert_array_equal(read_rgb(path), pixels)
    alpha[3, 4] = 7
    save(path, np.concatenate([pixels, alpha], 2))
    assert refusal(read_rgb, path) == "a.png: alpha must be 255 everywhere, got 7 (mode RGBA); lay the image on a background and save it as RGB"


def test_a_transparent_colour_counts_as_alpha(tmp_path, pixels):
    pixels[0, 0] = 1, 2, 3
    rgb = save(tmp_path / "rgb.png", pixels, transparency=(1, 2, 3))
    assert refusal(read_rgb, rgb).startswith("rgb.png: alpha must be 255 everywhere, got 0 (mode RGB);")
    Image.fromarray(pixels).quantize(4).save(tmp_path / "p.png", transparency=0)
    assert refusal(read_rgb, tmp_path / "p.png").startswith("p.png: alpha must be 255 everywhere, got 0 (mode P);")


@pytest.mark.parametrize("mode, name", [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("I;16", "a.png"), ("F", "a.tif"), ("1", "a.png"), ("LAB", "a.tif")])
def test_other_modes_are_refused_by_name(tmp_path, mode, name):
    Image.new(mode, (40, 24)).save(tmp_path / name)
    found = "16-bit I;16" if mode == "I;16" else mode
    assert refusal(read_rgb, tmp_path / name) == f"{name}: mode must be 8-bit RGB, grey or palette, got {found}; convert it to 8-bit RGB and save it as PNG"
    assert image_size(tmp_path / name) == (24, 40)


def test_sixteen_bits_are_never_cut_to_eight_in_silence(tmp_path):
    header = struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x12\x34" * 12) * 2)
    path = tmp_path / "deep.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert "got 16-bit RGB;" in refusal(read_rgb, path)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_an_animation_is_refused(tmp_path, pixels, name):
    frames = [Image.fromarray(np.roll(pixels, shift, 0)) for shift in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert refusal(read_rgb, tmp_path / name) == f"{name}: an image must be one picture, got an animation; save the frame that is meant"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "packed.tif"])
def test_exif_orientation_is_applied_and_the_header_agrees(tmp_path, pixels, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_lzw"} if name == "packed.tif" else {"quality": 100, "lossless": True, "subsampling": 0} if name != "a.tif" else {}
    plain, turned = save(tmp_path / f"plain-{name}", pixels, **options), save(tmp_path / name, pixels, exif=exif, **options)
    upright = {
        1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90,
    }[orientation]
    read = read_rgb(turned)
    np.testing.assert_array_equal(read, upright(read_rgb(plain)))
    assert image_size(turned) == read.shape[:2]


def test_a_png_that_says_its_orientation_after_its_pixels_is_refused_rather_than_listed_with_a_wrong_size(tmp_path, pixels):
    path = save(tmp_path / "late.png", pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    body = path.read_bytes()
    path.write_bytes(body[:-12] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + body[-12:])
    assert refusal(read_rgb, path) == "late.png: the header and the pixels disagree on height and width; save it again as an 8-bit RGB PNG"


def test_the_size_of_a_png_is_read_without_decoding_it(tmp_path, pixels, monkeypatch):
    path = save(tmp_path / "a.png", pixels)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert image_size(path) == (24, 40)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"])
def test_a_truncated_file_is_refused(tmp_path, pixels, name):
    path = save(tmp_path / name, pixels)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(read_rgb, path) == f"{name}: {DAMAGED}"


def test_whatever_bytes_are_broken_nothing_but_unreadable_image_comes_out(tmp_path, pixels):
    rng = np.random.default_rng(1)
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"):
        exif = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03"} if name in ("a.png", "a.jpg", "a.webp") else {}
        whole = save(tmp_path / name, pixels, **exif).read_bytes()
        for _ in range(60):
            broken = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 300), 4):
                broken[place] = rng.integers(256)
            (tmp_path / name).write_bytes(broken)
            for read in (read_rgb, image_size):
                try:
                    read(tmp_path / name)
                except UnreadableImage as error:
                    assert str(error).startswith(f"{name}: ")


def test_a_header_that_promises_too_many_pixels_is_refused_before_decoding(tmp_path):
    for width in (9500, 50_000):  # Pillow warns of the first and raises on the second
        path = bomb(tmp_path / "bomb.png", width, width)
        for read in (read_rgb, image_size):
            assert refusal(read, path) == "bomb.png: an image must have at most 89478485 pixels, its header says more; scale it down"


def test_the_limit_holds_where_another_program_lifted_pillows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert str(PIXEL_LIMIT) in refusal(image_size, bomb(tmp_path / "bomb.png", 50_000, 50_000))


@pytest.mark.parametrize("read", [read_rgb, image_size, file_sha256])
def test_what_is_no_file_says_so(tmp_path, read):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(read, tmp_path / "folder.png") == "folder.png: an image must be a file, got a folder; take it out of the corpus"
    assert refusal(read, tmp_path / "pipe.png") == "pipe.png: an image must be a file, got a device or pipe; take it out of the corpus"
    assert refusal(read, tmp_path / "empty.png") == "empty.png: the file is empty (0 bytes); copy it again from where it came"
    assert refusal(read, tmp_path / "gone.png") == "gone.png: there is no such file; put it back or take it out of the corpus"
    assert refusal(read, tmp_path / "empty.png" / "x.png") == "x.png: there is no such file; put it back or take it out of the corpus"
    assert refusal(read, tmp_path / ("x" * 300)).endswith(": the file cannot be opened (File name too long); make it readable or take it out of the corpus")


def test_only_the_named_formats_are_tried(tmp_path, pixels):
    (tmp_path / "text.png").write_text("<html>not found</html>")
    save(tmp_path / "eps.png", pixels, format="EPS")
    for name in ("text.png", "eps.png"):
        assert refusal(read_rgb, tmp_path / name) == f"{name}: the file must be a PNG, JPEG, WebP, BMP or TIFF image, got something else; convert it to PNG"


def test_markup_in_a_file_name_is_left_alone(tmp_path, pixels):
    path = save(tmp_path / "<script>alert(1)<&quot;.png", pixels)
    np.testing.assert_array_equal(read_rgb(path), pixels)
    path.write_bytes(b"x")
    assert refusal(read_rgb, path).startswith("<script>alert(1)<&quot;.png: ")


def test_a_mask_is_white_where_the_mean_is_above_the_middle(tmp_path):
    grey = save(tmp_path / "grey.png", np.array([[0, 127, 128, 255]], np.uint8))
    np.testing.assert_array_equal(read_mask(grey, 1, 4), [[0, 0, 255, 255]])
    colour = save(tmp_path / "colour.png", np.array([[[255, 127, 0], [255, 128, 0], [255, 255, 255]]], np.uint8))
    mask = read_mask(colour, 1, 3)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 255, 255]])  # means 127.33, 127.67, 255


def test_a_mask_may_have_one_bit(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bits.png", 1, 2), [[0, 255]])


def test_a_black_mask_is_a_mask(tmp_path):
    assert not read_mask(save(tmp_path / "black.png", np.zeros((2, 3), np.uint8)), 2, 3).any()


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = save(tmp_path / "m.png", np.zeros((12, 20), np.uint8))
    assert refusal(read_mask, path, 24, 40) == (
        "m.png: a mask must be as large as its image, 24 high and 40 wide, got 12 high and 20 wide; make the mask from this image"
    )


def test_a_mask_of_zeros_and_ones_is_refused_rather_than_read_as_black(tmp_path):
    path = save(tmp_path / "m.png", np.eye(4, dtype=np.uint8))
    assert refusal(read_mask, path, 4, 4) == "m.png: a mask must be white (255) where the image is forged, got 1 at most; save it in black and white"


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 5000)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(bytes(range(256)) * 5000).hexdigest()


def test_listing_a_file_never_raises(tmp_path, pixels):
    path = save(tmp_path / "a.png", pixels)
    assert header(path) == Header(24, 40, file_sha256(path), Container(format="PNG", mode="RGB"))
    path.write_bytes(b"junk")
    assert header(path) == Header(0, 0, hashlib.sha256(b"junk").hexdigest())
    path.write_bytes(b"")
    assert header(path) == Header(0, 0, "unreadable")
    path.unlink()
    assert header(path) == Header(0, 0, "missing")


def test_a_path_leaves_a_folder_by_dots_or_by_links(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside / "loop")
    assert leaves(inside, inside / "link" / "x.png") and leaves(inside, inside / ".." / "x.png") and leaves(inside, tmp_path / "in2")
    assert not leaves(inside, inside / "x.png") and not leaves(inside / "link" / "in", inside / "x.png") and not leaves(inside, inside / "loop")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"])
def test_a_truncated_file_is_refused_where_another_program_told_pillow_to_fill_it_with_grey(tmp_path, pixels, name, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = save(tmp_path / name, pixels)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert refusal(read_rgb, path) == f"{name}: {DAMAGED}"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("name, written", [("photo.png", "JPEG"), ("photo.jpg", "PNG"), ("photo", "WEBP")])
def test_a_file_is_what_it_holds_and_not_what_its_name_says(tmp_path, pixels, name, written):
    Image.fromarray(pixels).save(tmp_path / name, format=written)
    assert header(tmp_path / name).container.format == written
    with Image.open(tmp_path / name) as picture:
        np.testing.assert_array_equal(read_rgb(tmp_path / name), np.asarray(picture))


def test_a_colour_profile_changes_no_number(tmp_path, pixels):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "a.png", pixels, icc_profile=profile)), pixels)


def test_of_several_pages_the_first_is_read(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(255 - pixels)])
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), pixels)


def test_grey_with_alpha_is_read_where_it_is_opaque(tmp_path, pixels):
    alpha = np.full((24, 40), 255, np.uint8)
    path = save(tmp_path / "a.png", np.dstack([pixels[..., 0], alpha]))
    np.testing.assert_array_equal(read_rgb(path), np.repeat(pixels[..., :1], 3, axis=2))
    alpha[0, 0] = 254
    save(path, np.dstack([pixels[..., 0], alpha]))
    assert refusal(read_rgb, path).startswith("a.png: alpha must be 255 everywhere, got 254 (mode LA);")


def test_a_cmyk_photograph_and_one_of_32_bits_are_refused_and_still_listed_with_their_size(tmp_path):
    Image.new("CMYK", (40, 24)).save(tmp_path / "print.jpg")
    Image.new("I", (40, 24)).save(tmp_path / "deep.tif")
    for name in ("print.jpg", "deep.tif"):
        assert (header(tmp_path / name).height, header(tmp_path / name).width) == (24, 40)
        assert refusal(read_rgb, tmp_path / name).startswith(f"{name}: mode must be 8-bit RGB, grey or palette, got ")


def test_a_palette_mask_counts_by_its_colours_and_classes_by_their_numbers(tmp_path):
    levels = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    levels.putpalette([0, 0, 0, 128, 0, 0, 255, 255, 255])
    levels.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 1, 3), [[0, 0, 255]])
    np.testing.assert_array_equal(read_classes(tmp_path / "m.png"), [[0, 255, 255]])
    np.testing.assert_array_equal(read_classes(tmp_path / "m.png", (2,)), [[0, 0, 255]])


def test_classes_in_colour_are_refused(tmp_path, pixels):
    path = save(tmp_path / "m.png", pixels)
    assert refusal(read_classes, path) == "m.png: mode must be 8-bit grey or palette, got RGB; convert it to 8-bit grey and save it as PNG"


def test_a_mask_of_the_other_polarity_is_its_complement(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 127, 128, 255]], np.uint8))
    np.testing.assert_array_equal(read_mask(path, 1, 4, white="authentic"), [[255, 255, 0, 0]])
    dim = save(tmp_path / "dim.png", np.array([[0, 1]], np.uint8))
    assert "must be white (255) where the image is authentic, got 1 at most" in str(pytest.raises(UnreadableImage, read_mask, dim, 1, 2, white="authentic").value)
