"""Revoke the tokens of many users: planned, paced, resumable, with proof.

`plan_revocation` says what would happen, `revoke` does it and keeps a journal, `resume` goes on after a stop or a killed
kernel, `revoke_fleet` does several organizations at once.
"""

from gctokens_nb.revocation.fleet import revoke_fleet
from gctokens_nb.revocation.plan import Plan, Source, plan_revocation
from gctokens_nb.revocation.revoking import resume, revoke
from gctokens_nb.revocation.run import Run

__all__ = ["Plan", "Run", "Source", "plan_revocation", "resume", "revoke", "revoke_fleet"]
