"""Many runs at once on dask: a cluster of processes on this machine, or a scheduler's workers."""

import asyncio
import logging
import math
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import Any

import torch

from sttrans_core.experiments.plan import RunPlan, stage_of
from sttrans_core.experiments.progress import (
    Outcome,
    Progress,
    estimate_seconds,
    read_status,
)
from sttrans_core.experiments.worker import run_on_worker
from sttrans_core.runs import RunError, RunFolder

__all__ = ["check_scheduler", "run_sweep"]

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0  # for runs to stop by themselves; a step of training takes less
CONNECT_SECONDS = 5.0
NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # else a fixed port is taken
DEATHS = 2  # of workers that a run survives


def run_sweep(
    plans: Sequence[RunPlan],
    output: Path,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    robustness: bool = True,
    deaths: int = DEATHS,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[Outcome]:
    """Perform runs until each is finished, has failed, or all are asked to stop.

    What was finished before is not touched, what was begun goes on. A failed run leaves the others
    alone. A run whose worker dies goes on with another one.

    Args:
        plans: The runs.
        output: Folder of all runs, which every worker sees under the same path.
        scheduler: Address of a dask scheduler whose workers have one thread each; processes on
            this machine where it is None.
        workers: Processes on this machine; as many as its cores allow, or one for a GPU, where it
            is None.
        threads: Threads that each run computes with.
        robustness: Also score every run on damaged histories.
        deaths: Deaths of workers that a run survives, on this machine.
        should_stop: Asked twice a second; when it says yes, runs stop so that they can go on.
        on_progress: Called twice a second.

    Returns:
        How each run ended, in the order of the plans.

    Raises:
        RunError: A folder holds another run than the planned one.
        ValueError: A number is below 1, or the scheduler does not suit.
        ImportError: dask.distributed is not installed.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"--{name} must be at least 1; got {number}. Raise it.")
    output = Path(output).absolute()
    done = {
        plan.name: Outcome(name=plan.name, state="finished", was_finished=True)
        for plan in plans
        if stage_of(RunFolder(output / plan.name), plan.config) == "finished"
    }
    open_plans = [plan for plan in plans if plan.name not in done]
    if open_plans:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"--output must be a folder that can be written; got {output} ({error.strerror}). "
                "Choose another."
            ) from error
        with _client(scheduler, workers, threads, deaths, len(open_plans)) as client:
            at_once = min(len(open_plans), len(client.nthreads()))
            sweep = _Sweep(client, output, threads=threads, at_once=at_once, robustness=robustness)
            ended = sweep.run(open_plans, list(done.values()), should_stop, on_progress)
            done = {each.name: each for each in ended}
    return [done[plan.name] for plan in plans]


def check_scheduler(address: str) -> None:
    """Refuse an address that no sweep could use.

    Args:
        address: Of a dask scheduler whose workers have one thread each.

    Raises:
        ValueError: No scheduler answers, or it does not suit.
        ImportError: dask.distributed is not installed.
    """
    with _client(address, workers=None, threads=1, deaths=DEATHS, num_runs=1):
        pass


class _Sweep:
    """The state of one sweep."""

    def __init__(self, client: Any, output: Path, **options: Any) -> None:
        from distributed import Event

        self.client, self.output = client, output
        self.stop = Event(f"sttrans-stop-{uuid.uuid4().hex}", client=client)
        self.options = {**options, "stop": self.stop.name}
        self.futures: dict[str, tuple[Any, float]] = {}  # of running runs, and since when
        self.seconds: list[float] = []  # that finished runs took
        self.workers: set[str] = set()
        self.num_lost = 0

    def run(
        self,
        plans: Sequence[RunPlan],
        outcomes: list[Outcome],
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> list[Outcome]:
        """Keep every worker busy until nothing is left to do; add to what has ended before."""
        waiting, deadline = list(plans), math.inf
        while (waiting or self.futures) and time.monotonic() < deadline:
            if should_stop() and deadline == math.inf:
                deadline = time.monotonic() + GRACE_SECONDS
                self.stop.set()
                outcomes += [Outcome(name=plan.name, state="waiting") for plan in waiting]
                waiting = []
            num_workers = self._num_workers()
            # Never more than there are workers: what waits at a worker would share its death.
            while waiting and len(self.futures) < num_workers:
                self._submit(waiting.pop(0))
            outcomes += self._ended()
            on_progress(self._progress(outcomes, len(waiting), num_workers))
            if waiting or self.futures:
                time.sleep(POLL_SECONDS)
        outcomes += [Outcome(name=name, state="stopped") for name in self.futures]
        return outcomes

    def _num_workers(self) -> int:
        try:
            there = set(self.client.nthreads())
        except OSError as error:
            raise RunError(
                f"A sweep must keep in touch with its scheduler; got {error}. Start the scheduler "
                "and the same command again: finished runs are not repeated."
            ) from error
        self.num_lost += len(self.workers - there)  # one that takes its place has a new address
        self.workers = there
        return len(there)

    def _submit(self, plan: RunPlan) -> None:
        future = self.client.submit(
            run_on_worker, plan.config, str(self.output / plan.name), **self.options,
            key=f"{plan.name}-{uuid.uuid4().hex[:8]}", pure=False,
        )  # fmt: skip
        self.futures[plan.name] = (future, time.time())

    def _ended(self) -> list[Outcome]:
        found = []
        for name in [name for name, (future, _) in self.futures.items() if future.done()]:
            future, since = self.futures.pop(name)
            found.append(self._outcome(name, future))
            if found[-1].state == "finished":
                self.seconds.append(time.time() - since)
        return found

    def _outcome(self, name: str, future: Any) -> Outcome:
        if future.cancelled():
            return Outcome(name=name, state="failed", reason="The scheduler has forgotten it.")
        error = future.exception()
        if error is not None:
            return Outcome(name=name, state="failed", reason=_reason(error))
        if future.result() == "finished" and not (self.output / name / "scores.csv").exists():
            reason = (
                f"Workers must write where the sweep reads; got nothing in {self.output / name}. "
                "Choose an --output that all machines share."
            )
            return Outcome(name=name, state="failed", reason=reason)
        return Outcome(name=name, state=future.result())

    def _progress(self, outcomes: list[Outcome], num_waiting: int, num_workers: int) -> Progress:
        now = time.time()
        running = tuple(
            read_status(name, self.output / name, since=since, now=now)
            for name, (_, since) in self.futures.items()
        )
        left = estimate_seconds(
            self.seconds, running, num_waiting=num_waiting, num_workers=num_workers
        )
        return Progress(
            outcomes=tuple(outcomes), running=running, num_waiting=num_waiting, eta_seconds=left,
            num_lost=self.num_lost,
        )  # fmt: skip


def _reason(error: BaseException) -> str:
    """Say in one line why a run failed."""
    from distributed import KilledWorker

    from sttrans_core.commands.support import os_sentence

    if isinstance(error, KilledWorker):
        return (
            f"A run must leave its worker alive; got {error.allowed_failures + 1} that died, "
            "perhaps for lack of memory. Run fewer at once (--workers), or choose a smaller model."
        )
    if isinstance(error, OSError):
        return os_sentence(error)
    if isinstance(error, ValueError):  # our own sentences
        return str(error)
    return f"{type(error).__name__}: {error}"


@contextmanager
def _client(
    scheduler: str | None, workers: int | None, threads: int, deaths: int, num_runs: int
) -> Iterator[Any]:
    """Give a client of the scheduler, or of a cluster that ends with this block."""
    try:
        from dask import config
        from dask.system import CPU_COUNT
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError(
            f"A sweep needs dask.distributed, which is not installed ({error.name}). "
            "Install the extra: pip install 'sttrans[sweep]'."
        ) from error
    if scheduler is not None:
        with _connected(scheduler) as client:
            yield client
        return
    usual = 1 if torch.cuda.is_available() else max(1, CPU_COUNT // threads)
    environment = {
        "OMP_NUM_THREADS": threads,
        # A run computes in a thread of its worker. Large arrays are slow there unless the thread
        # shares the memory of the main one.
        "MALLOC_ARENA_MAX": 1,
    }
    with ExitStack() as stack:
        with _interrupts_held():
            stack.enter_context(config.set({"distributed.nanny.pre-spawn-environ": environment}))
            cluster = LocalCluster(
                n_workers=min(workers or usual, num_runs), threads_per_worker=1, memory_limit=0,
                dashboard_address=None, silence_logs=logging.CRITICAL,
                scheduler_kwargs={"allowed_failures": deaths, **NO_PAGE},
            )  # fmt: skip
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster, set_as_default=False))
        yield client


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while threads and processes start, all of which inherit that.

    A terminal sends it to workers, too, but it is the sweep that asks them to stop.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows workers end at once
        yield
        return
    ensure_running()  # what tracks resources of processes would let them through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    from distributed import Client
    from distributed.comm.core import connect

    async def knock() -> None:
        comm = await connect(scheduler)
        await comm.close()

    try:
        # A client that found no scheduler would wait for one as long as the process lives.
        with ThreadPoolExecutor(1) as pool:  # a notebook has a loop of its own
            pool.submit(asyncio.run, asyncio.wait_for(knock(), CONNECT_SECONDS)).result()
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    # A protocol may lack its settings, and what another server says be taken for a size.
    except (MemoryError, OSError, TypeError, ValueError) as error:
        raise ValueError(
            "The address of the scheduler must be that of a dask scheduler that runs; got "
            f"{scheduler!r} ({str(error) or 'no answer'}). Start one with 'dask scheduler', or "
            "leave the address out to use this machine."
        ) from error
    with client:
        threads = dict(client.nthreads())
        if not threads or max(threads.values()) > 1:
            most = max(threads.values(), default=0)
            raise ValueError(
                "A scheduler must have workers of one thread each, so that each works on one run; "
                f"got {len(threads)} workers{f' of up to {most} threads' if most else ''}. "
                f"Start some with 'dask worker {scheduler} --nthreads 1'."
            )
        yield client
