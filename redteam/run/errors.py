"""Why a run stops before its end. Each reason is a sentence for the person who started it, with the exit status that says it; a bug is none of these."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """What the process's exit status means. Never 1 for a finding: an uncaught exception exits 1 too."""

    COMPLETE = 0
    REFUSED = 2
    GATE_FAILED = 3
    INCOMPLETE = 4
    MISSING = 5
    CHANGED = 6
    INCONCLUSIVE = 7
    HELD = 75
    INTERRUPTED = 130


class Stop(Exception):
    """The run cannot go on as things are, and a person can mend it.

    code:      the exit status
    resumable: whether `redteam resume` goes on once it is mended
    """

    code: ClassVar[Exit]
    resumable: bool = False


class Refused(Stop):
    """The scenario, its data or an option cannot be used as written."""

    code = Exit.REFUSED


class StorageError(Stop):
    """The run directory cannot be written: no space, read-only, gone. Nothing that was finished is lost."""

    code = Exit.INCOMPLETE
    resumable = True


class WorkerFailed(Stop):
    """No worker comes up."""

    code = Exit.INCOMPLETE
    resumable = True


class Unfinished(Stop):
    """A finished run is needed, and units of this one are missing."""

    code = Exit.INCOMPLETE


class Missing(Stop):
    """Something that the run needs is not there: weights, a device, a file."""

    code = Exit.MISSING
    resumable = True


class Changed(Stop):
    """What the run depends on is not what it was when it began."""

    code = Exit.CHANGED


class Held(Stop):
    """Another live coordinator holds the run."""

    code = Exit.HELD
