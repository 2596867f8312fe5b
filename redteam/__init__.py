"""Red-team image-forgery detectors, localizers, watermarks and immunizations: find out how they break, with evidence for each number."""

from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "attacks" / "__init__.py").is_file() and (_root / "pyproject.toml").is_file():
    __path__.append(str(_root))  # in a checkout attacks/, defenses/, ... stand beside redteam/


def __getattr__(name: str) -> object:
    """`redteam.evaluate` and what belongs to it, imported when first asked for: the command line must stay light."""
    if name in ("evaluate", "Evaluation", "EvaluationError"):
        from redteam import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
