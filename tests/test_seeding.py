"""Randomness belongs to an image: neither the batch nor its order nor a neighbour changes what an image draws."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redteam.seeding import SampleRNG, canonical, derive_seed, digest

IDS = ("a", "b", "c", "d", "e")


def rng(ids=IDS, **changes):
    return SampleRNG.of(**{"seed": 3, "component": "pgd", "params": {"eps": 0.1}, "ids": ids, "repeat": 0, **changes})


@given(order=st.permutations(range(5)), size=st.integers(1, 5))
def test_an_image_draws_the_same_in_any_batch_and_order(order, size):
    x = torch.empty(5, 3, 4, 4)
    whole = rng().randn_like(x)
    names = [IDS[i] for i in order]
    parts = [rng(names[at : at + size]).randn_like(x[: len(names[at : at + size])]) for at in range(0, 5, size)]
    assert torch.equal(torch.cat(parts), whole[list(order)])


@pytest.mark.parametrize("change", [{"seed": 4}, {"component": "fgsm"}, {"params": {"eps": 0.2}}, {"repeat": 1}, {"ids": ("z", *IDS[1:])}])
def test_seed_component_parameters_image_and_repeat_each_change_what_is_drawn(change):
    x = torch.empty(5, 8)
    assert not torch.equal(rng().rand_like(x)[0], rng(**change).rand_like(x)[0])


def test_a_generator_goes_on_where_it_was():
    x = torch.empty(5, 4)
    stream = rng()
    first, second = stream.rand_like(x), stream.rand_like(x)
    assert not torch.equal(first, second)
    again = rng()
    assert torch.equal(again.rand_like(x), first)
    assert torch.equal(again.rand_like(x), second)


def test_a_subset_shares_the_streams_of_the_whole():
    x = torch.empty(5, 4)
    whole, reference = rng(), rng()
    reference.rand_like(x)
    expected = reference.rand_like(x)
    whole.rand_like(x)
    part = whole.subset([4, 1])
    assert part.seeds == (whole.seeds[4], whole.seeds[1])
    assert torch.equal(part.rand_like(x[:2]), expected[[4, 1]])
    after = whole.rand_like(x)
    assert not torch.equal(after[1], expected[1])  # the subset has drawn it already
    assert torch.equal(after[0], expected[0])


def test_a_subset_before_the_first_draw_shares_them_too():
    x = torch.empty(5, 4)
    whole = rng()
    first = whole.subset([2]).rand_like(x[:1])
    assert torch.equal(first, rng().rand_like(x)[2:3])
    assert not torch.equal(whole.rand_like(x)[2:3], first)


def test_a_fork_does_not_depend_on_what_was_drawn_and_differs_by_name():
    x = torch.empty(5, 4)
    used = rng()
    used.rand_like(x)
    assert torch.equal(used.fork("stage").rand_like(x), rng().fork("stage").rand_like(x))
    assert not torch.equal(rng().fork("stage").rand_like(x), rng().fork("other").rand_like(x))
    assert not torch.equal(rng().fork("stage").rand_like(x), rng().rand_like(x))


def test_draws_have_the_shape_the_type_and_the_law_that_they_promise():
    x = torch.empty(5, 3, 64, 64, dtype=torch.float64)
    uniform, normal, signs = rng().rand_like(x), rng().randn_like(x), rng().signs_like(x)
    assert uniform.shape == normal.shape == signs.shape == x.shape
    assert uniform.dtype == normal.dtype == signs.dtype == torch.float64
    assert 0 <= uniform.min() < 0.001 < 0.999 < uniform.max() < 1
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert signs.unique().tolist() == [-1.0, 1.0]
    assert abs(signs.mean()) < 0.02


def test_no_images_draw_nothing():
    assert rng(()).rand_like(torch.empty(0, 3, 2, 2)).shape == (0, 3, 2, 2)


def test_global_random_state_is_neither_read_nor_changed():
    x = torch.empty(5, 4)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, state = rng().rand_like(x), torch.get_rng_state()
        torch.manual_seed(2)
        other = torch.get_rng_state()
        assert torch.equal(rng().rand_like(x), first)
        assert torch.equal(torch.get_rng_state(), other)
        assert not torch.equal(state, other)


def test_too_few_generators_are_refused_in_full():
    message = "rng: 5 generators cannot serve 2 images; take rng.subset with the same index as the images"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rng().rand_like(torch.empty(2, 3))


def test_canonical_text_has_one_form_and_no_nan():
    assert canonical({"b": (1, 2), "a": "é"}) == '{"a":"\\u00e9","b":[1,2]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_digests_and_seeds_are_those_of_every_release():
    assert digest({"eps": 0.1}) == digest({"eps": 0.1}) == "13a3d9686c5666bea76f5403aff2a253"
    assert derive_seed(1, "pgd", {"eps": 0.1}, "a", 0) == 7857673683557115466


@given(parts=st.lists(st.one_of(st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False)), max_size=4))
def test_seeds_fit_what_generators_take(parts):
    assert 0 <= derive_seed(*parts) < 2**63
