"""The command line: the arguments of the process to a command, its result and its exit code.

stdout is the result, stderr is progress and log. Exit codes: 0 done; 1 a `MemmapTrainError`, as one
line `error: …`; 2 wrong usage; 130 stopped by SIGINT, SIGTERM or SIGHUP. Anything else is a bug and
keeps its traceback.
"""

from collections.abc import Sequence

from .data_commands import DATA_COMMANDS
from .model_commands import MODEL_COMMANDS
from .numerai_commands import NUMERAI_COMMANDS
from .parser import make_parser
from .terminal import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The default is the arguments of the process.
    """
    parsed = make_parser().parse_args(arguments)
    return run(lambda: _COMMANDS[parsed.command](parsed), parsed.resume_hint)


_COMMANDS = {**DATA_COMMANDS, **MODEL_COMMANDS, **NUMERAI_COMMANDS}
