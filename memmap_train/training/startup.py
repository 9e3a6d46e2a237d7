"""Starts TensorFlow without the page of notes that it writes to stderr whatever it is asked.

Its first log lines come before its own log level counts, so the file descriptor is turned aside
while it starts. If it fails, what it wrote is shown.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices, quietly unless `TF_CPP_MIN_LOG_LEVEL` is set."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # warnings: for those who import it later
    with _stderr_turned_aside():
        import tensorflow as tf

        tf.config.list_physical_devices()
        # A model for each fold is no mistake, as the warning of "5 out of the last 5 calls" says.
        tf.get_logger().setLevel("ERROR")


@contextmanager
def _stderr_turned_aside() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
