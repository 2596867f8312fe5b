"""Exported programs: scored in any batch, attacked through their gradients, and looked through before anything in them can run."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from redteam.attacks.pgd import PGD
from redteam.objective import BOTH
from redteam.target import Access
from redteam.targets.adapted import TAKEN_OFF, Output
from redteam.targets.file import FILLED, FileTarget, Program
from redteam.targets.preprocessing import Input, ResizeStep

CPU = torch.device("cpu")
AUTO = torch.export.Dim.AUTO
REPAIR = "; export the detector again with torch.export.save, or build it in a factory (kind: python)"


class Small(nn.Module):
    """A convolution, batch statistics, dropout and a head, then `end`."""

    def __init__(self, end: Callable = nn.Identity()) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
        for value in self.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator))
        self.end = end

    def forward(self, x):
        return self.end(self.net(x))


class Bright(nn.Module):
    """Brightness as steep as 400 log-odds, then `end`."""

    def __init__(self, end: Callable) -> None:
        super().__init__()
        self.end = end

    def forward(self, x):
        return self.end((x.mean((1, 2, 3)) - 0.5)[:, None] * 400)


def exported(module: nn.Module, batch: int = 2, dynamic: bool = True) -> bytes:
    """The file that torch.export.save writes; sizes and batch dynamic or as the sample of `batch` images of 16 x 16."""
    shapes = ({0: AUTO, 2: AUTO, 3: AUTO},) if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own about its tracing
        program = torch.export.export(module.eval(), (torch.rand(batch, 3, 16, 16),), dynamic_shapes=shapes)
        file = io.BytesIO()
        torch.export.save(program, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """One small detector exported twice: for any batch and size, and for three images of 16 x 16."""
    return {"any": exported(Small()), "fixed": exported(Small(), 3, dynamic=False)}


@pytest.fixture
def load(tmp_path: Path) -> Callable:
    """A file's content -> the loaded target."""

    def make(content: bytes, type: str = "logit", input: Input | None = None, **output: object):
        (tmp_path / "d.pt2").write_bytes(content)
        return FileTarget(path=tmp_path / "d.pt2", output=Output(type=type, **output), input=input or Input()).load("mine", CPU)

    return make


