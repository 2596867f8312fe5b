"""Which classes of torchattacks 3.5.1 fit a target with two outcomes, how each has to be run, and which arguments it takes.

The table says what reading and running the library showed: how a class calls its model, what its loss does with two logits, and what it
does to a batch. The arguments and their defaults are read from the class itself.
"""

from __future__ import annotations

import difflib
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from redteam.component import Number
from redteam.target import Access

VERSION = "3.5.1"
DROPS = "it drops images that are done, so a row of a later call could be any of them"
COPIES = "it asks about several copies of an image in one call"
ONE_IMAGE = "it asks about one image at a time"
COUPLED = "it stops on the sum over the batch, so one image would end another's search"

Arguments = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Method:
    """How one class is run.

    needs:     what it asks the model for
    norm:      of its ball; `own` where its argument `norm` says, None where it has no ball
    alone:     why images go through it one by one; empty where every call holds the whole batch in order
    minimal:   whether it looks for the smallest change that succeeds, which rounding to 8 bits then undoes
    as_is:     whether the size of the logits matters to it; to all others only which is larger does
    aimed:     whether it must be told the class that the adversary wants
    most:      numbers per image that it can carry
    upright:   whether it mistakes height for width, so that an image must not be wider than high
    gradients: most gradients for one image, from its arguments
    """

    needs: Access = Access.GRADIENTS
    norm: Literal["linf", "l2", "own"] | None = "linf"
    alone: str = ""
    minimal: bool = False
    as_is: bool = False
    aimed: bool = False
    most: int | None = None
    upright: bool = False
    gradients: Callable[[Arguments], int] = lambda a: a["steps"]


_STEPS, _ONCE = Method(), Method(gradients=lambda a: 1)
_EOT = Method(gradients=lambda a: a["steps"] * a["eot_iter"])
_SMOOTHED = Method(alone=COPIES, gradients=lambda a: a["steps"] * a["noise_batch_size"])
_VARIANCE = Method(gradients=lambda a: a["steps"] * (a["N"] + 1))
_PATCHES = Method(gradients=lambda a: a["num_iter_set"])
_ELASTIC = Method(norm=None, alone=COUPLED, minimal=True, as_is=True, gradients=lambda a: a["binary_search_steps"] * a["max_iterations"])

METHODS: dict[str, Method] = {  # TPGD leaves the clean answer on either side, so it is weak on two classes; DIFGSM and TIFGSM ask about square images only
    **dict.fromkeys(("FGSM", "FFGSM"), _ONCE),
    **dict.fromkeys(("BIM", "RFGSM", "PGD", "TPGD", "MIFGSM", "NIFGSM", "DIFGSM", "TIFGSM"), _STEPS),
    **dict.fromkeys(("EOTPGD", "UPGD"), _EOT),
    "SINIFGSM": Method(gradients=lambda a: a["steps"] * a["m"]),
    **dict.fromkeys(("VMIFGSM", "VNIFGSM"), _VARIANCE),
    **dict.fromkeys(("PIFGSM", "PIFGSMPP"), _PATCHES),
    "PGDL2": replace(_STEPS, norm="l2"),
    "PGDRS": _SMOOTHED,
    "PGDRSL2": replace(_SMOOTHED, norm="l2"),
    "APGD": Method(norm="own", alone=DROPS, gradients=lambda a: (a["steps"] + 1) * a["eot_iter"] * a["n_restarts"]),
    "FAB": Method(norm="own", alone=DROPS, minimal=True, gradients=lambda a: a["steps"] * a["n_restarts"]),
    "CW": Method(norm=None, alone=COUPLED, minimal=True, as_is=True),
    **dict.fromkeys(("EADL1", "EADEN"), _ELASTIC),
    "DeepFool": Method(norm=None, alone=ONE_IMAGE, minimal=True),
    "SparseFool": Method(norm=None, alone=ONE_IMAGE, minimal=True, gradients=lambda a: 51 * a["steps"]),  # each step is a DeepFool of 50
    "JSMA": Method(norm=None, alone=ONE_IMAGE, aimed=True, most=3 * 48 * 48, gradients=lambda a: math.ceil(3 * 48 * 48 * a["gamma"] / 2)),
    "Square": Method(needs=Access.SCORES, norm="own", alone=DROPS),
    "SPSA": Method(needs=Access.SCORES, alone=COPIES),
    "OnePixel": Method(needs=Access.SCORES, norm=None, alone=COPIES),
    "Pixle": Method(needs=Access.SCORES, norm=None, alone=ONE_IMAGE, upright=True),
    **dict.fromkeys(("GN", "VANILA"), Method(needs=Access.NONE, norm=None)),
}

