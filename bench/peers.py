"""What an attack costs with redteam and with its peers: same network, same images, same budget, same steps, one process, one thread.

    python -m venv peers && peers/bin/pip install -e ".[bench]" foolbox adversarial-robustness-toolbox
    peers/bin/python bench/peers.py                                       PGD, about fifteen minutes on a free core
    peers/bin/python bench/peers.py --autoattack --images 16 --runs 0     the ensemble beside torchattacks', once, about half an hour

The network is a batch-normalised CNN of 100 million multiply-adds with one logit; peers get it as two logits whose difference is that logit, and with
parameters that want no gradient, which spares them work. PGD: 20 steps in an L-infinity ball of 8/255 from a random start, batches of 16. Half of
the images fall at the first step, half stand to the end. CPU seconds of the attack alone, rows in turn, medians; the first row of a table is 1.00.
Whether an image stands is judged for everybody by the network as it is, in float32, on what an 8-bit file holds.

Twice: with the memory settings of redteam's workers (glibc keeps freed activations), for everybody; and without, as a script runs.
Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from checkers import BATCH, EPS, STEP, STEPS, Network, TwoLogits, descended, half_weak, trained
from torch import Tensor, nn

from redteam.attacks.autoattack import AutoAttack
from redteam.attacks.pgd import PGD
from redteam.files import Budget, to_grid
from redteam.images import Images
from redteam.objective import BOTH
from redteam.run.child import DEFAULTS
from redteam.seeding import SampleRNG
from redteam.targets.adapted import Output
from redteam.targets.folding import fold
from redteam.targets.given import GivenTarget

Attack = Callable[[Tensor, Tensor], Tensor]  # pixels, labels -> attacked pixels
CPU = torch.device("cpu")
KEPT = {name: value for name, value in DEFAULTS.items() if name.startswith("MALLOC")}
PEERS = ("torchattacks", "Foolbox", "ART")
FEATURES = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
HOW = {", unprepared": {"prepare": "off"}, "": {}, ", bf16": {"gradient_dtype": "bf16"}}
PADDING = 2  # torchattacks' targeted DLR reads the fourth largest logit


def main() -> None:
    """Run each table in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="0 times the one pass that counts gradients")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--autoattack", action="store_true", help="the ensemble instead of PGD")
    parser.add_argument("--weights", type=Path, help="where the trained network is kept; a temporary file when not given")
    parser.add_argument("--here", action="store_true", help="internal: one table in this process")
    options = parser.parse_args()
    if options.here:
        table(options)
        return
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "network.pt"
        for words, settings in (("everybody with the memory settings of redteam's workers", KEPT), ("everybody as a script runs", {})):
            print(f"\n{words}", flush=True)
            plain = {name: value for name, value in os.environ.items() if name not in KEPT}
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--here", "--weights", str(weights)], check=True, env=plain | settings | {"OMP_NUM_THREADS": "1"})


def machine() -> str:
    """What the figures hang on."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    has = [name for name in FEATURES if capabilities.get(name)]
    return f"{capabilities.get('cpu_name', 'CPU')}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, {', '.join(has)}"


def table(options: argparse.Namespace) -> None:
    """Time every row, in turn, and print medians beside the first row and beside the fastest peer."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # peers speak of their own dependencies
    network = trained(options.weights)
    torch.manual_seed(1)
    x, y = half_weak(network, options.images)
    rows = dict((ensembles if options.autoattack else descents)(network, x[:BATCH]))
    counted = {name: counts(network, attack, x, y) for name, attack in rows.items()}  # and warms up
    seconds = {name: [] if options.runs else [counted[name].seconds] for name in rows}
    for _ in range(options.runs):
        for name, attack in rows.items():
            seconds[name].append(in_batches(attack, x, y)[1])
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    first, peers = next(iter(medians.values())), [medians[name] for name in rows if name in PEERS]
    print(f"{'':34} {'CPU s':>7} {'of first':>8} {'lowest':>7} {'highest':>8} {'of peer':>8} {'gradients':>10} {'forwards':>9} {'standing':>9}")
    for name, found in seconds.items():
        own, taken = counted[name], medians[name]
        of_peer = f"{taken / min(peers):.2f}" if peers else "-"
        print(f"{name:34} {taken:7.2f} {taken / first:8.2f} {min(found) / first:7.2f} {max(found) / first:8.2f} {of_peer:>8} {own.gradients:10.1f} {own.forwards:9.1f} {own.standing:9.3f}")


