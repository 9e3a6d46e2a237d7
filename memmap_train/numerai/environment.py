"""The variables of Numerai's key, and an environment without them for programs of others.

A model upload, the user's modules in it, pip and the packages that it installs need no key.
"""

import os
from collections.abc import Mapping

PUBLIC_ID, SECRET_KEY = "NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"


def without_keys(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a copy of an environment without the key.

    >>> without_keys({"HOME": "/home/me", "NUMERAI_SECRET_KEY": "A"})
    {'HOME': '/home/me'}
    """
    return {name: text for name, text in environment.items() if name not in (PUBLIC_ID, SECRET_KEY)}