@pytest.mark.parametrize("which", ["any", "fixed"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_a_program_gives_the_scores_and_gradients_of_its_module(which, n, files, load, make_images):
    target, module, images = load(files[which]), Small().eval(), make_images(n, 16, 16)
    pixels = images.pixels.clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(module(pixels).sum(), pixels)
    assert torch.allclose(target.respond(images.pixels), module(images.pixels)[:, 0], atol=1e-5)
    (found,) = torch.autograd.grad(target.respond(pixels).sum(), pixels)
    assert torch.allclose(found, wanted, atol=1e-6) and wanted.abs().max() > 1e-4
    assert target.access is Access.GRADIENTS


def test_a_fixed_batch_is_said_and_any_batch_needs_no_word(files, load):
    assert load(files["any"]).notes == ()
    assert load(files["fixed"]).notes == (FILLED.format(low=3),)


def test_max_batch_and_a_fixed_batch_go_together(files, load, make_images):
    pixels = make_images(5, 16, 16).pixels
    want = Small().eval()(pixels)[:, 0]
    for content, most in ((files["fixed"], 2), (files["any"], 2), (files["fixed"], 100)):
        assert torch.allclose(load(content, input=Input(max_batch=most)).respond(pixels), want, atol=1e-5)


def test_any_size_runs_and_the_declared_input_comes_first(files, load, make_images):
    pixels = make_images(2, 24, 20).pixels
    assert torch.allclose(load(files["any"]).respond(pixels), Small().eval()(pixels)[:, 0], atol=1e-5)
    sized = Input(resize=ResizeStep(size=16))
    assert torch.allclose(load(files["fixed"], input=sized).respond(pixels), Small().eval()(sized.apply(pixels))[:, 0], atol=1e-5)


def test_another_size_than_the_program_takes_is_said_with_the_repair(files, load, make_images):
    message = "mine: the program takes images of 3 x 16 x 16, got 3 x 24 x 20 after the declared input; declare input.resize, crop, channels or layout, or export it with dynamic sizes"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load(files["fixed"]).respond(make_images(2, 24, 20).pixels)
    with pytest.raises(ValueError, match=re.escape("the program takes images of 3 x any x any, got 1 x 16 x 16 after the declared input")):
        load(files["any"], input=Input(channels="grey")).respond(make_images(2, 16, 16).pixels)
    with pytest.raises(ValueError, match=r"^mine: the program refuses images of 3 x 2 x 2 \(Guard failed: .*\); declare input.resize or input.crop, or export it with dynamic sizes$"):
        load(files["any"]).respond(make_images(2, 2, 2).pixels)


ENDINGS = {
    "sigmoid": ("prob", {}, torch.sigmoid),
    "softmax": ("probs2", {}, lambda z: torch.softmax(torch.cat([-z / 2, z / 2], 1), 1)),
    "clamped in a mapping": ("prob", {"key": "p"}, lambda z: {"z": z, "p": z.sigmoid().clamp(1e-6, 1 - 1e-6)}),
    "second of a tuple": ("prob", {"key": 1}, lambda z: (z, torch.sigmoid(z))),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("dynamic", [True, False], ids=["any batch", "fixed batch"])
def test_a_final_activation_comes_off_a_program_too(name, dynamic, load, grey_images, run_cell):
    type_, stanza, end = ENDINGS[name]
    clean = grey_images(25, step=2)
    target = load(exported(Bright(end), 4, dynamic), type_, **stanza)
    target.inspect(clean.pixels)
    assert target.notes[-1] == TAKEN_OFF
    assert torch.allclose(target.respond(clean.pixels), (clean.pixels.mean((1, 2, 3)) - 0.5) * 400, atol=1e-3)
    assert BOTH.on(target, clean).gradient(clean.pixels).flatten(1).abs().sum(1).min() > 0
    assert all(row.outcome["success"] for row in run_cell(target, PGD(eps=64 / 255, steps=5), clean).rows)


def test_the_fingerprint_is_the_file_and_another_hash_is_refused(files, tmp_path):
    (tmp_path / "d.pt2").write_bytes(files["any"])
    declared = FileTarget(path=tmp_path / "d.pt2", output=Output(type="logit"))
    found = declared.fingerprint()["program"]
    assert FileTarget(path=tmp_path / "d.pt2", sha256=found, output=Output(type="logit")).load("mine", CPU).name == "mine"
    with pytest.raises(ValueError, match=f"^path: d.pt2 has sha256 {found}, but the scenario declares {'0' * 64}$"):
        FileTarget(path=tmp_path / "d.pt2", sha256="0" * 64, output=Output(type="logit")).load("mine", CPU)
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(f'path: {tmp_path}/e.pt2 does not exist; the path is relative to the scenario')}$"):
        FileTarget(path=tmp_path / "e.pt2", output=Output(type="logit")).load("mine", CPU)


@pytest.mark.parametrize("name", ["detector.pt", "detector.torchscript", "weights.pth", "detector.onnx"])
def test_other_files_are_refused_where_they_are_declared(name):
    with pytest.raises(ValidationError, match=re.escape(f"path must end in .pt2, got {name}; TorchScript, which torch has deprecated, is loaded by a factory")):
        TypeAdapter(FileTarget).validate_python({"path": name, "output": {"type": "logit"}})


def test_a_program_of_two_inputs_is_refused():
    class Two(nn.Module):
        def forward(self, x, mask):
            return (x * mask).mean((1, 2, 3))

    program = torch.export.export(Two(), (torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)))
    with pytest.raises(ValueError, match=r"^must take one input, a batch of images, got 2 \(x, mask\); export a module that takes images alone$"):
        Program(program)


# What follows are attacks on whoever evaluates a detector that somebody else exported.


def rewritten(content: bytes, change: Callable[[str, bytes], bytes | None], more: dict[str, bytes] | None = None) -> bytes:
    """The same archive with some members changed, left out (None) or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(file, "w") as after:
        top = before.namelist()[0].split("/")[0]
        for item in before.infolist():
            if (data := change(item.filename.split("/", 1)[1], before.read(item))) is not None:
                after.writestr(item.filename, data)
        for name, data in (more or {}).items():
            after.writestr(f"{top}/{name}", data)
    return file.getvalue()


def in_program(content: bytes, change: Callable[[dict], None]) -> bytes:
    """With another model.json."""

    def swap(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        program = json.loads(data)
        change(program)
        return json.dumps(program).encode()

    return rewritten(content, swap)


def evaluates_a_shape(program: dict, code: str) -> None:
    (sizes,) = [value["sizes"] for name, value in program["graph_module"]["graph"]["tensor_values"].items() if name == "x"]
    sizes[0]["as_expr"]["expr_str"] = f"{code} or Symbol('s0')"


def evaluates_a_guard(program: dict, code: str) -> None:
    program["guards_code"] = [f"{code} == 0"]


def tried_by_torch(content: bytes) -> None:
    """What happens to whoever loads and runs the file without a look."""
    logging.disable(logging.CRITICAL)  # torch reports each failure
    try:
        torch.export.load(io.BytesIO(content)).module()(torch.rand(2, 3, 16, 16))
    except Exception as error:  # what becomes of the program does not matter: the question is whether the code ran
        assert str(error)
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("change", [evaluates_a_shape, evaluates_a_guard])
def test_code_in_a_program_is_refused_and_does_not_run(change, files, load, tmp_path):
    trace = tmp_path / "ran"
    content = in_program(files["any"], lambda program: change(program, f"__import__('pathlib').Path({str(trace)!r}).touch()"))
    with pytest.raises(ValueError, match=r"^mine: d.pt2 evaluates \"__import__\('pathlib'\).Path\(.*\", which is more than arithmetic on sizes" + re.escape(REPAIR) + "$"):
        load(content)
    assert not trace.exists()
    tried_by_torch(content)
    assert trace.exists()


class Bomb:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_a_weight_that_is_a_pickle_is_refused_and_its_code_does_not_run(files, load, tmp_path):
    def swap(name: str, data: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            config = json.loads(data)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()
        return pickled(Bomb(tmp_path / "ran")) if name == "data/weights/weight_0" else data

    content = rewritten(files["any"], swap)
    with pytest.raises(ValueError, match="^" + re.escape("mine: d.pt2 holds 'net.0.weight' as a pickle, and loading it could run code" + REPAIR) + "$"):
        load(content)
    assert not (tmp_path / "ran").exists()
    tried_by_torch(content)
    assert (tmp_path / "ran").exists()


def test_sample_inputs_that_are_code_are_refused_and_do_not_run(files, load, tmp_path):
    content = rewritten(files["any"], lambda name, data: pickled((Bomb(tmp_path / "ran"), {})) if name.startswith("data/sample_inputs") else data)
    with pytest.raises(ValueError, match="^" + re.escape("mine: d.pt2 holds sample inputs that are more than tensors, and loading them could run code" + REPAIR) + "$"):
        load(content)
    assert not (tmp_path / "ran").exists()
    tried_by_torch(content)
    assert (tmp_path / "ran").exists()


MEMBERS = {
    "data/aotinductor/model/m.so": "is compiled code",
    "data/constants/opaque_obj_0": "only a pickle can hold",
    "data/weights/model.pt": "only a pickle can hold",
    "models/other.json": "torch.export.save does not write for one program",
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_one_program_does_not_have_is_refused(name, files, load):
    content = rewritten(files["any"], lambda _, data: data, {name: b"{}"})
    with pytest.raises(ValueError, match="^" + re.escape(f"mine: d.pt2 holds {name!r}, which {MEMBERS[name]}{REPAIR}") + "$"):
        load(content)


def node_named(program: dict, name: str) -> None:
    program["graph_module"]["graph"]["nodes"][0]["name"] = name


def calling(target: str) -> Callable[[dict], None]:
    return lambda program: program["graph_module"]["graph"]["nodes"][-1].update(target=target)


def returning(program: dict) -> None:
    program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = '[1, {"type": "my.Output", "context": "null", "children_spec": []}]'


TEXTS = [
    (calling("torch.os.system"), "calls 'torch.os.system', which is not one of torch's tensor operators" + REPAIR),
    (calling("torch.ops.aten.from_file.default"), "calls 'torch.ops.aten.from_file.default', which is not one of torch's tensor operators" + REPAIR),
    (calling("torch.ops.mine.anything.default"), "calls 'torch.ops.mine.anything.default', which is not one of torch's tensor operators" + REPAIR),
    (lambda program: node_named(program, "x = print(1)"), "holds 'x = print(1)' where a name should be" + REPAIR),
    (lambda program: program.update(guards_code=["L['x\\'].size()[0] == 2"]), "holds \"L['x\\\\'].size()[0] == 2\" where a shape should be" + REPAIR),
    (lambda program: program.update(guards_code=["L['x\" or y'].size()[0] == 2"]), "evaluates 'L[\\'x\" or y\\'].size()[0] == 2', which is more than arithmetic on sizes" + REPAIR),
    (lambda program: program.update(guards_code=["torch.os.size()"]), "evaluates 'torch.os.size()', which is more than arithmetic on sizes" + REPAIR),
    (lambda program: program.update(guards_code=["[y for y in L]"]), "evaluates '[y for y in L]', which is more than arithmetic on sizes" + REPAIR),
    (returning, "takes or returns a 'my.Output'; return tensors, tuples, lists or mappings, and export again"),
]


@pytest.mark.parametrize(("change", "message"), TEXTS, ids=[message[:40] for _, message in TEXTS])
def test_a_text_that_torch_does_not_write_is_refused(change, message, files, load):
    with pytest.raises(ValueError, match="^" + re.escape(f"mine: d.pt2 {message}") + "$"):
        load(in_program(files["any"], change))


@pytest.mark.parametrize("damage", ["cut", "empty", "no zip", "another zip", "no program"])
def test_a_damaged_file_is_refused_in_a_sentence(damage, files, load):
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a/hello.txt", "hello")
    without = rewritten(files["any"], lambda name, data: None if name == "models/model.json" else data)
    content = {"cut": files["any"][:3000], "empty": b"", "no zip": b"hello" * 100, "another zip": other.getvalue(), "no program": without}[damage]
    with pytest.raises(ValueError, match=r"^mine: d.pt2 is not a whole file that torch.export.save of torch 2.8 or later wrote \(.*\)" + re.escape(REPAIR) + "$"):
        load(content)
