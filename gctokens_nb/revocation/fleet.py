"""Several organizations at once: a run each, wherever an executor takes it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from gctokens_nb.connection import Connection
from gctokens_nb.errors import ConfigurationError, JournalError
from gctokens_nb.revocation.checks import check_plan
from gctokens_nb.revocation.plan import Plan
from gctokens_nb.revocation.revoking import WORKERS, resume, revoke
from gctokens_nb.revocation.run import Run

__all__ = ["revoke_fleet"]


def revoke_fleet(
    plans: Sequence[Plan],
    *,
    journals: str | os.PathLike[str] | None = None,
    confirm: int | None = None,
    executor: Executor | None = None,
    workers: int = WORKERS,
    rate: float | None = None,
) -> list[Run]:
    """Carry out plans of several organizations at the same time, each as `revoke` does.

    An organization is one task: each has its own rate limit, and one machine is faster than any of them. Plans travel to
    the executor's processes with their connections, thus with what these need to sign in: use machines that you trust.

    Args:
        plans: One for each organization.
        journals: The folder for the journals, `<organization id>.sqlite`; all of the executor's processes must reach it
            under this name. A dry run needs none.
        confirm: The number of users that all plans together will log out; without it, a dry run.
        executor: Any `concurrent.futures.Executor`: of threads (the default), of processes, `Client.get_executor()` of
            Dask, `Client.executor()` of ipyparallel.
        workers, rate: For each organization, as for `revoke`.

    Returns:
        The runs, in the order of the plans. Some may have skipped lines: call the `check()` of each.

    Raises:
        ConfigurationError: A plan or the number is wrong; nothing was sent.
        ExceptionGroup: Of what stopped some of the organizations, after all others have finished. Each has a journal, or
            nothing was sent to it.
    """
    connections = [check_plan(plan) for plan in plans]
    organizations = [plan.organization.id for plan in plans if plan.organization is not None]
    if len(set(organizations)) < len(plans):
        raise ConfigurationError(
            "Two of the plans are of one organization; nothing was sent.",
            "Make one plan for each organization.",
        )
    if confirm is None:
        return [revoke(plan) for plan in plans]
    expected = sum(plan.users_to_revoke for plan in plans)
    if isinstance(confirm, bool) or confirm != expected:
        raise ConfigurationError(
            f"confirm={confirm!r}, but the plans log out {expected:,} users; nothing was sent.",
            f"Look at the plans again. If they are right, pass confirm={expected}.",
        )
    if journals is None or not Path(journals).is_dir():
        raise ConfigurationError(
            f"There is no folder {journals!r} for the journals; nothing was sent.",
            "Make one, and pass it as journals=.",
        )
    paths = [str(Path(journals, f"{organization}.sqlite").absolute()) for organization in organizations]
    for path in paths:
        if Path(path).exists():
            raise JournalError(
                f"{path!r} exists already; nothing was sent.",
                "Go on with it by resume(), or choose another folder.",
            )
    _wait_for_all(plans, connections, paths, executor, workers, rate)
    return [Run.of(path) for path in paths]


def _wait_for_all(
    plans: Sequence[Plan],
    connections: Sequence[Connection],
    paths: Sequence[str],
    executor: Executor | None,
    workers: int,
    rate: float | None,
) -> None:
    stop = None if executor else threading.Event()  # travels to threads only
    own = executor or ThreadPoolExecutor(max_workers=len(plans) or 1, thread_name_prefix="gctokens-fleet")
    tasks = [
        own.submit(_carry_out, plan, connection, path, workers, rate, stop)
        for plan, connection, path in zip(plans, connections, paths, strict=True)
    ]
    try:
        failures = [error for task in tasks if (error := task.exception()) is not None]
    except BaseException:  # Ctrl-C
        for task in tasks:
            task.cancel()
        if stop is not None:
            stop.set()
        raise
    finally:
        if executor is None:
            own.shutdown()
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(plans)} organizations were stopped", failures)


def _carry_out(
    plan: Plan,
    connection: Connection,
    path: str,
    workers: int,
    rate: float | None,
    stop: threading.Event | None,
) -> None:
    def watch(run: Run) -> None:
        if stop is not None and stop.is_set():
            run.cancel()

    # Executors such as Dask's repeat a task whose process died: its journal then knows what was done.
    if Path(path).exists():
        resume(path, connection, workers=workers, rate=rate, on_progress=watch)
    else:
        plan.connection = connection  # a plan travels without it
        revoke(
            plan, journal=path, confirm=plan.users_to_revoke, workers=workers, rate=rate, on_progress=watch
        )
