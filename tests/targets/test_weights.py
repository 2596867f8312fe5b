"""Weights in the layouts found in the wild: every name and shape must fit, and a pickle with code is never run."""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import nn

from redteam.targets.python import PythonTarget
from redteam.targets.weights import Weights, load_weights, read_file

CPU = torch.device("cpu")
CONVERT = (
    ", and loading it could run code; where you trust it, convert it once: "
    "safetensors.torch.save_file(torch.load(path, weights_only=False)['state_dict'], 'weights.safetensors')"
)


class Bomb:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def small():
    """A network with parameters, buffers and an integer among them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 1))


@pytest.fixture
def trained():
    """What training left: the state dict of another network of the same shape, with nothing at its initial value."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else torch.tensor(7) for name, value in small().state_dict().items()}


@pytest.fixture
def optimizer():
    """The state of an optimizer after one step: integers as keys, tensors deep inside, lists and flags."""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def prefixed(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


def loads(path, trained, **settings):
    """The notes of loading a file, having checked that every tensor arrived."""
    model = small()
    notes = load_weights(model, Weights(path=path, **settings), CPU)
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    return notes


def refusal(path, model=None, **settings):
    """The sentence with which a file is refused, having checked that the module was left alone."""
    model = model or small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_weights(model, Weights(path=path, **settings), CPU)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return str(caught.value)


LAYOUTS = {  # name: what a training script saves, given its state dict and its optimizer's; what the note says behind the file's name
    "bare": (lambda s, o: s, None),
    "model": (lambda s, o: {"model": s, "epoch": 3}, "taken from 'model'; not used: epoch"),
    "state_dict": (lambda s, o: {"epoch": 3, "arch": "resnet50", "state_dict": s, "best_acc1": 0.9}, "taken from 'state_dict'; not used: epoch, arch, best_acc1"),
    "net": (lambda s, o: {"net": s}, "taken from 'net'"),
    "params": (lambda s, o: {"params": s}, "taken from 'params'"),
    "model_state_dict": (lambda s, o: {"model_state_dict": s, "optimizer_state_dict": o}, "taken from 'model_state_dict'; not used: optimizer_state_dict"),
    "module": (lambda s, o: {"module": s}, "taken from 'module'"),
    "ema alone": (lambda s, o: {"ema": s, "updates": 10}, "taken from 'ema'; not used: updates"),
    "two levels down": (lambda s, o: {"checkpoint": {"model": s, "step": 9}}, "taken from 'checkpoint.model'"),
    "DataParallel": (lambda s, o: prefixed("module.", s), "'module.' stripped from every name"),
    "DataParallel inside": (lambda s, o: {"state_dict": prefixed("module.", s)}, "taken from 'state_dict'; 'module.' stripped from every name"),
    "compiled": (lambda s, o: prefixed("_orig_mod.", s), "'_orig_mod.' stripped from every name"),
    "compiled in DataParallel": (lambda s, o: {"model": prefixed("module._orig_mod.", s)}, "taken from 'model'; 'module._orig_mod.' stripped from every name"),
    "Lightning, net": (
        lambda s, o: {"epoch": 1, "global_step": 20, "pytorch-lightning_version": "2.2.0", "state_dict": prefixed("net.", s), "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [o], "lr_schedulers": [], "hyper_parameters": {"lr": 0.1}},
        "taken from 'state_dict'; 'net.' stripped from every name; not used: epoch, global_step, pytorch-lightning_version, loops, callbacks, ...",
    ),
    "Lightning, model": (lambda s, o: {"state_dict": prefixed("model.", s), "optimizer_states": [o]}, "taken from 'state_dict'; 'model.' stripped from every name; not used: optimizer_states"),
    "with numbers beside the tensors": (lambda s, o: s | {"epoch": 4}, "not used: epoch"),
    "another network beside it": (lambda s, o: {"generator": {"w": torch.zeros(3)}, "discriminator": s}, "taken from 'discriminator'; not used: generator"),
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_from_the_wild_loads_and_says_how(layout, legacy, trained, optimizer, tmp_path):
    make, note = LAYOUTS[layout]
    path = tmp_path / "w.pth"
    torch.save(make(trained, optimizer), path, _use_new_zipfile_serialization=not legacy)
    assert loads(path, trained) == ((f"weights from w.pth: {note}",) if note else ())


@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
def test_safetensors_may_carry_a_prefix_too(prefix, trained, tmp_path):
    save_file(prefixed(prefix, trained), tmp_path / "w.safetensors")
    assert loads(tmp_path / "w.safetensors", trained) == ((f"weights from w.safetensors: {prefix!r} stripped from every name",) if prefix else ())


def test_names_get_the_prefix_that_the_module_s_own_share(trained, tmp_path):
    """As {weight, bias} of a linear probe goes into a module that has it under `fc`."""
    torch.save({"weight": torch.ones(1, 4), "bias": torch.zeros(1)}, tmp_path / "fc.pth")
    model = nn.ModuleDict({"fc": nn.Linear(4, 1)})
    assert load_weights(model, Weights(path=tmp_path / "fc.pth"), CPU) == ("weights from fc.pth: 'fc.' put before every name",)
    assert model["fc"].weight.tolist() == [[1.0] * 4]


def test_a_layer_is_never_renamed_into_another_one(tmp_path):
    torch.save({"head.weight": torch.ones(1, 4), "head.bias": torch.zeros(1)}, tmp_path / "w.pth")
    assert refusal(tmp_path / "w.pth", nn.ModuleDict({"fc": nn.Linear(4, 1)})) == (
        "weights: w.pth does not fit the module: 2 missing (fc.bias (1,), fc.weight (1, 4)); 2 unexpected (head.bias (1,), head.weight (1, 4))"
    )


def test_two_state_dicts_that_fit_are_ambiguous_until_one_is_chosen(trained, tmp_path):
    ema = {name: value + 1 for name, value in trained.items()}
    torch.save({"model": trained, "model_ema": prefixed("module.", ema), "epoch": 9}, tmp_path / "w.pth")
    assert refusal(tmp_path / "w.pth") == "weights: w.pth holds 2 state dicts that fit the module (model, model_ema); choose one, such as key: model"
    assert loads(tmp_path / "w.pth", trained, key="model") == ("weights from w.pth: taken from 'model'; not used: model_ema, epoch",)
    assert loads(tmp_path / "w.pth", ema, key="model_ema") == ("weights from w.pth: taken from 'model_ema'; 'module.' stripped from every name; not used: model, epoch",)


def test_a_key_reaches_into_the_names_and_leaves_the_others_out(trained, tmp_path):
    """A Lightning module that keeps its loss beside its network does not fit as a whole; the scenario may ask for the part."""
    torch.save({"state_dict": prefixed("net.", trained) | {"loss.weight": torch.ones(2)}, "epoch": 1}, tmp_path / "w.ckpt")
    assert refusal(tmp_path / "w.ckpt").startswith("weights: w.ckpt (taken from 'state_dict') does not fit the module: 9 missing (0.bias (4,), 0.weight (4, 3, 3, 3), 1.bias (4,), ")
    assert loads(tmp_path / "w.ckpt", trained, key="state_dict.net") == ("weights from w.ckpt: taken from 'state_dict.net'; not used: epoch",)
    save_file(prefixed("net.", trained) | {"loss.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    assert loads(tmp_path / "w.safetensors", trained, key="net") == ("weights from w.safetensors: taken from 'net'; not used: loss.weight",)


def test_a_key_that_is_not_there_is_refused_with_those_that_are(trained, tmp_path):
    torch.save({"state_dict": trained, "epoch": 1}, tmp_path / "w.pth")
    for key in ("model", "state_dict.net", "epoch"):
        assert refusal(tmp_path / "w.pth", key=key) == f"weights: w.pth must hold tensors at key {key!r}, got a dict of state_dict, epoch"


def test_every_name_that_does_not_fit_is_listed_both_ways_with_its_shape(tmp_path):
    save_file({"weight": torch.zeros(2, 3), "module.bias": torch.zeros(1), "extra": torch.zeros(4, 5)}, tmp_path / "w.safetensors")
    assert refusal(tmp_path / "w.safetensors", nn.Linear(3, 1)) == (
        "weights: w.safetensors does not fit the module: 1 missing (bias (1,)); 2 unexpected (extra (4, 5), module.bias (1,)); 1 of another shape (weight (2, 3) instead of (1, 3))"
    )


def test_a_prefix_that_does_not_make_all_names_fit_is_named_with_what_is_left(trained, tmp_path):
    del trained["3.bias"]
    torch.save({"state_dict": prefixed("module.", trained)}, tmp_path / "w.pth")
    assert refusal(tmp_path / "w.pth") == "weights: w.pth (taken from 'state_dict', 'module.' stripped from every name) does not fit the module: 1 missing (3.bias (1,)); 0 unexpected"


def test_long_lists_of_names_are_cut(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({f"k{i}": torch.zeros(1) for i in range(9)}, path)
    assert refusal(path, nn.Identity()).endswith("9 unexpected (k0 (1,), k1 (1,), k2 (1,), k3 (1,), k4 (1,), ...)")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_storages_that_were_saved_on_cuda_arrive_where_they_are_wanted(legacy, trained, tmp_path):
    """The file is rewritten so that each storage says cuda:0, as on a machine that has one."""
    path = tmp_path / "w.pth"
    torch.save({"model": trained}, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(tagged_cuda(path.read_bytes()))
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            torch.load(path, weights_only=True)
    assert loads(path, trained) == ("weights from w.pth: taken from 'model'",)


def tagged_cuda(content):
    """The same file, its storages on cuda:0. A pickle of protocol 2 writes text as X, four bytes of length, and the text."""
    cpu, cuda = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    if not zipfile.is_zipfile(io.BytesIO(content)):
        assert cpu in content
        return content.replace(cpu, cuda)
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(changed, "w") as after:
        for item in before.infolist():
            data = before.read(item)
            if item.filename.endswith("data.pkl"):
                assert cpu in data
                data = data.replace(cpu, cuda)
            after.writestr(item, data)
    return changed.getvalue()


HELD = [("argparse.Namespace", argparse.Namespace(lr=0.1)), ("numpy._core.multiarray.scalar", np.float64(0.5)), ("torch.nn.modules.linear.Linear", nn.Linear(2, 1))]


@pytest.mark.parametrize(("kind", "value"), HELD, ids=[kind for kind, _ in HELD])
def test_what_is_neither_a_tensor_nor_plain_is_refused_by_its_name(kind, value, trained, tmp_path):
    torch.save({"model": trained, "args": value}, tmp_path / "w.pth")
    assert refusal(tmp_path / "w.pth") == f"weights: w.pth holds more than tensors ({kind}){CONVERT}"


@pytest.mark.parametrize("how", ["torch.save", "legacy", "plain pickle"])
def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(how, trained, tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "ran"
    content = {"state_dict": trained, "x": Bomb(trace)}
    if how == "plain pickle":
        path.write_bytes(pickle.dumps({"x": Bomb(trace)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch.save")
    assert re.fullmatch(re.escape("weights: evil.pt holds more than tensors") + r"( \(_?io\.open\))?" + re.escape(CONVERT), refusal(path))
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()  # it would have run


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_damaged_file_is_refused_with_its_name(name, damage, trained, tmp_path):
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(trained, path)
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2] if damage == "cut" else b"")
    assert refusal(path).startswith(f"weights: {name} is not a whole ")


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert refusal(path).startswith("weights: w.pt is not a whole file that torch.save wrote")


@pytest.mark.parametrize(("content", "got"), [({"epoch": 3, "name": "x"}, "a dict of epoch, name"), ([torch.zeros(1)], "list"), (torch.zeros(1), "Tensor")])
def test_what_holds_no_state_dict_is_named(content, got, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    assert refusal(tmp_path / "w.pt") == f"weights: w.pt must hold a state dict (names to tensors), got {got}"


def test_a_mapping_that_holds_itself_is_no_trap(trained, tmp_path):
    content = {"epoch": 1}
    content["itself"] = content
    torch.save(content, tmp_path / "w.pt")
    assert refusal(tmp_path / "w.pt") == "weights: w.pt must hold a state dict (names to tensors), got a dict of epoch, itself"


def test_a_missing_file_and_another_hash_are_said_in_full(trained, tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(f'weights: {path} does not exist; the path is relative to the scenario')}$"):
        Weights(path=path).digest()
    save_file(trained, path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert Weights(path=path, sha256=found).digest() == found
    assert refusal(path, sha256="0" * 64) == f"weights: w.safetensors has sha256 {found}, but the scenario declares {'0' * 64}"


def test_what_was_unwrapped_is_a_note_on_the_target(folder):
    torch.save({"state_dict": {"module.fc.weight": torch.ones(1, 3), "module.fc.bias": torch.zeros(1)}}, folder / "w.pth")
    declared = TypeAdapter(PythonTarget).validate_python({"factory": "mine.py:build", "output": {"type": "logit"}, "weights": {"path": folder / "w.pth"}, "folder": folder})
    target = declared.load("mine", CPU)
    assert target.notes == ("weights from w.pth: taken from 'state_dict'; 'module.' stripped from every name",)
    assert torch.allclose(target.respond(torch.full((1, 3, 4, 4), 0.5)), torch.tensor([1.5]))


def test_a_file_is_read_onto_the_device_that_is_asked_for(trained, tmp_path):
    torch.save(trained, tmp_path / "w.pt")
    save_file(trained, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert {tensor.device.type for tensor in read_file(tmp_path / name, CPU).values()} == {"cpu"}
    assert {tensor.device.type for tensor in read_file(tmp_path / "w.pt", torch.device("meta")).values()} == {"meta"}
