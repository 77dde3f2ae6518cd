"""What the notebooks must not see when they are validated: the developer's own credentials and profile."""

import os
import re
import tempfile

_OWN = re.compile(r"(GENESYSCLOUD|GENESYS_CLOUD|PURECLOUD)_\w+|(HTTPS?|ALL)_PROXY", re.IGNORECASE)
_HOME = tempfile.TemporaryDirectory(prefix="gctokens-home-")


def pytest_configure() -> None:
    """Change the environment before any kernel starts, as kernels inherit it."""
    for name in [name for name in os.environ if _OWN.fullmatch(name)]:
        del os.environ[name]
    os.environ["HOME"] = os.environ["USERPROFILE"] = _HOME.name


def pytest_unconfigure() -> None:
    """Remove that home."""
    _HOME.cleanup()
