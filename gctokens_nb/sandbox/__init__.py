"""A local stand-in for Genesys Cloud: sign-in, tokens, users and faults, on loopback and without an account.

It knows nothing of the client in this package: both are readings of the same published documents, so
that one mistake cannot pass on both sides.
"""

from gctokens_nb.sandbox.dispatch import Call
from gctokens_nb.sandbox.faults import Fault
from gctokens_nb.sandbox.model import Organization, SandboxClient, SandboxUser
from gctokens_nb.sandbox.server import Sandbox, SandboxError
from gctokens_nb.sandbox.world import Revocation

__all__ = [
    "Call",
    "Fault",
    "Organization",
    "Revocation",
    "Sandbox",
    "SandboxClient",
    "SandboxError",
    "SandboxUser",
]
