"""The detector and the images of peers.py: a batch-normalised residual network of 100 million multiply-adds, and coloured haze with a faint checkerboard in every fake.

The network is trained for half a minute against single gradient steps, so that some images stand at 8/255 and some fall at once: what an attack
costs depends on how long its images stand.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE, BATCH, EPS, STEPS = 128, 16, 8 / 255, 20
STEP = EPS / 4
EARLY = 1  # gradient steps within which an image falls early


class Block(nn.Module):
    """Two convolutions with batch norms beside a short cut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.short = nn.Identity() if stride == 1 else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.short(x))


class Network(nn.Module):
    """Pixels (n, 3, 128, 128) -> one logit (n,), positive for fakes."""

    def __init__(self, width: int = 20) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2), Block(4 * width, 8 * width, 2))
        self.head = nn.Linear(8 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))[:, 0]


class TwoLogits(nn.Module):
    """The same detector for tools that want one logit a class: -z / 2 and z / 2, whose difference is z, and `padding` classes that never win."""

    def __init__(self, network: nn.Module, padding: int = 0) -> None:
        super().__init__()
        self.network, self.padding = network, padding

    def forward(self, x: Tensor) -> Tensor:
        z = self.network(x)[:, None]
        return torch.cat([-z / 2, z / 2, *[torch.full_like(z, -50.0)] * self.padding], 1)


def images(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pixels (n, 3, 128, 128) on the 8-bit grid, and labels (n,) 0 and 1 in turn."""
    generator = torch.Generator().manual_seed(seed)
    haze = F.interpolate(torch.rand(n, 3, 6, 6, generator=generator), (SIZE, SIZE), mode="bicubic").clamp(0, 1) * 0.5 + 0.25
    labels = torch.arange(n) % 2
    strength = torch.where(labels == 1, 0.015, 0.0) + torch.where(labels == 1, 0.065, 0.01) * torch.rand(n, generator=generator)
    shift = torch.randint(0, 8, (n, 2, 1), generator=generator)
    rows, columns = torch.sign(torch.sin(2 * torch.pi * (torch.arange(SIZE) + shift + 0.5) / 8)).unbind(1)
    board = (rows[:, :, None] * columns[:, None, :])[:, None]
    pixels = haze + 0.03 * torch.randn(n, 3, SIZE, SIZE, generator=generator) + strength.view(-1, 1, 1, 1) * board
    return pixels.clamp(0, 1).mul(255).round() / 255, labels


def trained(path: Path) -> Network:
    """The network in eval mode without parameter gradients; trained and kept where the file is not there."""
    torch.manual_seed(0)
    network = Network()
    if not path.is_file():
        _train(network)
        torch.save(network.state_dict(), path)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval().requires_grad_(False)


def _train(network: Network, epochs: int = 4) -> None:
    pixels, labels = images(256, seed=1)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for at in [*range(0, len(pixels), BATCH)] * epochs:
        x, y = pixels[at : at + BATCH], labels[at : at + BATCH]
        attacked = descended(network.eval(), x, y, eps=4 / 255, step=5 / 255, steps=1)[0]
        scores = network.train()(torch.cat([x, attacked]))
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(scores, torch.cat([y, y]).float()).backward()
        optimiser.step()


def descended(network: nn.Module, x: Tensor, y: Tensor, *, eps: float = EPS, step: float = STEP, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """The bare loop: PGD inside an L-infinity ball, and after how many steps each image was misjudged (`steps` where never)."""
    sign = (2 * y - 1).float()
    low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    adv = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(low, high)
    fell = torch.full_like(y, steps)
    for number in range(steps):
        adv.requires_grad_(True)
        loss = network(adv) * sign
        gradient = torch.autograd.grad(loss.sum(), adv)[0]
        fell = fell.where((loss.detach() > 0) | (fell < number), number)
        adv = (adv.detach() - step * gradient.sign()).clamp(low, high)
    return adv, fell


def half_weak(network: nn.Module, n: int) -> tuple[Tensor, Tensor]:
    """n images that the network judges right: every second one falls to the bare loop at its first step, the others stand to the end."""
    pixels, labels = images(16 * n, seed=2)
    with torch.no_grad():
        margins = torch.cat([network(part) for part in pixels.split(BATCH)]) * (2 * labels - 1)
    right = margins.argsort()[int((margins <= 0).sum()) :]  # the weakest first
    weak, strong = _found(network, pixels, labels, right, n // 2, early=True), _found(network, pixels, labels, right.flip(0), n // 2, early=False)
    order = torch.stack([weak, strong], 1).flatten()
    return pixels[order], labels[order]


def _found(network: nn.Module, pixels: Tensor, labels: Tensor, order: Tensor, n: int, *, early: bool) -> Tensor:
    """The first n images of an order that fall early to the bare loop, or never."""
    found: list[int] = []
    for part in order.split(BATCH):
        fell = descended(network, pixels[part], labels[part])[1]
        found += part[(fell <= EARLY) if early else (fell == STEPS)].tolist()
        if len(found) >= n:
            return torch.tensor(found[:n])
    raise SystemExit(f"only {len(found)} of {len(order)} images {'fall early' if early else 'stand'}; wanted {n}")
