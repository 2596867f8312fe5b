"""The lists of a scenario: corpora by role, targets, defenses; each entry has an id and a kind."""

from __future__ import annotations

from typing import Any

from redteam import registry
from redteam.objective import GOALS
from redteam.scenario.components import NOUNS, WORDS, Part, Placed, build, component, kinds, placed
from redteam.scenario.document import SLUG, Place
from redteam.scenario.model import CONTROLS, ROLES, DataEntry, DefenseEntry, TargetEntry
from redteam.scenario.reading import Reading, repair
from redteam.scenario.scalars import shown

SLUG_RULE = "must be at most 80 letters, digits, '.', '_' or '-' and start with a letter or digit"


def data_entries(reading: Reading) -> dict[str, tuple[DataEntry, ...]]:
    """Role -> its corpora."""
    found: dict[str, tuple[DataEntry, ...]] = {}
    roles = reading.mapping(("data",)) or {}
    for role in roles:
        if role not in ROLES:
            reading.unknown(("data", role), ROLES, "there are", what="role")
            continue
        if roles[role] == []:
            reading.error("RT103", ("data", role), "must hold at least one corpus, got an empty list; write {kind: folder, path: ...}")
        taken: dict[str, Place] = {}
        found[role] = tuple(entry for path in reading.corpora(role) if (entry := _data_entry(reading, role, path, taken)))
    if roles and "eval" not in roles:
        reading.missing(("data", "eval"), "every cell is measured on an eval corpus")
    return found


def _data_entry(reading: Reading, role: str, path: Place, taken: dict[str, Place]) -> DataEntry | None:
    entry = reading.mapping(path)
    if entry is None:
        return None
    kind = entry.get("kind")
    name = entry_id(reading, path, {"id": kind, **entry}, taken) if isinstance(entry.get("id", kind), str) or "id" in entry else None
    corpus = built(reading, "corpora", path, placed(entry, path, ("id", "kind")))
    return corpus and DataEntry(name or "", role, kind, corpus)


def target_entries(reading: Reading) -> tuple[TargetEntry, ...]:
    """The targets that could be built."""
    return tuple(TargetEntry(name, kind, spec) for name, kind, spec in _entries(reading, "targets", _target) if spec)


def defense_entries(reading: Reading) -> tuple[DefenseEntry, ...]:
    """The defenses that could be built; where the scenario says nothing, the one that does nothing."""
    if "defenses" not in reading.document.data:
        return (DefenseEntry("none", "none", registry.get("defenses", "none")()),)
    found = _entries(reading, "defenses", lambda reading, path, entry: built(reading, "defenses", path, placed(entry, path, ("id", "kind"))))
    return tuple(DefenseEntry(name, kind, defense) for name, kind, defense in found if defense)


def _entries(reading: Reading, section: str, make: Any) -> list[tuple[str, Any, Any]]:
    taken: dict[str, Place] = {}
    found = []
    items = reading.sequence((section,))
    if reading.at((section,)) == []:
        reading.error("RT103", (section,), f"must hold at least one {NOUNS[section]}, got an empty list; write - {{id: ..., kind: ...}}")
    for i in range(len(items)):
        path = (section, i)
        if (entry := reading.mapping(path)) is not None:
            name = entry_id(reading, path, entry, taken)
            found.append((name or "", entry.get("kind"), make(reading, path, entry)))
    return found


def entry_id(reading: Reading, path: Place, entry: dict[str, Any], taken: dict[str, Place], reserved: tuple[str, ...] = ()) -> str | None:
    """The id of an entry, a slug that no other entry has; notes an error where it is none. Its place is added to `taken`."""
    name, place = entry.get("id"), (*path, "id")
    if "id" not in entry:
        return reading.missing(place, "every entry needs one, such as id: a1")
    if not isinstance(name, str):
        return reading.error("RT106", place, f"an id must be text, got {shown(name)}; quote it")
    if not SLUG.fullmatch(name):
        return reading.error("RT106", place, f"an id {SLUG_RULE}, got {shown(name)}; rename it")
    if name in reserved:
        return reading.error("RT108", place, f"an id must not be {' or '.join(CONTROLS)}, which are the control arms and always run; rename it")
    if name in taken:
        return reading.error("RT107", place, f"an id must be unique in its list, got {name!r} again (first at {'.'.join(map(str, taken[name]))}); give each an id of its own")
    taken[name] = path
    return name


def built(reading: Reading, group: str, path: Place, params: dict[str, Placed]) -> Any:
    """The component of an entry with a `kind`, or None with its errors noted."""
    kind = kind_of(reading, group, path)
    cls = kind and component(reading, group, kind, (*path, "kind"))
    return cls and build(reading, Part(cls, params, path, kind, f"redteam show {WORDS[group]}/{kind}"))


def kind_of(reading: Reading, group: str, path: Place) -> str | None:
    """The kind that an entry names; notes an error and gives None where it names none."""
    entry = reading.at(path)
    if "kind" not in entry:
        return reading.missing((*path, "kind"), f"there are {', '.join(kinds(group))}", "redteam list")
    if not isinstance(entry["kind"], str):
        return reading.error("RT103", (*path, "kind"), f"must be text, got {shown(entry['kind'])}; there are {', '.join(kinds(group))}")
    return entry["kind"]


def _target(reading: Reading, path: Place, entry: dict[str, Any]) -> Any:
    kind, place = kind_of(reading, "targets", path), (*path, "kind")
    params = placed(entry, path, ("id", "kind"))
    zoo = [f"zoo/{name}" for name in registry.names("models")]
    if kind is None or kind in registry.names("targets"):
        return kind and built(reading, "targets", path, params)
    if kind not in zoo:
        known = [*(name for name in registry.names("targets") if name != "zoo"), *zoo]
        return reading.error("RT109", place, f"unknown target {kind!r}; {repair(kind, known, 'there are')}", "redteam list")
    if "model" in entry:
        return reading.key_error("RT102", (*path, "model"), f"unknown key 'model'; kind: {kind} names it already")
    role = getattr(component(reading, "models", kind.removeprefix("zoo/"), place), "role", "detector")
    if role not in GOALS:
        return reading.error("RT109", place, f"a target must be a {' or a '.join(GOALS)}, got {kind} with the role {role}; name another model", "redteam list")
    cls = component(reading, "targets", "zoo", place)
    return cls and build(reading, Part(cls, {"model": Placed(kind, place), **params}, path, kind, "redteam show target/zoo"))
