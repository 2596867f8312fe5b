"""The figures of a cell against numpy, scipy and scikit-learn, and the images that each of them is about."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from redteam.protocols.detection_metrics import figures
from redteam.record import Record


def row(i, *, label, score, attackable=True, threshold=0.0, group=None, attack="pgd", status="ok", quality=None, queries=0, nonfinite=None):
    decision = None if score is None else int(score > threshold)
    outcome = {} if status != "ok" else {"score": score, "threshold": threshold, "decision": decision, "attackable": attackable}
    if attack != "identity" and status == "ok":
        outcome["success"] = None if score is None else attackable and decision != label
    return Record(
        rid=str(i), cell="c", data="d", target="t", defense="none", attack=attack, strength={}, repeat=0, id=str(i), sha256=None, label=label, group=group or f"g{i}",
        height=8, width=8, goal="evade", status=status, outcome=outcome, quality=quality or {}, cost={"queries": queries}, nonfinite=nonfinite or {}, valid=True,
    )  # fmt: skip


def random_rows(n=120, seed=0, **changes):
    rng = np.random.default_rng(seed)
    labels, scores, attackable = rng.integers(0, 2, n), rng.normal(size=n), rng.random(n) < 0.8
    return [row(i, label=int(labels[i]), score=float(scores[i] + labels[i]), attackable=bool(attackable[i]), **changes) for i in range(n)]


def wilson(k, n):
    interval = stats.binomtest(k, n).proportion_ci(method="wilson")
    return k / n, interval.low, interval.high


def test_rates_equal_counts_and_scipy_s_wilson_interval():
    rows = random_rows()
    found = figures(rows, seed=1).metrics
    fakes, reals = [r for r in rows if r.label == 1], [r for r in rows if r.label == 0]
    counts = {
        "attack_success_rate": [r.outcome["score"] <= 0 for r in fakes if r.outcome["attackable"]],
        "frame_rate": [r.outcome["score"] > 0 for r in reals if r.outcome["attackable"]],
        "robust_accuracy": [(r.outcome["score"] > 0) == (r.label == 1) for r in rows],
        "tpr": [r.outcome["score"] > 0 for r in fakes],
        "fpr": [r.outcome["score"] > 0 for r in reals],
    }
    for name, hits in counts.items():
        figure = found[name]
        assert (figure["value"], figure["low"], figure["high"]) == pytest.approx(wilson(sum(hits), len(hits))), name
        assert figure["n"] == len(hits), name


def test_auc_and_accuracy_equal_scikit_learn():
    rows = random_rows()
    found = figures(rows, seed=1).metrics
    labels, scores = [r.label for r in rows], [r.outcome["score"] for r in rows]
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
    assert found["robust_accuracy"]["value"] == pytest.approx(sk.accuracy_score(labels, np.array(scores) > 0))


def test_means_are_means_and_their_interval_that_of_scipy_s_bootstrap():
    rng = np.random.default_rng(3)
    values = rng.normal(40, 3, 60)
    rows = [row(i, label=i % 2, score=1.0, quality={"psnr_db": float(v)}, queries=7) for i, v in enumerate(values)]
    found = figures(rows, seed=1).metrics
    want = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)).confidence_interval
    assert found["psnr_db"]["value"] == pytest.approx(values.mean())
    assert (found["psnr_db"]["low"], found["psnr_db"]["high"]) == pytest.approx((want.low, want.high), abs=0.25)
    assert (found["queries"]["value"], found["queries"]["low"], found["queries"]["high"]) == (7, 7, 7)


def test_an_attack_can_succeed_only_on_what_was_right_before():
    rows = [row(i, label=1, score=-1.0, attackable=i < 12) for i in range(30)]
    found = figures(rows, seed=1).metrics
    assert found["attack_success_rate"]["n"] == 12
    assert found["attack_success_rate"]["value"] == 1.0
    assert found["tpr"]["n"] == 30


def test_without_a_right_answer_there_is_no_success_rate():
    rows = [row(i, label=i % 2, score=-1.0, attackable=i % 2 == 0) for i in range(40)]
    found = figures(rows, seed=1)
    assert "attack_success_rate" not in found.metrics
    assert found.absent["attack_success_rate"] == "no fake image was called fake when clean, so none can be made to pass"
    assert found.metrics["frame_rate"]["n"] == 20
    assert found.resolvable


def test_unscoreable_and_lost_images_are_in_no_figure():
    rows = random_rows(60)
    more = [row(100 + i, label=1, score=None) for i in range(20)] + [row(200 + i, label=0, score=None, status="error") for i in range(20)]
    assert figures(rows + more, seed=1) == figures(rows, seed=1)


def test_nothing_scoreable_gives_reasons_and_no_figure():
    found = figures([row(i, label=i % 2, score=None) for i in range(20)], seed=1)
    assert found.metrics == {}
    assert found.absent["robust_accuracy"] == found.absent["auc"] == found.absent["psnr_db"] == "no image could be scored"
    assert found.absent["tpr"] == "no fake image could be scored"
    assert not found.resolvable


def test_the_clean_arm_has_no_success_rate():
    found = figures(random_rows(attack="identity"), seed=1)
    assert "attack_success_rate" not in found.metrics and "attack_success_rate" not in found.absent
    assert "robust_accuracy" in found.metrics
    assert found.resolvable


def test_why_there_is_no_psnr_is_said():
    unchanged = [row(i, label=i % 2, score=1.0, quality={"psnr_db": None, "ssim": 1.0}, nonfinite={"quality.psnr_db": "+inf"}) for i in range(20)]
    assert figures(unchanged, seed=1).absent["psnr_db"] == "no image changed"
    assert figures([row(i, label=i % 2, score=1.0) for i in range(20)], seed=1).absent["psnr_db"] == "pixels have no partner to compare with: size or position changed"


def test_one_class_has_no_auc():
    assert figures([row(i, label=1, score=1.0) for i in range(20)], seed=1).absent["auc"] == "one class only: this cell attacks images of one label"


def test_images_of_one_source_count_less():
    single = figures(random_rows(200), seed=1).metrics["attack_success_rate"]
    rows = [row(i, label=1, score=1.0 - 2 * (i // 10 % 2), group=f"g{i // 10}") for i in range(200)]  # ten alike from each source
    clustered = figures(rows, seed=1).metrics["attack_success_rate"]
    assert clustered["high"] - clustered["low"] > 1.5 * (single["high"] - single["low"])


def test_under_ten_sources_each_is_reported_by_itself_and_nothing_is_pooled():
    rows = [row(i, label=i % 2, score=(i % 2) - 0.5 - (i % 3 == 0), attackable=True, group=f"scene{i % 4}") for i in range(48)]
    found = figures(rows, seed=1)
    assert found.metrics == {}
    assert found.absent["attack_success_rate"] == "2 groups, fewer than 10"
    assert not found.resolvable
    assert sorted(found.by_group) == ["scene0", "scene1", "scene2", "scene3"]
    for name, group in found.by_group.items():
        mine = [r for r in rows if r.group == name]
        assert group["robust_accuracy"] == {"value": np.mean([r.outcome["decision"] == r.label for r in mine]), "n": 12}
        assert ("attack_success_rate" in group) == (mine[0].label == 1)
        assert "auc" not in group  # one class in each scene here


def test_groups_are_not_listed_where_only_the_attackable_images_are_too_few():
    """The images are many; that the detector was right about few of them is the cell's finding, not the data's."""
    found = figures([row(i, label=i % 2, score=1.0, attackable=i < 8) for i in range(60)], seed=1)
    assert found.by_group == {}
    assert found.absent["attack_success_rate"] == found.absent["frame_rate"] == "4 groups, fewer than 10"
    assert "robust_accuracy" in found.metrics
    assert not found.resolvable


def test_the_order_of_rows_and_the_run_do_not_matter():
    rows = random_rows()
    assert figures(rows, seed=5) == figures(rows[::-1], seed=5)