_DLR = "the DLR loss divides by the distance to the third largest logit, and a target here has two"
REFUSED: dict[str, str] = {
    "APGDT": "its targeted DLR loss reads the third and the fourth largest logit, and a target here has two; use APGD, which on two classes has no other class to aim at",
    "AutoAttack": "each of its versions contains APGDT or the DLR loss, which need three or four classes, and a target here has two; list APGD, FAB and Square, and the report takes the worst case over them",
    "Jitter": "it divides the logits by the largest of them, and of two logits only a sign is left, whose gradient is zero; use PGD",
    "LGV": "it trains copies of the model on its training data, and an attack here sees answers, never weights; use a surrogate instead",
    "MultiAttack": "it takes attack objects, which a scenario does not hold; list the attacks, and the report takes the worst case over them",
}
REFUSED_VALUES: dict[tuple[str, str, Any], str] = {
    ("APGD", "loss", "dlr"): f"{_DLR}; use ce",
    ("UPGD", "loss", "dlr"): f"{_DLR}; use ce",
    ("FAB", "norm", "L1"): f"torchattacks {VERSION} raises an error at its end; use Linf or L2",
}
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("APGD", "loss"): ("ce",),
    ("UPGD", "loss"): ("ce", "margin"),
    ("Square", "loss"): ("margin", "ce"),
    **dict.fromkeys([("APGD", "norm"), ("FAB", "norm"), ("Square", "norm")], ("Linf", "L2")),
    **dict.fromkeys([("PGDRS", "noise_type"), ("PGDRSL2", "noise_type")], ("guassian", "uniform")),  # the library's spelling
    ("TIFGSM", "kernel_name"): ("gaussian", "linear", "uniform"),
    ("Pixle", "pixel_mapping"): ("random", "similarity", "similarity_random", "distance", "distance_random"),
}
OURS = {  # arguments that are not for a scenario to give
    **dict.fromkeys(("eps", "max_epsilon"), "the radius stands beside method, where it can be swept; write eps: 8/255 there"),
    "seed": "randomness comes from the scenario's seed and the image; delete it",
    "verbose": "a run shows its own progress; delete it",
    "n_classes": "a target here has two classes; delete it",
}
UNUSED = dict.fromkeys([(method, name) for method in ("PIFGSM", "PIFGSMPP") for name in ("momentum", "prob")], f"torchattacks {VERSION} does not use it; delete it")
LEAST = dict.fromkeys([("EADL1", "max_iterations"), ("EADEN", "max_iterations")], 10)  # fewer divide by zero in its stopping rule
REAL = ("c", "kappa", "lam", "nsig")  # numbers whose default happens to be whole
SIGNED = ("theta",)  # numbers that may be negative


