"""The detection protocol: attack a batch, save it, score the file, and say for each image what happened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from redteam.attack import Attack, State, Tier
from redteam.files import FileFormat, to_grid, within
from redteam.images import Images
from redteam.imaging.grid import to_levels
from redteam.measure import quality
from redteam.objective import Surrogates, goal_named
from redteam.record import Cell, Record, finite, rid
from redteam.seeding import SampleRNG
from redteam.target import Cost, Detector


UNCHANGED = {"psnr_db": math.inf, "ssim": 1.0, "linf_levels": 0.0, "l2": 0.0}  # the figures of an image beside itself


@dataclass(frozen=True)
class Square:
    """One cell, ready to run: everything but the images.

    target: defended, with its threshold
    state:  what the attack's `fit` left
    surrogates: targets that the attack may ask instead, by name
    """

    cell: Cell
    attack: Attack
    target: Detector
    file: FileFormat
    seed: int
    micro_batch: int
    state: State | None = None
    surrogates: Surrogates = field(default_factory=dict)

    def spent(self, ids: Sequence[str]) -> list[tuple[Cost, Cost]]:
        """What was asked of the target and of all surrogates for each image; the accounts start again from nothing."""
        others = [surrogate.ledger.take(ids) for surrogate in self.surrogates.values()]
        return [(own, sum(rest, Cost())) for own, *rest in zip(self.target.ledger.take(ids), *others, strict=True)]


@dataclass(frozen=True)
class Outcome:
    """A batch after one square: its records, the pixels before and after as their files hold them, and the masks after where there are some."""

    records: list[Record]
    before: Tensor
    after: Tensor
    masks: Tensor | None


@dataclass(frozen=True)
class Answer:
    """What came back for one image.

    value, decision: of its file
    kept:            whether the budget was
    cost:            what the attack asked of the target, and of surrogates
    seed:            of its randomness
    figures:         quality of its file beside the clean one
    """

    value: float
    decision: int
    kept: bool
    cost: tuple[Cost, Cost]
    seed: int
    figures: dict[str, float]


def attack_batch(square: Square, images: Images, hashes: Sequence[str], clean: Mapping[str, Record]) -> Outcome:
    """Attack one micro-batch (n images on the 8-bit grid), save, score, compare with the `clean` rows by image id."""
    cell, attack, target = square.cell, square.attack, square.target
    budget = attack.budget()
    rng = SampleRNG.of(square.seed, cell.kind, cell.params, images.ids, cell.repeat)
    objective = goal_named(target.kind, attack.goal).on(target, images, file=square.file, budget=budget, surrogates=square.surrogates)
    square.spent(images.ids)  # a batch that failed half-way must not be billed twice
    attacked = attack.run(objective, rng, square.state)
    if attacked.ids != images.ids:
        raise ValueError(f"{cell.attack}: an attack must return the same images in the same order")
    grid = to_grid(attacked.pixels, images.pixels, budget)
    after, before = square.file.save_and_load(grid), square.file.save_and_load(images.pixels)
    scores = score(target, after)
    figures = _quality(before, after, attack.geometric)
    kept = within(grid, images.pixels, budget).tolist()
    answers = map(Answer, scores.tolist(), target.decide(scores).tolist(), kept, square.spent(images.ids), rng.seeds, figures)
    records = [_finished(base_record(cell, images, i, hashes[i]), square, answer, clean.get(images.ids[i])) for i, answer in enumerate(answers)]
    return Outcome(records, before, after, attacked.masks)


def identity_batch(square: Square, images: Images, hashes: Sequence[str]) -> Outcome:
    """The clean arm: the same path without an attack; asked twice, in another batch composition, and once before the file."""
    target = square.target
    asked = images.pixels.clone()
    source = score(target, asked, copy=False)
    mutated = not torch.equal(asked, images.pixels)
    after = square.file.save_and_load(to_grid(images.pixels, images.pixels, None))
    same = torch.equal(after, images.pixels)
    scores = source if same and not mutated else score(target, after)
    repeat = torch.empty_like(scores)
    for part in (slice(0, None, 2), slice(1, None, 2))[: len(images)]:  # labels often alternate: every second one makes the most unlike batch
        repeat[part] = score(target, after[part])
    rng = SampleRNG.of(square.seed, square.cell.kind, square.cell.params, images.ids, square.cell.repeat)
    figures, decisions = _quality(images.pixels, after, False), target.decide(scores).tolist()
    records = []
    for i, (value, decision, seed) in enumerate(zip(scores.tolist(), decisions, rng.seeds, strict=True)):
        clean = _finished(base_record(square.cell, images, i, hashes[i]), square, Answer(value, decision, True, (Cost(), Cost()), seed, figures[i]), None)
        extra, lost = finite({"source_score": source[i].item(), "repeat_score": repeat[i].item()})
        warnings = (*clean.warnings, "input_mutated") if mutated else clean.warnings
        records.append(_with(clean, outcome=clean.outcome | extra, nonfinite=clean.nonfinite | {f"outcome.{k}": v for k, v in lost.items()}, warnings=warnings))
    return Outcome(records, images.pixels, after, images.masks)


def score(target: Detector, pixels: Tensor, copy: bool = True) -> Tensor:
    """File pixels (n, 3, h, w) -> (n,) float32 scores on the CPU; full precision, no gradient; asked on a copy unless told otherwise."""
    with torch.no_grad():
        return target.respond(pixels.clone() if copy else pixels).float().cpu()


def base_record(cell: Cell, images: Images, i: int, sha256: str) -> Record:
    """The row of image i before anything happened."""
    height, width = images.pixels.shape[2:]
    return empty_record(cell, images.ids[i], int(images.labels[i]), images.groups[i], height, width, sha256)


def empty_record(cell: Cell, name: str, label: int, group: str, height: int, width: int, sha256: str | None) -> Record:
    """The row of an image by its description alone, as for one that cannot be read."""
    return Record(
        rid=rid(cell.key, name), cell=cell.key, data=cell.data, target=cell.target, defense=cell.defense, attack=cell.attack, strength=cell.strength, repeat=cell.repeat,
        id=name, sha256=sha256, label=label, group=group, height=height, width=width, goal="evade" if label else "frame",
    )  # fmt: skip


def _finished(row: Record, square: Square, answer: Answer, clean: Record | None) -> Record:
    numbers, lost = finite({"score": answer.value})
    shown, undefined = finite(answer.figures)
    decision = answer.decision
    scored = numbers["score"] is not None
    is_clean = row.attack == "identity"
    was = clean.outcome.get("decision") if clean else None
    attackable = (decision == row.label if scored else False) if is_clean else was == row.label
    outcome: dict[str, Any] = numbers | {"threshold": square.target.threshold, "decision": decision if scored else None, "attackable": attackable}
    if not is_clean:
        outcome |= {"clean_decision": was, "success": attackable and decision != row.label if scored else None}
    return _with(
        row,
        reason=None if scored else f"unscoreable: the target gave {lost['score']}",
        clean_rid=clean.rid if clean else None,
        outcome=outcome,
        quality=shown,
        nonfinite={f"quality.{k}": v for k, v in undefined.items()} | {f"outcome.{k}": v for k, v in lost.items()},
        valid=answer.kept,
        cost=_cost(square, *answer.cost),
        determinism=_determinism(square, answer.seed),
        warnings=tuple(_warnings(square, answer)),
    )


def _cost(square: Square, own: Cost, surrogates: Cost) -> dict[str, Any]:
    """Questions to the target; those to surrogates apart, while what is wrong with a gradient counts wherever it came from."""
    if not square.surrogates:
        return asdict(own)
    asked = {"queries": own.queries, "forwards": own.forwards, "backwards": own.backwards}
    return asdict(own + surrogates) | asked | {"surrogate_queries": surrogates.queries, "surrogate_backwards": surrogates.backwards}


def _determinism(square: Square, seed: int) -> dict[str, Any]:
    """What the row's bits hang on: the micro-batch too where the attack's tier says so."""
    tier = square.attack.tier
    return {"tier": tier.value, "seed": seed} | ({"micro_batch": square.micro_batch} if tier is Tier.MICROBATCH else {})


def _warnings(square: Square, answer: Answer) -> list[str]:
    budget = square.attack.budget()
    found = ["zero_gradient"] if any(cost.first_gradient_zero for cost in answer.cost) else []
    asked_for_change = budget is not None and budget.eps >= 1 / 255 and not square.cell.control
    return found + (["attack_noop"] if asked_for_change and answer.figures.get("linf_levels") == 0 else [])


def _quality(before: Tensor, after: Tensor, geometric: bool) -> list[dict[str, float]]:
    """The figures of each image, on its 8-bit levels; none where pixels have no partner."""
    if geometric or before.shape != after.shape:
        return [{} for _ in before]
    a, b = (to_levels(pixels.cpu()).to(torch.uint8) for pixels in (before, after))
    moved = (a != b).flatten(1).any(1).nonzero().flatten()
    a, b = a[moved], b[moved]
    columns = {"psnr_db": quality.psnr(a, b), "ssim": quality.ssim(a, b), "linf_levels": quality.linf(a, b) * 255, "l2": quality.l2(a, b)}
    found = [dict(UNCHANGED) for _ in before]
    for place, i in enumerate(moved.tolist()):
        found[i] = {name: round(column[place].item(), 6) for name, column in columns.items()}
    return found


def _with(row: Record, **changes: Any) -> Record:
    return Record(**{**row.__dict__, **changes})
