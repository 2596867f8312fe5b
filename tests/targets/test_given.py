"""A module that is lent to an evaluation: what identifies it, where it is, and how it comes back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from redteam.target import Access
from redteam.targets.adapted import Output
from redteam.targets.given import GivenTarget, borrowed, home


def target(model, **fields) -> GivenTarget:
    return GivenTarget(model=model, output=Output(type="logit"), **fields)


def test_its_fingerprint_follows_its_parameters_and_buffers():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(torch.bfloat16)
    before = target(net).fingerprint()
    assert target(net).fingerprint() == before
    net[1].running_mean += 1
    assert target(net).fingerprint() != before
    assert target(lambda x: x).fingerprint() == {}


def test_its_parameters_are_what_is_declared_and_not_the_model():
    assert "model" not in target(nn.Linear(1, 1), access="scores").params() and target(None, access="scores").params()["access"] == "scores"


def test_a_callable_gives_scores_and_a_module_gradients():
    cpu = torch.device("cpu")
    assert target(lambda x: x).load("m", cpu).access is Access.SCORES
    assert target(nn.Identity()).load("m", cpu).access is Access.GRADIENTS
    assert target(lambda x: x, access="gradients").load("m", cpu).access is Access.GRADIENTS


def test_a_module_that_will_not_leave_train_mode_is_noted():
    class Stubborn(nn.Dropout):
        def train(self, mode: bool = True):
            self.training = True
            return self

    assert target(Stubborn()).load("m", torch.device("cpu")).notes[-1].startswith("model_in_train_mode: the module stays in train mode")


def test_a_module_on_several_devices_is_refused():
    assert home(nn.Linear(1, 1)) == torch.device("cpu") == home(nn.Identity()) == home(lambda x: x)
    with pytest.raises(ValueError, match="model must be on one device, got cpu, meta; wrap it in a function that takes pixels on the CPU"):
        home(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, device="meta")))


def test_buffers_come_back_after_train_mode_changed_them():
    net = nn.BatchNorm1d(2)
    with pytest.raises(ZeroDivisionError), borrowed(net):
        net(torch.randn(8, 2))
        assert net.num_batches_tracked == 1
        raise ZeroDivisionError
    assert net.num_batches_tracked == 0 and net.running_mean.tolist() == [0, 0] and net.training
