"""Batch norms folded into the layers before them: the same function to rounding where it is done, and nothing touched where it cannot be."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from redteam.targets.folding import OUTSIDE, Folding, fold


def lived(module: nn.Module) -> nn.Module:
    """In eval mode, with norms as training leaves them: no mean is 0, no variance and no weight 1."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.1)
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine:
            part.weight.data.copy_(torch.randn(part.num_features, generator=generator))
            part.bias.data.copy_(torch.randn(part.num_features, generator=generator))
    return module.eval().requires_grad_(False)


def pixels(n: int = 3, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, 8, 8, generator=torch.Generator().manual_seed(2))


def gradient(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(module(x).square().sum(), x)[0]


class Block(nn.Module):
    """A residual block."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, padding=1), nn.BatchNorm2d(outer)
        self.short = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


class Net(nn.Module):
    """A small ResNet with a normalised head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), Block(4, 4, 1), Block(4, 8, 2))
        self.head = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def test_every_norm_of_a_residual_network_is_folded_and_outputs_and_gradients_agree_to_rounding():
    net = lived(Net())
    folded = copy.deepcopy(net)
    assert fold(folded) == Folding(7, 7)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in folded.modules())
    exact, x = copy.deepcopy(net).double(), pixels()
    assert torch.allclose(folded(x).double(), exact(x.double()), rtol=1e-5, atol=1e-5)
    assert torch.allclose(gradient(folded, x).double(), gradient(exact, x.double()), rtol=1e-4, atol=1e-6)


LAYERS = {
    "plain": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
    "without bias": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)),
    "dilated behind a reflection": (nn.Conv2d(4, 6, 3, padding=2, dilation=2, padding_mode="reflect"), nn.BatchNorm2d(6)),
    "norm without weights": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)),
    "norm with a large eps": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, eps=0.5)),
    "synchronised norm": (nn.Conv2d(4, 6, 3), nn.SyncBatchNorm(6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)),
    "transposed and grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(256, 5)), nn.BatchNorm1d(5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_kind_of_layer_is_folded_to_rounding(name):
    net = lived(nn.Sequential(*copy.deepcopy(LAYERS[name])))
    folded, x = copy.deepcopy(net), pixels(channels=4)
    assert fold(folded) == Folding(1, 1)
    want = net.double()(x.double())
    assert torch.allclose(folded(x).double(), want, rtol=1e-5, atol=1e-5) and (want - x.mean()).abs().max() > 0.1


class Wired(nn.Module):
    """One convolution and one norm, used as `wiring` says."""

    def __init__(self, wiring) -> None:
        super().__init__()
        self.conv, self.bn, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.wiring = wiring

    def forward(self, x):
        return self.wiring(self, x)


def residual(self, x):
    y = self.conv(x)
    return self.bn(y) + y


def in_place(self, x):
    y = self.conv(x)
    y.mul_(2)
    return self.bn(y)


ALONE = {
    "the norm comes first": lambda self, x: self.conv(self.bn(x)),
    "something is between them": lambda self, x: self.bn(F.relu(self.conv(x))),
    "the convolution's result is read again": residual,
    "the convolution's result is changed in place": in_place,
    "the convolution is used twice": lambda self, x: self.bn(self.conv(x)) + self.other(self.conv(x)),
    "the norm is used twice": lambda self, x: self.bn(self.bn(self.conv(x))),
    "the weight is read elsewhere": lambda self, x: self.bn(self.conv(x)) + F.conv2d(x, self.conv.weight, padding=1),
    "the running mean is read elsewhere": lambda self, x: self.bn(self.conv(x)) - self.bn.running_mean.view(1, -1, 1, 1),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_pair_is_left_alone_where(name):
    net = lived(Wired(ALONE[name]))
    folded = copy.deepcopy(net)
    assert fold(folded) == Folding(0, 2)
    assert torch.equal(folded(pixels()), net(pixels()))


class Own(nn.Conv2d):
    """A convolution that does something else."""

    def forward(self, x):
        return super().forward(x) + 1


OTHER = {
    "a norm without running statistics": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    "a norm of another number of channels": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(64, 5), nn.BatchNorm1d(3)),
    "a convolution of the user's": lambda: nn.Sequential(Own(3, 4, 3), nn.BatchNorm2d(4)),
    "a parametrised convolution": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
    "a half-precision network": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).bfloat16(),
}


