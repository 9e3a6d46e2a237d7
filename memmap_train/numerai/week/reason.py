"""Why a part of a week has failed: one line, with the configuration's keys in place of options.

The steps are those of other commands, whose errors advise options that `week` lacks.
"""

import re

from ...errors import MemmapTrainError
from .config import WeekConfig

_KEYS = {
    "--benchmarks": "benchmarks",
    "--dtype": "dtype",
    "--feature-set": "feature_set",
    "--missing": "missing",
    "--python": "python",
    "--target": "targets",
}
_WITHOUT_KEY = (
    (r"(replace (it|the dataset)|convert its sources again) with --overwrite", "remove the folder"),
    (r"--python ([\d.]+) \(python='[\d.]+'\)", r'python = "\1"'),
    (r"add --image \(image=True\), which makes an environment of .*", "install them there"),
)
"""Patterns of advice that no key stands for, and what to do in its place."""
_COMMANDS_AND_OPTIONS = re.compile(r"`[^`]*`|--[a-z-]+")


def reason(error: Exception, config: WeekConfig) -> str:
    """Return an error in one line; one of the system with the file that it is about."""
    if isinstance(error, OSError) and not isinstance(error, MemmapTrainError):
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    for pattern, other in _WITHOUT_KEY:
        text = re.sub(pattern, other, text)
    keys = {option: f"`{key}`" for option, key in _KEYS.items()}
    keys["--out"] = f"`{_key_of_folder(text, config)}` in the configuration"

    def in_words_of_the_configuration(found: re.Match[str]) -> str:
        # A whole command in quotation marks stays as it is.
        return keys.get(found[0], found[0])

    return _COMMANDS_AND_OPTIONS.sub(in_words_of_the_configuration, text)


def _key_of_folder(text: str, config: WeekConfig) -> str:
    """Return the key whose folder an error begins with."""
    folders = {"folder": config.folder, "data": config.data}
    if config.dataset is not None:
        folders["dataset"] = config.dataset
    found = [key for key, folder in folders.items() if text.startswith(folder)]
    return max(found, key=lambda key: len(folders[key]), default="folder")
