"""Components are found by entry point; a wrong name is answered with the right one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from redteam import registry
from redteam.component import Component


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_name_of_a_group_gives_a_component_class(group):
    assert registry.names(group) == tuple(sorted(registry.names(group)))
    for name in registry.names(group):
        assert issubclass(registry.get(group, name), Component)


def test_an_address_gives_group_name_and_class():
    assert registry.find("attack/pgd") == ("attacks", "pgd", registry.get("attacks", "pgd"))
    assert registry.find("pgd") == registry.find("attack/pgd")
    assert registry.find("zoo/npr-tiny")[0] == "models"
    assert registry.find("data/camera")[:2] == registry.find("corpus/camera")[:2] == ("corpora", "camera")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: registry.get("attacks", "pdg"), "unknown attack 'pdg'; did you mean 'pgd'?"),
        (lambda: registry.get("corpora", "fotos"), "unknown corpus 'fotos'; did you mean 'photos'?"),
        (lambda: registry.get("forgeries", "splise"), "unknown forgery 'splise'; did you mean 'splice'?"),
        (lambda: registry.get("defenses", "zzz"), "unknown defense 'zzz'; there are blur, jpeg, none"),
        (lambda: registry.find("attack/pdg"), "unknown attack 'pdg'; did you mean 'pgd'?"),
        (lambda: registry.find("attacks/pgd"), "unknown component 'attacks/pgd'; did you mean 'attack/pgd'?"),
        (lambda: registry.find("pdg"), "unknown component 'pdg'; did you mean 'pgd'?"),
        (lambda: registry.find("jpeg"), "'jpeg' is in attacks and defenses; say attack/jpeg or defense/jpeg"),
    ],
)
def test_a_wrong_name_is_answered_in_full(call, message):
    with pytest.raises(LookupError, match=f"^{re.escape(message)}$"):
        call()


def test_the_suggestion_is_kept_for_programs():
    with pytest.raises(registry.UnknownComponent) as caught:
        registry.get("attacks", "pdg")
    assert caught.value.suggestion == "pgd"
    with pytest.raises(registry.UnknownComponent) as caught:
        registry.get("attacks", "qqqqqq")
    assert caught.value.suggestion is None


def test_names_are_listed_without_importing_torch():
    code = "import sys; from redteam import registry; assert 'pgd' in registry.names('attacks'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