@pytest.mark.parametrize("name", OTHER)
def test_it_leaves_alone(name):
    net = lived(OTHER[name]())
    folded = copy.deepcopy(net)
    assert fold(folded) == Folding(0, 1)
    x = pixels().to(next(net.parameters()).dtype)
    assert torch.equal(folded(x), net(x))


def test_a_convolution_with_another_forward_is_left_alone():
    net = lived(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    net[0].forward = lambda x: F.conv2d(x, net[0].weight)
    assert fold(net) == Folding(0, 1)


def test_a_norm_in_train_mode_is_left_alone():
    net = lived(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    net[1].train()
    assert fold(net) == Folding(0, 1)


def test_a_module_with_a_hook_is_left_alone():
    net = lived(Net())
    net.body[3].register_forward_hook(lambda module, args, output: output * 2)
    assert fold(net) == Folding(0, 7, "it has hooks")


def test_a_norm_under_two_names_is_gone_under_both():
    net = lived(Wired(lambda self, x: self.bn(self.conv(x))))
    net.alias, want = net.bn, net(pixels())
    assert fold(net) == Folding(1, 2)
    assert isinstance(net.bn, nn.Identity) and isinstance(net.alias, nn.Identity)
    assert torch.allclose(net(pixels()), want, atol=1e-5)


class Branching(nn.Module):
    """Code that no trace can follow, around parts that can be."""

    def __init__(self, taken) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.taken = taken

    def forward(self, x):
        if x.mean() > 0.5:
            return self.conv(x)
        return self.taken(self, self.bn(self.conv(x)))


def test_a_pair_in_a_branch_is_left_alone_and_the_parts_that_can_be_followed_are_folded():
    net = lived(Branching(lambda self, x: self.stem(x)))
    folded = copy.deepcopy(net)
    assert fold(folded) == Folding(1, 2, "its code cannot be followed for all images (TraceError)")
    assert isinstance(folded.bn, nn.BatchNorm2d) and isinstance(folded.stem[1], nn.Identity)
    for x in (pixels() * 0.5, pixels() * 0.5 + 0.5):
        assert torch.allclose(folded(x), net(x), atol=1e-5)


def test_a_folded_part_refuses_to_be_called_in_pieces_by_code_that_could_not_be_followed():
    net = lived(Branching(lambda self, x: self.stem[0](x)))
    fold(net)
    with pytest.raises(RuntimeError, match=f"^{OUTSIDE}$"):
        net(pixels() * 0.5)
    assert net(pixels() * 0.5 + 0.5).shape == (3, 3, 8, 8)


def test_a_folded_part_may_be_called_again_after_it_raised():
    net = lived(Branching(lambda self, x: self.stem(x)))
    fold(net)
    with pytest.raises(RuntimeError, match="channels"):
        net.stem(pixels(channels=5))
    with pytest.raises(RuntimeError, match=f"^{OUTSIDE}$"):
        net.stem[0](pixels())


def test_a_linear_layer_that_gets_more_than_rows_says_so():
    net = lived(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)))
    fold(net)
    with pytest.raises(ValueError, match=r"a batch norm behind a linear layer got \(2, 4, 4\), which cannot be folded; declare prepare: off"):
        net(torch.rand(2, 4, 8))


def test_a_module_without_norms_is_not_even_traced():
    assert fold(nn.Sequential(nn.Conv2d(3, 4, 3))) == Folding(0, 0)
