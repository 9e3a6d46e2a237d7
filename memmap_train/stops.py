"""The signals that ask a process to end: Ctrl-C, a polite kill, a terminal that was closed."""

import signal

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last not on Windows


def stops() -> tuple[signal.Signals, ...]:
    """Return those to listen to: `nohup` has a process ignore that its terminal is gone."""
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    ignored = [stop for stop in found[2:] if signal.getsignal(stop) is signal.SIG_IGN]
    return tuple(stop for stop in found if stop not in ignored)