def in_batches(attack: Attack, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Attack all images, 16 at a time -> what came out, and the CPU seconds."""
    torch.manual_seed(2)
    start = time.process_time()
    attacked = torch.cat([attack(x[at : at + BATCH], y[at : at + BATCH]) for at in range(0, len(x), BATCH)])
    return attacked, time.process_time() - start


class Counted(NamedTuple):
    """One pass over all images: passes through the network per image, the share that still stands, as files, in float32, and CPU seconds."""

    gradients: float
    forwards: float
    standing: float
    seconds: float


def counts(network: Network, attack: Attack, x: Tensor, y: Tensor) -> Counted:
    """One pass that is watched."""
    spent = {"gradients": 0, "forwards": 0}
    forward = Network.forward

    def watched(module: Network, pixels: Tensor) -> Tensor:
        spent["gradients" if torch.is_grad_enabled() and pixels.requires_grad else "forwards"] += len(pixels)
        return forward(module, pixels)

    Network.forward = watched  # of every copy
    try:
        attacked, seconds = in_batches(attack, x, y)
    finally:
        Network.forward = forward
    with torch.no_grad():
        standing = ((network(to_grid(attacked, x, Budget("linf", EPS))) > 0).long() == y).double().mean().item()
    return Counted(spent["gradients"] / len(x), spent["forwards"] / len(x), standing, seconds)


def descents(network: Network, clean: Tensor) -> Iterator[tuple[str, Attack]]:
    """PGD by everybody, 20 gradients an image where nobody stops."""
    yield "bare loop", lambda x, y: descended(network, x, y)[0]
    yield "bare loop, folded", bare(network, folds=True)
    yield "bare loop, channels-last", bare(network, reorders=True)
    yield "bare loop, folded, channels-last", bare(network, folds=True, reorders=True)
    if installed("torchattacks"):
        from torchattacks import PGD as Theirs

        theirs = Theirs(TwoLogits(network).eval(), eps=EPS, alpha=STEP, steps=STEPS, random_start=True)
        yield "torchattacks", lambda x, y: theirs(x, y)
    if installed("foolbox"):
        yield "Foolbox", foolbox_pgd(network)
    if installed("art"):
        yield "ART", art_pgd(network)
    to_the_end, stopping = (PGD(eps=EPS, step=STEP, steps=STEPS, stop=stop) for stop in (False, True))
    for words, how in HOW.items():
        yield f"redteam{words}, to the end", ours(network, to_the_end, clean, how)
        yield f"redteam{words}", ours(network, stopping, clean, how)


def ensembles(network: Network, clean: Tensor) -> Iterator[tuple[str, Attack]]:
    """AutoAttack by torchattacks, on as many classes as its targeted parts need, and by redteam."""
    if installed("torchattacks"):
        from torchattacks import AutoAttack as Theirs

        theirs = Theirs(TwoLogits(network, PADDING).eval(), norm="Linf", eps=EPS, n_classes=2 + PADDING, seed=0)
        yield "torchattacks", lambda x, y: theirs(x, y)
    yield from ((f"redteam{words}", ours(network, AutoAttack(eps=EPS), clean, how)) for words, how in HOW.items())


def installed(name: str) -> bool:
    """Whether a peer can be imported; says so where not."""
    if importlib.util.find_spec(name) is None:
        print(f"{name} is not installed and left out")
        return False
    return True


def bare(network: Network, *, folds: bool = False, reorders: bool = False) -> Attack:
    """The bare loop on a network that is changed by one step of the preparation, or by two."""
    changed = copy.deepcopy(network)
    if folds:
        fold(changed)
    if reorders:
        changed.to(memory_format=torch.channels_last)
    return lambda x, y: descended(changed, x, y)[0]


def foolbox_pgd(network: Network) -> Attack:
    """Foolbox with its own interface: random start, cross-entropy, one absolute step."""
    import foolbox

    model = foolbox.PyTorchModel(TwoLogits(network).eval(), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=STEP, steps=STEPS, random_start=True)
    return lambda x, y: attack(model, x, foolbox.criteria.Misclassification(y), epsilons=EPS)[1]


def art_pgd(network: Network) -> Attack:
    """ART's PyTorch implementation, batches of 16."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(TwoLogits(network).eval(), nn.CrossEntropyLoss(), input_shape=(3, 128, 128), nb_classes=2, clip_values=(0, 1), device_type="cpu")
    attack = ProjectedGradientDescent(estimator, norm="inf", eps=EPS, eps_step=STEP, max_iter=STEPS, num_random_init=1, batch_size=BATCH, verbose=False)
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def ours(network: Network, attack: PGD | AutoAttack, clean: Tensor, how: dict[str, str]) -> Attack:
    """redteam's own, from images to images; loading and preparing come before."""
    spec = GivenTarget(model=network, output=Output(type="logit"), **how)
    target = spec.load("bench", CPU).differentiated_in(spec.gradient_dtype, CPU)
    target.inspect(clean)

    def run(x: Tensor, y: Tensor) -> Tensor:
        ids = tuple(f"{float(pixels.sum()):.6f}" for pixels in x)
        images = Images(pixels=x, ids=ids, labels=y, groups=ids)
        return attack.run(BOTH.on(target, images, budget=attack.budget()), SampleRNG.of(1, "bench", {}, ids)).pixels

    return run


if __name__ == "__main__":
    main()
