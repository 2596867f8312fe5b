"""The worst case is the mean over images of the minimum over attacks, never the minimum of means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from redteam.protocols.worst_case import WorstCase
from redteam.record import Cell, Record

PLACE = {"data": "d", "target": "t", "defense": "none", "goal": "evade+frame"}


def cell(attack, norm="linf", eps=4 / 255, **changes):
    return Cell(**{**PLACE, "attack": attack, "kind": attack, "norm": norm, "eps": eps, "strength": {"eps": eps} if eps else {}, **changes})


IDENTITY = cell("identity", norm=None, eps=None, control=True)


def rows(cell, outcomes, labels=None, score=1.0, valid=True):
    """Identity: whether the image was judged rightly; an attack: whether it succeeded, None for unscoreable."""
    made = []
    for i, hit in enumerate(outcomes):
        label = 1 if labels is None else labels[i]
        clean = cell.attack == "identity"
        decision = (label if hit else 1 - label) if clean else 1 - label if hit else label
        outcome = {"score": None if hit is None else score, "decision": decision, "attackable": hit} if clean else {"score": None if hit is None else score, "decision": decision, "attackable": True, "success": hit}
        made.append(Record(rid=f"{cell.key}{i}", cell=cell.key, data="d", target="t", defense="none", attack=cell.attack, strength={}, repeat=0, id=str(i), sha256=None, label=label, group=f"g{i}", height=8, width=8, goal="evade", outcome=outcome, valid=valid))  # fmt: skip
    return made


def worst(*cells, right=None, labels=None, n=40):
    """Rows by (norm, eps) after adding the clean arm and the given (cell, successes[, valid])."""
    collected = WorstCase()
    collected.add(IDENTITY, rows(IDENTITY, [True] * n if right is None else right, labels))
    for one, outcomes, *valid in cells:
        collected.add(one, rows(one, outcomes, labels, valid=valid[0] if valid else True))
    return {(row["norm"], row["eps"]): row for row in collected.rows()}


def test_two_attacks_that_each_win_half_win_everything():
    """Each alone leaves accuracy .5, so the minimum of means is .5; image by image nothing is left."""
    first = [i < 20 for i in range(40)]
    found = worst((cell("a"), first), (cell("b"), [not hit for hit in first]))["linf", 4 / 255]
    assert found["metrics"]["robust_accuracy"]["value"] == 0.0
    assert found["metrics"]["attack_success_rate"]["value"] == 1.0
    assert found["attacks"] == ["a eps=0.01569", "b eps=0.01569"]


def test_the_figures_are_those_of_numpy_and_scipy():
    rng = np.random.default_rng(0)
    labels, right = rng.integers(0, 2, 80).tolist(), (rng.random(80) < 0.8).tolist()
    hits = [(rng.random(80) < 0.3).tolist() for _ in range(3)]
    hits = [[bool(h and r) for h, r in zip(column, right, strict=True)] for column in hits]
    found = worst(*((cell(name), column) for name, column in zip("abc", hits, strict=True)), right=right, labels=labels, n=80)["linf", 4 / 255]["metrics"]
    robust = np.array([np.min([r] + [r and not column[i] for column in hits]) for i, r in enumerate(right)])
    down, y, ok = np.any(hits, axis=0), np.array(labels), np.array(right)
    for name, chosen in (("robust_accuracy", robust), ("attack_success_rate", down[(y == 1) & ok]), ("frame_rate", down[(y == 0) & ok])):
        interval = stats.binomtest(int(chosen.sum()), len(chosen)).proportion_ci(method="wilson")
        assert (found[name]["value"], found[name]["low"], found[name]["high"], found[name]["n"]) == pytest.approx((chosen.mean(), interval.low, interval.high, len(chosen)))


def test_a_larger_budget_holds_the_smaller_ones_and_another_norm_does_not():
    none, half = [False] * 40, [i % 2 == 0 for i in range(40)]
    found = worst((cell("a", eps=2 / 255), half), (cell("a", eps=4 / 255), none), (cell("b", norm="l2", eps=0.5), none))
    assert found["linf", 2 / 255]["metrics"]["attack_success_rate"]["value"] == 0.5
    assert found["linf", 4 / 255]["metrics"]["attack_success_rate"]["value"] == 0.5
    assert found["l2", 0.5]["metrics"]["attack_success_rate"]["value"] == 0.0
    assert found["linf", 4 / 255]["attacks"] == ["a eps=0.007843", "a eps=0.01569"]


def test_distortions_without_a_budget_are_a_row_of_their_own():
    found = worst((cell("jpeg", norm=None, eps=None), [True] * 40), (cell("a"), [False] * 40))
    assert found["unbounded", None]["metrics"]["attack_success_rate"]["value"] == 1.0
    assert found["linf", 4 / 255]["metrics"]["attack_success_rate"]["value"] == 0.0


def test_controls_are_not_attacks():
    found = worst((cell("a"), [False] * 40), (cell("noise", control=True), [True] * 40))
    assert found["linf", 4 / 255]["metrics"]["attack_success_rate"]["value"] == 0.0


def test_a_row_that_left_its_budget_does_not_count():
    found = worst((cell("a"), [False] * 40), (cell("b"), [True] * 40, False))
    assert found["linf", 4 / 255]["metrics"]["attack_success_rate"]["value"] == 0.0


def test_goals_are_kept_apart():
    collected = WorstCase()
    collected.add(IDENTITY, rows(IDENTITY, [True] * 40))
    for goal, hit in (("evade", True), ("evade+frame", False)):
        one = cell("a", goal=goal)
        collected.add(one, rows(one, [hit] * 40))
    assert {row["goal"]: row["metrics"]["attack_success_rate"]["value"] for row in collected.rows()} == {"evade": 1.0, "evade+frame": 0.0}


def test_an_image_that_was_wrong_when_clean_is_lost_already_and_nobody_s_success():
    right = [i < 30 for i in range(40)]
    found = worst((cell("a"), [False] * 40), right=right)["linf", 4 / 255]["metrics"]
    assert found["robust_accuracy"] == pytest.approx({"value": 0.75, "n": 40} | {k: found["robust_accuracy"][k] for k in ("low", "high")})
    assert found["attack_success_rate"]["n"] == 30


def test_an_image_that_no_attack_could_score_is_left_out():
    found = worst((cell("a"), [None] * 10 + [False] * 30), (cell("b"), [None] * 5 + [True] * 35))["linf", 4 / 255]["metrics"]
    assert found["attack_success_rate"]["n"] == 35


def test_reasons_stand_where_figures_do_not():
    found = worst((cell("a"), [False] * 40), labels=[1] * 40)["linf", 4 / 255]
    assert found["absent"] == {"frame_rate": "no image of that label was judged rightly when clean"}
    few = worst((cell("a"), [False] * 5), n=5)["linf", 4 / 255]
    assert few["metrics"] == {}
    assert few["absent"]["robust_accuracy"] == "5 groups, fewer than 10"