@cache
def library() -> ModuleType:
    """The package torchattacks. Raises ValueError with a repair where it is not there or is another version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of its imports are not the user's
            import torchattacks
    except ModuleNotFoundError as error:
        if error.name != "torchattacks":
            raise ValueError(f"torchattacks cannot be imported: {error}; pip install 'redteam[torchattacks]'") from None
        raise ValueError(
            "torchattacks is not installed; pip install 'redteam[torchattacks]', or, where its requests~=2.25.1 or its robustbench folder would be in the way, "
            f"pip install --no-deps torchattacks=={VERSION}"
        ) from None
    if torchattacks.__version__ != VERSION:
        raise ValueError(f"torchattacks must be {VERSION}, got {torchattacks.__version__}; pip install torchattacks=={VERSION}")
    return torchattacks


def canonical(name: object) -> object:
    """A method as the library spells it; what is not text is left for the type to refuse. Raises ValueError with the reason or the nearest name.

    >>> canonical("mifgsm")
    'MIFGSM'
    """
    if not isinstance(name, str):
        return name
    known = {method.lower(): method for method in (*METHODS, *REFUSED)}
    found = known.get(name.lower())
    if found in REFUSED:
        raise ValueError(f"{found} of torchattacks does not run here: {REFUSED[found]}")
    if found is None:
        near = difflib.get_close_matches(name.lower(), known, 1)
        repair = f"did you mean {known[near[0]]!r}?" if near else f"there are {', '.join(METHODS)}"
        raise ValueError(f"torchattacks has no attack {name!r}; {repair}")
    return found


def radius_name(method: str) -> str | None:
    """What the class calls the radius of its ball; None for one without."""
    return next((name for name in ("eps", "max_epsilon") if name in defaults(method)), None)


@cache
def defaults(method: str) -> dict[str, Any]:
    """Every argument of the class but the model, with its default."""
    signature = inspect.signature(getattr(library(), method).__init__)
    return {name: parameter.default for name, parameter in signature.parameters.items() if name not in ("self", "model")}


def arguments(method: str, given: Arguments) -> dict[str, Any]:
    """All arguments that a scenario may give, the others at their defaults, in plain JSON types. Raises ValueError."""
    takes = {name: default for name, default in defaults(method).items() if name not in OURS and (method, name) not in UNUSED}
    for name in given:
        if name in defaults(method) and (why := OURS.get(name) or UNUSED.get((method, name))):
            raise ValueError(f"{method} must not be given {name}: {why}")
        if name not in takes:
            raise ValueError(f"unknown argument {name!r} of {method}; {_repair(name, takes)}")
    return {name: _checked(method, name, given.get(name, default), default) for name, default in takes.items()}


def _repair(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names)}" if names else "it takes none"


def _checked(method: str, name: str, value: Any, default: Any) -> Any:
    where = f"{name} of {method}"
    if isinstance(value, str) and (why := REFUSED_VALUES.get((method, name, value))):
        raise ValueError(f"{where} must not be {value}: {why}")
    if choices := CHOICES.get((method, name)):
        if value not in choices:
            raise ValueError(f"{where} must be {' or '.join(choices)}, got {value!r}")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{where} must be true or false, got {value!r}")
        return value
    if isinstance(default, tuple):
        return _pair(where, value)
    return _number(where, name, value) if isinstance(default, float) or name in REAL else _whole(where, value, LEAST.get((method, name), 1))


def _number(where: str, name: str, value: Any) -> float:
    try:
        number = TypeAdapter(Number).validate_python(value, strict=True)
    except ValidationError:
        number = math.nan
    if not math.isfinite(number) or number < 0 and name not in SIGNED:
        raise ValueError(f"{where} must be a number{'' if name in SIGNED else ' >= 0'}, got {value!r}")
    return number


def _whole(where: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{where} must be an integer >= {least}, got {value!r}")
    return value


def _pair(where: str, value: Any) -> list[int | float]:
    """The smallest and the largest side of a patch: pixels, or a share of the image."""
    fits = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(v) is int and v > 0 or type(v) is float and 0 < v <= 1 for v in value)
    if not fits or value[0] > value[1]:
        raise ValueError(f"{where} must be two pixel counts or two shares of the image in (0, 1], the smaller first, got {value!r}")
    return list(value)
