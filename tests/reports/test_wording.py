"""Numbers and names in print."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam.reports import wording


def test_a_share_that_is_not_all_is_never_printed_as_all() -> None:
    assert wording.percent(399 / 400, 400) == ">99\u00a0%"
    assert wording.percent(1.0, 400) == "100\u00a0%"


def test_a_share_that_is_not_nothing_is_never_printed_as_nothing() -> None:
    assert wording.percent(1 / 400, 400) == "<1\u00a0%"
    assert wording.percent(1 / 4000, 4000) == "<0.1\u00a0%"
    assert wording.percent(0.0, 400) == "0\u00a0%"


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([50, 5000]))
def test_a_printed_interval_holds_the_true_one(a: float, b: float, n: int) -> None:
    low, high = sorted((a, b))
    shown_low, shown_high = map(float, wording.percent_bounds(low, high, n))
    assert shown_low <= 100 * low + 1e-6 and 100 * high - 1e-6 <= shown_high
    assert 0 <= shown_low and shown_high <= 100


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "0.5", True])
def test_what_is_not_a_finite_number_is_absent(value: object) -> None:
    assert wording.number(value) is None


@given(st.text())
def test_plain_text_stays_on_its_line_and_keeps_its_direction(text: str) -> None:
    assert len(wording.plain(text).splitlines()) <= 1
    assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]", wording.plain(text))


def test_a_radius_in_8_bit_levels_is_printed_as_a_fraction_and_an_l2_length_is_not() -> None:
    assert [wording.radius(k / 255) for k in (1, 2, 8)] == ["1/255", "2/255", "8/255"]
    assert wording.radius(0.0157) == "0.0157"
    assert wording.radius(1 / 255, "l2") == "0.00392"


def test_the_strengths_of_a_chain_keep_the_name_of_their_stage() -> None:
    cell = {"attack": "pgd-then-jpeg", "strength": {"pgd.eps": 4 / 255, "jpeg.quality": 85.0}}
    assert wording.attack_name(cell).replace("\u00a0", " ") == "pgd-then-jpeg, pgd.eps 4/255, jpeg.quality 85"


def test_a_name_that_no_table_knows_stands_for_itself() -> None:
    assert wording.metric_named("bit_accuracy").title == "bit_accuracy"
    assert wording.figure("bit_accuracy", 0.98765) == "0.988"
