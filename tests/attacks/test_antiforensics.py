"""Attacks that hide a trace, held against the statistic that detectors of that trace look at, computed here without their code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft, ndimage, signal

from redteam.attacks.chain import Chain
from redteam.attacks.jpeg import JPEG
from redteam.attacks.jpeg_dither import JPEGDither
from redteam.attacks.median import Median
from redteam.attacks.median_dither import MedianDither
from redteam.attacks.prnu_copy import PRNUCopy
from redteam.attacks.prnu_remove import PRNURemove
from redteam.attacks.resample_jitter import ResampleJitter
from redteam.attacks.spectrum_match import SpectrumMatch
from redteam.attacks.statistics_match import StatisticsMatch
from redteam.data.camera import render
from redteam.images import Images
from redteam.imaging.grid import from_levels, round_nearest
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
SIZE = 96


def batch(levels, labels=None, name="image"):
    """Images of uint8 arrays (n, h, w, 3)."""
    pixels = from_levels(torch.from_numpy(np.stack(levels)).permute(0, 3, 1, 2).contiguous())
    n = len(pixels)
    names = tuple(f"{name}{i}" for i in range(n))
    return Images(pixels=pixels, ids=names, labels=torch.tensor([i % 2 for i in range(n)] if labels is None else labels), groups=names)


@pytest.fixture(scope="module")
def scenes():
    """Six pictures of the simulated camera."""
    return batch([render(5, i, SIZE) for i in range(6)])


def attacked(attack, images, training=None, target=None):
    """The 8-bit pixels that the attack leaves."""
    target = target or Linear().load("t", CPU)
    state = attack.learner().fit([BOTH.on(target, training)], SampleRNG([3])) if attack.learns() else None
    result = attack.run(BOTH.on(target, images), SampleRNG.of(1, "test", attack.seeding(), images.ids), state)
    return round_nearest(result.pixels)


def grey(image):
    """(3, h, w) in [0, 1] -> (h, w) luma in levels."""
    return np.tensordot([0.299, 0.587, 0.114], image.numpy().astype(np.float64), 1) * 255


def psnr(a, b):
    return float(-10 * (a - b).square().mean().log10())


def combs(image, quality=60):
    """How strongly the coefficients of the lowest frequencies gather at multiples of their step: 1 is a comb, 0 an even histogram."""
    steps = {60: np.array([[13, 9, 8], [10, 10, 11], [11, 10, 13]])}[quality]
    plane = grey(image) - 128
    blocks = plane.reshape(SIZE // 8, 8, SIZE // 8, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    found = fft.dctn(blocks, axes=(1, 2), norm="ortho")
    return [abs(np.exp(2j * np.pi * found[:, v, u] / steps[v, u]).mean()) for v in range(3) for u in range(3) if v + u]


def blocking(image):
    """Mean step across block borders over the mean step elsewhere."""
    steps = np.abs(np.diff(grey(image), axis=1)).mean(0)
    border = np.arange(SIZE - 1) % 8 == 7
    return steps[border].mean() / steps[~border].mean()


def hidden(first, second):
    return Chain(stages=(first, second), names=("first", "second"))


class TestJPEGDither:
    @pytest.mark.parametrize("quality", [None, 60])
    def test_the_comb_in_the_coefficients_is_gone(self, scenes, quality):
        saved, covered = attacked(JPEG(quality=60), scenes), attacked(hidden(JPEG(quality=60), JPEGDither(quality=quality)), scenes)
        before, after = (np.array([combs(image) for image in pixels]) for pixels in (saved, covered))
        assert np.median(before) > 0.75
        assert np.median(after) < 0.2  # of 144 even phases the mean has a length of 0.07
        assert min(psnr(a, b) for a, b in zip(saved, covered, strict=True)) > 27

    def test_the_control_of_the_same_size_leaves_another_histogram_but_as_much_change(self, scenes):
        saved = scenes.with_pixels(attacked(JPEG(quality=60), scenes))
        attack = JPEGDither()
        ours, scattered = ((attacked(one, saved) - saved.pixels).square().mean((1, 2, 3)) for one in (attack, attack.control()))
        assert torch.allclose(ours, scattered, rtol=0.1)

    def test_deblocking_softens_the_borders_that_dither_makes(self, scenes):
        hard, soft = (attacked(hidden(JPEG(quality=30), JPEGDither(deblock=rounds)), scenes) for rounds in (0, 4))
        assert np.mean([blocking(image) for image in soft]) < np.mean([blocking(image) for image in hard]) - 0.1

    def test_an_image_that_was_never_compressed_stays_as_it_is(self):
        generator = torch.Generator().manual_seed(0)
        images = batch(list(torch.randint(0, 256, (2, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8).numpy()))
        assert torch.equal(attacked(JPEGDither(), images), images.pixels)

    def test_what_does_not_fill_a_block_is_left_alone(self, scenes):
        odd = scenes.with_pixels(round_nearest(scenes.pixels[..., : SIZE - 3, : SIZE - 5]))
        after = attacked(JPEGDither(quality=50, deblock=0), odd)
        assert torch.equal(after[..., 88:, :], odd.pixels[..., 88:, :])
        assert not torch.equal(after[..., :88, :88], odd.pixels[..., :88, :88])


class TestMedianDither:
    @staticmethod
    def streaks(image):
        """Equal neighbours for each that differ by one level up, as Kirchner and Fridrich count them."""
        levels = (image.numpy() * 255).round()
        steps = np.concatenate([np.diff(levels, axis=1).ravel(), np.diff(levels, axis=2).ravel()])
        return (steps == 0).sum() / max(1, (np.abs(steps) == 1).sum() / 2)

    def test_equal_neighbours_are_as_frequent_as_in_a_photograph(self, scenes):
        filtered, covered = attacked(Median(size=5), scenes), attacked(hidden(Median(size=5), MedianDither(size=5)), scenes)
        before, after = (np.array([self.streaks(image) for image in pixels]) for pixels in (filtered, covered))
        assert np.median(before) > 2 * np.median(after)
        assert np.median(after) < 1.3

    def test_the_blur_of_the_filter_is_partly_undone(self, scenes):
        filtered, covered = attacked(Median(), scenes), attacked(hidden(Median(), MedianDither()), scenes)
        assert np.mean([psnr(a, b) for a, b in zip(covered, scenes.pixels, strict=True)]) > np.mean([psnr(a, b) for a, b in zip(filtered, scenes.pixels, strict=True)]) - 1
        fine = [ndimage.laplace(grey(image)).std() for image in (filtered[2], covered[2])]
        assert fine[1] > 1.1 * fine[0]

    def test_a_filter_of_an_even_size_is_refused(self):
        with pytest.raises(ValueError, match="^size must be odd, so that a pixel has a middle, got 4$"):
            MedianDither(size=4)


class TestResampleJitter:
    @staticmethod
    def rhythm(image, scale):
        """Peak of the probability map's spectrum at the frequency of the scale, over the median: Kirchner 2008, fixed predictor."""
        plane = grey(image)
        predictor = np.array([[-0.25, 0.5, -0.25], [0.5, 0, 0.5], [-0.25, 0.5, -0.25]])
        likely = np.exp(-np.abs(plane - signal.convolve2d(plane, predictor, "same", "symm")))[4:-4, 4:-4]
        window = np.hanning(likely.shape[0])[:, None] * np.hanning(likely.shape[1])
        spectrum = np.abs(np.fft.fft2((likely - likely.mean()) * window))
        at = round((1 - 1 / scale) * likely.shape[1])
        return spectrum[0, at - 2 : at + 3].max() / np.median(spectrum)

    @pytest.mark.parametrize("scale", [1.25, 1.5])
    def test_the_rhythm_of_resampling_is_gone(self, scenes, scale):
        attack = ResampleJitter(scale=scale)
        shaken, regular = attacked(attack, scenes), attacked(attack.control(), scenes)
        before, after = (np.median([self.rhythm(image, scale) for image in pixels]) for pixels in (regular, shaken))
        assert before > 6
        assert after < 3.5

    def test_without_shaking_it_is_bicubic_resampling(self, scenes):
        smooth = scenes.with_pixels(round_nearest(torch.from_numpy(ndimage.gaussian_filter(scenes.pixels.numpy(), (0, 0, 2, 2))).clamp(0, 1)))
        ours = attacked(ResampleJitter(scale=1.5, jitter=0.0), smooth)
        reference = torch.nn.functional.interpolate(smooth.pixels, scale_factor=1.5, mode="bicubic", align_corners=False).clamp(0, 1)
        assert (ours - reference)[..., 4:-4, 4:-4].abs().max() < 1 / 255

    def test_edges_are_held_fast(self):
        step = np.full((SIZE, SIZE, 3), 60, np.uint8)
        step[:, SIZE // 2 :] = 200
        images = batch([step])
        after = attacked(ResampleJitter(scale=1.0, jitter=0.4), images)
        middle = slice(SIZE // 2 - 2, SIZE // 2 + 2)
        assert torch.equal(after[..., middle], images.pixels[..., middle])


@pytest.fixture(scope="module")
def classes():
    """Training and other images: real ones as they come, fakes blurred and on a grid of 4 pixels."""

    def made(seed, n, name):
        levels = []
        for i in range(n):
            scene = render(seed, i, SIZE).astype(np.float64)
            if i % 2:
                scene = ndimage.gaussian_filter(scene, (0.6, 0.6, 0))
                scene[::4, ::4] += 4
            levels.append(scene.clip(0, 255).round().astype(np.uint8))
        return batch(levels, name=name)

    return made(6, 16, "train"), made(7, 8, "image")


def power(image):
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    plane = grey(image)
    return np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2


def fall(image):
    """Power of the high frequencies against that of the middle ones, in logarithms."""
    f = np.fft.fftfreq(SIZE)
    radius, spectrum = np.hypot(f[:, None], f), power(image)
    return np.log(np.median(spectrum[(radius > 0.38) & (radius < 0.47)]) / np.median(spectrum[(radius > 0.12) & (radius < 0.2)]))


def peak(image):
    """Power at a period of 4 pixels over what lies around it."""
    spectrum, at = power(image), SIZE // 4
    around = spectrum[at - 8 : at + 9, at - 8 : at + 9]
    return spectrum[at, at] / np.median(around)


class TestSpectrumMatch:
    def test_peaks_of_fakes_fall_and_their_spectrum_falls_as_that_of_real_images(self, classes):
        training, images = classes
        after = attacked(SpectrumMatch(), images, training)
        real, fake = images.labels == 0, images.labels == 1
        peaks = [np.median([peak(image) for image in pixels[fake]]) for pixels in (images.pixels, after)]
        assert peaks[0] > 10 * peaks[1]
        target = np.mean([fall(image) for image in training.pixels[training.labels == 0]])
        falls = [np.mean([abs(fall(image) - target) for image in pixels[fake]]) for pixels in (images.pixels, after)]
        assert falls[1] < 0.5 * falls[0]
        raised = [np.median([peak(image) for image in pixels[real]]) for pixels in (images.pixels, after)]
        assert raised[1] > 2 * raised[0]  # a real image is given the fakes' peaks

    def test_no_amount_is_more_than_the_limit_and_low_frequencies_stay(self, classes):
        training, images = classes
        after = attacked(SpectrumMatch(limit=3, above=0.3), images, training)
        for a, b in zip(images.pixels, after, strict=True):
            gain = np.log(power(b) / power(a)) / 2
            f = np.fft.fftfreq(SIZE)
            radius = np.hypot(f[:, None], f)
            assert np.abs(gain[(radius > 0.02) & (radius < 0.2)]).mean() < 0.05
            assert abs(np.median(gain[radius > 0.4])) < 3.5 * np.log(10) / 20

    def test_one_class_in_training_is_not_enough(self, scenes):
        with pytest.raises(ValueError, match=r"^data.train must hold real and fake images, got 3 real and 0 fake; each class is given the spectrum of the other$"):
            attacked(SpectrumMatch(), scenes, scenes.subset(scenes.labels == 0))

    def test_without_training_it_says_so(self, scenes):
        with pytest.raises(ValueError, match="^SpectrumMatch learns from training images and was given none; call fit first, or give the scenario data.train$"):
            SpectrumMatch().perturb(BOTH.on(Linear().load("t", CPU), scenes), SampleRNG.of(1, "t", {}, scenes.ids))


class TestStatisticsMatch:
    @staticmethod
    def figures(images):
        """Log energy of first differences, and of second ones, for each image."""
        planes = [grey(image) for image in images]
        return np.array([[np.log(np.diff(p, axis=1).var()), np.log(ndimage.laplace(p).var())] for p in planes])

    def test_fakes_resemble_real_images_more_than_before(self, classes):
        training, images = classes
        after = attacked(StatisticsMatch(trials=24), images, training)
        fake = images.labels == 1
        centre = self.figures(training.pixels[training.labels == 0])
        far = [np.abs(self.figures(pixels[fake]) - centre.mean(0)).mean() for pixels in (images.pixels, after)]
        assert far[1] < far[0]

    def test_it_never_takes_what_is_farther_than_the_image_itself(self, classes):
        training, images = classes
        still = StatisticsMatch(trials=4, exposure=0, blur=0, noise=0)
        assert torch.equal(attacked(still, images, training), images.pixels)

    def test_asked_it_takes_the_trial_that_the_target_likes_best(self, scenes):
        target = Brightness().load("t", CPU)
        after = attacked(StatisticsMatch(ask=True, trials=16, exposure=0.5, blur=0, noise=0), scenes, scenes, target)
        brighter = after.mean((1, 2, 3)) - scenes.pixels.mean((1, 2, 3))
        assert torch.equal(brighter > 0, scenes.labels == 0)  # a fake is made darker, a real image brighter
        assert [cost.queries for cost in target.ledger.take(scenes.ids)] == [16] * 6

    def test_surrogates_without_questions_are_refused(self):
        with pytest.raises(ValueError, match="^surrogates are only asked with ask: true; add it, or leave them out$"):
            StatisticsMatch(surrogates=("s",))


@pytest.fixture(scope="module")
def camera():
    """A camera with a fingerprint of 2 %: training images of it and of another, and images to attack without one."""
    rng = np.random.default_rng(0)
    pattern = 0.02 * rng.standard_normal((SIZE, SIZE, 3))

    def shots(n, fingerprint, name):
        scenes = [ndimage.gaussian_filter(rng.uniform(40, 220, (SIZE, SIZE, 3)), (8, 8, 0)) for _ in range(n)]
        scenes = [(scene - scene.mean()) * 6 + 128 for scene in scenes]
        return batch([(scene * (1 + fingerprint) + rng.normal(0, 1.5, scene.shape)).clip(0, 255).round().astype(np.uint8) for scene in scenes], name=name)

    other = 0.02 * rng.standard_normal((SIZE, SIZE, 3))
    training = [shots(20, pattern, "mine/"), shots(4, other, "other/")]
    return pattern, training, shots(4, pattern, "own"), shots(4, 0 * pattern, "foreign")


def correlation(image, pattern):
    """Normalised correlation of an independent denoiser's residual with the fingerprint times the image."""
    levels = image.permute(1, 2, 0).numpy().astype(np.float64)
    noise = levels - np.stack([signal.wiener(levels[..., c], 5) for c in range(3)], -1)
    trace = levels * pattern
    return np.corrcoef(noise.ravel(), trace.ravel())[0, 1]


def with_fingerprint(attack, training, images):
    target = Linear().load("t", CPU)
    state = attack.learner().fit([BOTH.on(target, part) for part in training], SampleRNG([3]))
    return round_nearest(attack.run(BOTH.on(target, images), SampleRNG.of(1, "t", attack.seeding(), images.ids), state).pixels)


class TestPRNU:
    def test_removal_takes_the_fingerprint_out_and_its_control_does_not(self, camera):
        pattern, training, own, _ = camera
        attack = PRNURemove(camera="mine/*")
        before, after, scattered = (np.mean([correlation(image, pattern) for image in pixels]) for pixels in (own.pixels, with_fingerprint(attack, training, own), with_fingerprint(attack.control(), training, own)))
        assert before > 0.5
        assert abs(after) < 0.3 * before
        assert scattered > 0.6 * before

    def test_copying_puts_it_into_foreign_images_and_its_control_does_not(self, camera):
        pattern, training, _, foreign = camera
        attack = PRNUCopy(camera="mine/*")
        before, after, scattered = (np.mean([correlation(image, pattern) for image in pixels]) for pixels in (foreign.pixels, with_fingerprint(attack, training, foreign), with_fingerprint(attack.control(), training, foreign)))
        assert abs(before) < 0.05 and abs(scattered) < 0.05
        assert after > 0.35

    def test_the_fingerprint_is_that_of_the_named_camera(self, camera):
        pattern, training, *_ = camera
        target = Linear().load("t", CPU)
        learned = PRNUCopy(camera="mine/*").fit([BOTH.on(target, part) for part in training], SampleRNG([3]))[f"{SIZE}x{SIZE}"]
        centred = pattern - pattern.mean(0, keepdims=True)
        assert np.corrcoef(learned.permute(1, 2, 0).numpy().ravel(), centred.ravel())[0, 1] > 0.8

    def test_a_camera_that_is_not_there_and_another_size_are_refused(self, camera, make_images):
        _, training, *_ = camera
        with pytest.raises(ValueError, match=r"^no training image is called 'nikon/\*'; camera is a glob over their ids, and data.train must hold images of that camera$"):
            with_fingerprint(PRNUCopy(camera="nikon/*"), training, training[0])
        with pytest.raises(ValueError, match="^the fingerprint must be as large as the images, got 96x96 and images of 8x8; train on images of the same sensor area$"):
            with_fingerprint(PRNUCopy(), training, make_images(2))
