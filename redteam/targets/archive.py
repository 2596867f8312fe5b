"""Looks through an exported program before torch loads it, so that nothing in the file runs but tensor operations.

torch.export.load unpickles parts of a file, evaluates its shape expressions and its guards as Python, writes its names into code that it
runs, and loads compiled libraries. Here every text of the file must have the form that torch.export.save gives it, and what only a pickle or
a library can hold is refused. The bytes that were looked at are the bytes that are loaded.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import torch

MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json|extra/.*"
    r"|data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)|sample_inputs/model\.pt)"
)
OPERATORS = re.compile(
    r"torch\.ops\.aten\.(?!from_file|save|load)\w+\.\w+|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|_operator\.\w+|math\.\w+|torch\.sym_\w+"
)
TREES = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}  # what a program may take and return
PLAIN = re.compile(r"[\w.@-]*")  # names and types
WORDS = re.compile(r"[\w.,:> -]*")  # texts that operators take: reflect, none, bij,bjk->bik
ARITHMETIC = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.Subscript, ast.Attribute, ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp,
    ast.cmpop, ast.boolop, ast.operator, ast.unaryop,
)  # fmt: skip
FUNCTIONS = {  # that shapes are computed with: those of sympy and of torch's own extension of it
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Abs", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv",
    "ModularIndexing", "Where", "PowByNatural", "FloatPow", "CeilToInt", "FloorToInt", "TruncToInt", "TruncToFloat", "RoundToInt", "ToFloat", "Identity", "LShift", "RShift",
    "Eq", "Ne", "Equality", "Unequality", "GreaterThan", "LessThan", "StrictGreaterThan", "StrictLessThan", "And", "Or", "Not", "floor", "ceiling",
    "IsNonOverlappingAndDenseIndicator", "cast_symbool_to_symint_guardless", "abs", "max", "min",
}  # fmt: skip
DOTTED = re.compile(r"torch\.(_?sym_\w+|float|float\d+|int\d+|uint8|bool)|math\.(inf|nan|floor|ceil|trunc|sqrt|pow|log2)")
REPAIR = "export the detector again with torch.export.save, or build it in a factory (kind: python)"


class Unsafe(ValueError):
    """A file that holds more than tensor operations; the message says what."""


def check(content: bytes) -> None:
    """Raise Unsafe unless a .pt2 file holds tensors and tensor operations alone."""
    try:
        _check(_open(content))
    except (RuntimeError, LookupError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Unsafe(f"is not a whole file that torch.export.save of torch 2.8 or later wrote ({str(error).partition(chr(10))[0]}); {REPAIR}") from error


def _check(reader: Any) -> None:
    members = reader.get_file_names()
    for name in members:
        if not MEMBERS.fullmatch(name):
            raise Unsafe(f"holds {name!r}, which {_what(name)}; {REPAIR}")
    for name in (name for name in members if name.endswith("_config.json")):
        _check_payloads(json.loads(reader.read_string(name)))
    _check_samples(reader.read_bytes("data/sample_inputs/model.pt"))
    for key, text in texts(json.loads(reader.read_string("models/model.json"))):
        _check_text(key, text)


def _open(content: bytes) -> Any:
    try:
        from torch.export.pt2_archive import PT2ArchiveReader
    except ImportError as error:
        raise Unsafe(f"cannot be looked through by torch {torch.__version__}; use torch 2.8 or later") from error
    try:
        return PT2ArchiveReader(io.BytesIO(content))
    except AssertionError as error:
        raise RuntimeError(str(error)) from error


def _what(member: str) -> str:
    if "aotinductor" in member:
        return "is compiled code"
    if member.startswith("data/") and not member.endswith(".json"):
        return "only a pickle can hold"
    return "torch.export.save does not write for one program"


def _check_payloads(config: dict[str, Any]) -> None:
    for name, payload in config["config"].items():
        if payload["use_pickle"] or not PLAIN.fullmatch(payload["path_name"]):
            raise Unsafe(f"holds {name!r} as a pickle, and loading it could run code; {REPAIR}")
        if payload["tensor_meta"]["device"]["type"] == "cuda" and not torch.cuda.is_available():
            raise Unsafe("was exported on cuda, which torch cannot use here; export it from the cpu")


def _check_samples(pickled: bytes) -> None:
    """The inputs that the program was exported with; torch falls back to running what it cannot read as tensors."""
    try:
        torch.load(io.BytesIO(pickled), weights_only=True, map_location="cpu")
    except Exception as error:
        raise Unsafe(f"holds sample inputs that are more than tensors, and loading them could run code; {REPAIR}") from error


def texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a program with the key under which it stands, keys themselves included; what describes nodes for people is passed over.

    >>> list(texts({"target": "a", "inputs": [{"name": "b"}]}))
    [('', 'target'), ('target', 'a'), ('', 'inputs'), ('', 'name'), ('name', 'b')]
    """
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from texts(inner, name) if name != "metadata" else ()
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, key)


def _check_text(key: str, text: str) -> None:
    match key:
        case "target" | "as_operator":
            if not OPERATORS.fullmatch(text):
                raise Unsafe(f"calls {text!r}, which is not one of torch's tensor operators; {REPAIR}")
        case "expr_str" | "guards_code":
            _check_expression(text)
        case "in_spec" | "out_spec":
            _check_tree(json.loads(text) if text else None)
        case "torch_version":
            return  # read by nobody
        case _:
            if not (WORDS if key.startswith("as_string") else PLAIN).fullmatch(text):
                raise Unsafe(f"holds {text[:60]!r} where a name should be; {REPAIR}")


def _check_expression(text: str) -> None:
    """A shape expression, or a guard on the sizes of the input: arithmetic on sizes and nothing else."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, RecursionError, ValueError) as error:
        raise Unsafe(f"holds {text[:60]!r} where a shape should be; {REPAIR}") from error
    if not all(isinstance(node, ARITHMETIC) and _harmless(node) for node in nodes):
        raise Unsafe(f"evaluates {text[:60]!r}, which is more than arithmetic on sizes; {REPAIR}")


def _harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return not isinstance(node.func, ast.Name) or node.func.id in FUNCTIONS
    if isinstance(node, ast.Attribute):
        return node.attr in ("size", "dtype") or bool(DOTTED.fullmatch(ast.unparse(node)))
    return not isinstance(node, ast.Constant) or not isinstance(node.value, str) or bool(PLAIN.fullmatch(node.value))


def _check_tree(value: Any) -> None:
    """A description of arguments or results: nested tuples, lists and mappings."""
    if isinstance(value, list):
        for inner in value:
            _check_tree(inner)
    elif isinstance(value, dict):
        if value.get("type") is not None and value["type"] not in TREES:
            raise Unsafe(f"takes or returns a {str(value['type'])[:60]!r}; return tensors, tuples, lists or mappings, and export again")
        context = value.get("context")
        for _, text in texts(json.loads(context) if isinstance(context, str) else context):
            _check_text("as_string", text)
        _check_tree(value.get("children_spec"))
