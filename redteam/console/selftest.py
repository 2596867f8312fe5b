"""selftest: a table of specimens and flags, and an exit status that says whether the verdicts can be believed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from redteam.console.stopping import guarded
from redteam.run.errors import Exit

if TYPE_CHECKING:
    from redteam.run.selftest import Looked, Selftest

WIDTH, MUST = 42, 14  # of the columns with a specimen's name and with what must be raised
MARKS = {"invalid": "!", "upper_bound": "~", "note": ""}


def selftest(as_json: bool) -> int:
    """Look at every specimen, one line each; 3 where a flag missed what it is there for, or was raised on something healthy."""

    def work() -> int:
        from redteam.run.selftest import selftest as look

        if as_json:
            found = look()
            click.echo(json.dumps(_plain(found), indent=1))
        else:
            click.echo(f"     {'specimen':{WIDTH}} {'must raise':{MUST}} raised (! makes it invalid, ~ an upper bound)")
            found = look(_show)
            _conclude(found)
        return Exit.COMPLETE if found.passed else Exit.GATE_FAILED

    return guarded(work)


def _show(one: Looked) -> None:
    raised = " ".join(f"{flag}{MARKS[severity]}" for flag, severity in one.raised.items()) or "nothing"
    state = click.style("ok  ", fg="green") if one.passed else click.style("FAIL", fg="red")
    wrong = f"  missed {', '.join(one.missed)}" if one.missed else "  raised on something healthy" if one.alarms else ""
    click.echo(f"{state} {one.name:{WIDTH}} {' '.join(one.expected) or 'nothing':{MUST}} {raised}{wrong}")


def _conclude(found: Selftest) -> None:
    state = click.style("ok  ", fg="green") if found.control.state == "ok" else click.style("FAIL", fg="red")
    click.echo(f"{state} {found.control.name}: {found.control.detail}")
    if found.untested:
        click.echo(f"{click.style('FAIL', fg='red')} no specimen is there for {', '.join(found.untested)}")
    failed = sum(not one.passed for one in found.looked)
    click.echo(f"{len(found.looked)} specimens: {'every flag notices what it is there for, and none is raised on a healthy one' if found.passed else f'{failed} not as they must be; do not trust the verdicts of this installation'}")


def _plain(found: Selftest) -> dict[str, object]:
    looked = [asdict(one) | {"missed": one.missed, "alarms": one.alarms, "passed": one.passed} for one in found.looked]
    return {"schema": "redteam.selftest/1", "passed": found.passed, "specimens": looked, "positive_control": asdict(found.control), "untested": found.untested}
