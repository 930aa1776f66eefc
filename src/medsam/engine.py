"""Run a function over shards: in this process, on this machine's cores, or on a Ray cluster that exists already.

Of a cluster there are also Devices: one object on each of them, whose methods are called from here.

There is no scheduler here. A function must be idempotent: an engine may run a shard again when a worker or node died,
and two attempts may overlap. Results come back in the order of the shards, whatever order they finished in.
"""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from medsam.errors import DataError, MissingDependencyError, RemoteError

if TYPE_CHECKING:
    from types import ModuleType

Shard = TypeVar("Shard")
Result = TypeVar("Result")
Engine = Literal["local", "processes", "ray"]
ENGINES: tuple[Engine, ...] = ("local", "processes", "ray")

log = logging.getLogger("medsam")
ATTEMPTS = 4  # a shard whose worker dies this often is a bug or too large for the machine, not bad luck
KNOCK_SECONDS = 10
START_SECONDS = 300  # in which a device of a cluster must have become ready: it loads a model first
LOOK_SECONDS = 2  # between two looks at which nodes a cluster has
IN_FLIGHT_PER_WORKER = 2  # enough to keep a worker busy, few enough that results do not pile up


def run(
    function: Callable[[Shard], Result],
    shards: Sequence[Shard],
    *,
    engine: Engine = "local",
    workers: int | None = None,
    address: str | None = None,
) -> Iterator[Result]:
    """Give function(shard) for every shard, in the order of the shards.

    Args:
        function: Importable by the workers, idempotent; what it raises is raised here.
        shards: What to run it on; each is pickled to a worker.
        engine: "local", "processes" or "ray".
        workers: Processes, or Ray tasks at a time; left out, the cores this process may use or all of the cluster.
        address: Of a running Ray cluster; left out, Ray starts one on this machine and stops it at the end.

    Raises:
        DataError: an unknown engine, or an address for another engine than ray.
        MissingDependencyError: Ray is not installed.
        RemoteError: the cluster cannot be reached, or a shard's worker died again and again.
    """
    if engine not in ENGINES:
        raise DataError(
            f"engine is {engine!r}", expected=f"one of {', '.join(ENGINES)}", fix="pass --engine with one of them"
        )
    if address is not None and engine != "ray":
        raise DataError(
            f"an address for the engine {engine!r}",
            expected="--engine ray",
            fix="leave --address out, or pass --engine ray",
        )
    if workers is not None and workers < 1:
        raise DataError(f"workers is {workers}", expected="at least 1", fix="leave --workers out to use every core")
    if engine == "ray":
        return _run_on_ray(function, shards, workers, address)
    if engine == "processes":
        return _run_on_processes(function, shards, workers or count_cores())
    return map(function, shards)


def count_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_on_processes(function: Callable[[Shard], Result], shards: Sequence[Shard], workers: int) -> Iterator[Result]:
    """A pool that is made anew when a worker dies; shards that had not finished are run again."""
    done: dict[int, Result] = {}
    deaths = given = 0
    while given < len(shards):
        before = len(done) + given
        try:
            for index, result in _one_pool(function, shards, workers, skip=set(done) | set(range(given))):
                done[index] = result
                while given in done:
                    yield done.pop(given)
                    given += 1
        except BrokenProcessPool:
            deaths = 1 if len(done) + given > before else deaths + 1
            if deaths >= ATTEMPTS:
                raise _died(given) from None


def _one_pool(
    function: Callable[[Shard], Result], shards: Sequence[Shard], workers: int, *, skip: set[int]
) -> Iterator[tuple[int, Result]]:
    """(index, result) as they finish; a broken pool raises after everything that did finish was given."""
    todo = [index for index in range(len(shards)) if index not in skip]
    context = multiprocessing.get_context("spawn")  # a forked child inherits threads and locks that may be held
    with ProcessPoolExecutor(
        max_workers=min(workers, max(len(todo), 1)), mp_context=context, initializer=_set_up_worker
    ) as pool:
        waiting = {pool.submit(function, shards[index]): index for index in todo[: workers * IN_FLIGHT_PER_WORKER]}
        rest = iter(todo[workers * IN_FLIGHT_PER_WORKER :])
        while waiting:
            for future in _finished(waiting):
                index = waiting.pop(future)
                result = future.result()
                following = next(rest, None)
                if following is not None:
                    waiting[pool.submit(function, shards[following])] = following
                yield index, result


def _finished(waiting: dict[Future[Result], int]) -> list[Future[Result]]:
    """Futures that are done, those with a result first."""
    finished = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED).done
    return sorted(finished, key=lambda future: (future.exception() is not None, waiting[future]))


def _set_up_worker() -> None:
    """One worker per core: libraries inside a worker must not start a thread per core again.

    A worker ends with the process that made it: killed hard, that one could not tell it to.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _died(index: int) -> RemoteError:
    return RemoteError(
        f"the worker of shard {index} died {ATTEMPTS} times in a row",
        expected="a worker that lives through its shard",
        fix="look for the out-of-memory killer in the system log, and pass fewer --workers",
    )


def _run_on_ray(
    function: Callable[[Shard], Result], shards: Sequence[Shard], workers: int | None, address: str | None
) -> Iterator[Result]:
    ray = _ray()
    started_here = not ray.is_initialized()
    if started_here:
        _connect(ray, workers, address)
    try:
        yield from _ray_results(ray, function, shards, workers)
    finally:
        if started_here:
            ray.shutdown()


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise MissingDependencyError(
            "the package ray is not installed", expected="it for --engine ray", fix="pip install 'openmedsam[cluster]'"
        ) from None
    return cast("ModuleType", ray)


def _connect(ray: ModuleType, workers: int | None, address: str | None) -> None:
    try:
        if address is not None:
            _knock(address)  # Ray itself tries for minutes
        if address is None:
            ray.init(
                num_cpus=workers or count_cores(), include_dashboard=False, log_to_driver=False, configure_logging=False
            )
        else:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise RemoteError(
            f"the Ray cluster at {address or 'this machine'} did not answer ({str(error).splitlines()[0]:.120})",
            expected="a running cluster",
            fix="start one with `ray start --head`, or leave --address out",
        ) from None


def _knock(address: str) -> None:
    """Open and close a connection to host:port; other forms of address are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _ray_results(
    ray: ModuleType, function: Callable[[Shard], Result], shards: Sequence[Shard], workers: int | None
) -> Iterator[Result]:
    """Keep a window of tasks in flight; Ray itself runs the tasks of a dead node again."""
    task = ray.remote(num_cpus=1, max_retries=ATTEMPTS, scheduling_strategy="SPREAD")(function)
    window = (workers or int(ray.cluster_resources().get("CPU", 1))) * IN_FLIGHT_PER_WORKER
    submitted = [task.remote(shard) for shard in shards[:window]]
    waiting = {reference: index for index, reference in enumerate(submitted)}
    done: dict[int, Result] = {}
    given, following = 0, len(submitted)
    while waiting:
        finished, _ = ray.wait(list(waiting), num_returns=1)
        index = waiting.pop(finished[0])
        try:
            done[index] = ray.get(finished[0])
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
            raise _died(index) from None
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        if following < len(shards):
            waiting[task.remote(shards[following])] = following
            following += 1
        while given in done:
            yield done.pop(given)
            given += 1


class _Held:
    """What Ray keeps on a node: the object is made by start, so that its errors come back whole."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    def start(self) -> None:
        self._held = self._make()

    def call(self, method: str, arguments: tuple[object, ...]) -> object:
        return getattr(self._held, method)(*arguments)


@dataclass(eq=False)
class _Device:
    """An actor, the place it takes, and the calls that it has not answered."""

    place: tuple[str, int]
    actor: Any
    calls: int = 0


class Devices:
    """One object on each device of a Ray cluster: on each GPU, or, where there is none, on each node with all its cores.

    A call goes to the device that has least to do. One whose node dies is made again on another, so that it must be
    idempotent; nodes that come later are taken in. Threads may share this.

    Args:
        make: Makes the object on its node; importable there.
        address: Of a running cluster; left out, Ray starts one on this machine.

    Raises:
        MissingDependencyError: Ray is not installed.
        RemoteError: the cluster cannot be reached, or has no device that becomes ready. Else what make raises.
    """

    def __init__(self, make: Callable[[], object], *, address: str | None = None) -> None:
        self._ray = _ray()
        if not self._ray.is_initialized():
            _connect(self._ray, None, address)
        self._make = make
        self._lock = threading.Lock()
        self._ready: list[_Device] = []
        self._starting: dict[Any, _Device] = {}
        self._refused: set[tuple[str, int]] = set()  # nodes that came later and cannot make the object
        self._looked = 0.0
        self._welcomed = False
        self._release(self._take())
        self._welcomed = True

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def call(self, method: str, *arguments: object) -> object:
        """Call a method of one of the objects.

        Raises:
            RemoteError: no device is left, or several died of this call. Else what the method raises.
        """
        lost = self._ray.exceptions
        for _ in range(ATTEMPTS):
            device = self._take()
            try:
                return self._ray.get(device.actor.call.remote(method, arguments))
            except lost.RayTaskError as error:
                raise error.cause from None
            except (lost.RayActorError, lost.ActorUnschedulableError, lost.ObjectLostError, lost.OutOfMemoryError):
                self._drop(device)
            finally:
                self._release(device)
        raise RemoteError(
            f"{ATTEMPTS} devices of the cluster died in the same call", expected="one that lives through it",
            fix="look for the out-of-memory killer in the system logs of the nodes",
        )  # fmt: skip

    def _take(self) -> _Device:
        """The ready device with the fewest calls; waits where none is."""
        if not self._ray.is_initialized():  # Ray would start another one by itself
            raise RemoteError("a cluster that was left", expected="an open one", fix="load the model again")
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with self._lock:
                self._look_for_devices()
                starting = list(self._starting)
                self._welcome(starting)
                if self._ready and (self._welcomed or not self._starting):
                    device = min(self._ready, key=lambda one: one.calls)
                    device.calls += 1
                    return device
            if starting:
                self._ray.wait(starting, num_returns=1, timeout=LOOK_SECONDS)
            else:
                time.sleep(LOOK_SECONDS / 10)
        raise RemoteError(
            f"no device of the cluster became ready in {START_SECONDS} s", expected="a node with free cores or a GPU",
            fix="see `ray status`; start a node, or leave --engine out",
        )  # fmt: skip

    def _look_for_devices(self) -> None:
        """Start what is missing on the nodes that live."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        kind = "GPU" if any(has.get("GPU") for has in nodes.values()) else "CPU"
        taken = {one.place for one in [*self._ready, *self._starting.values()]} | self._refused
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        for node, has in nodes.items():
            count = int(has.get("GPU", 0)) if kind == "GPU" else int(has.get("CPU", 0) >= 1)
            for place in {(node, n) for n in range(count)} - taken:
                needs = {"num_gpus": 1, "num_cpus": 0} if kind == "GPU" else {"num_cpus": int(has["CPU"])}
                here = NodeAffinitySchedulingStrategy(node, soft=False)
                actor = self._ray.remote(_Held).options(scheduling_strategy=here, **needs).remote(self._make)
                self._starting[actor.start.remote()] = _Device(place, actor)

    def _welcome(self, starting: list[Any]) -> None:
        """Take in what has started; what died on the way is started anew with the next look."""
        done, _ = self._ray.wait(starting, num_returns=len(starting), timeout=0) if starting else ([], [])
        for reference in done:
            device = self._starting.pop(reference)
            try:
                self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                if not self._welcomed:
                    raise error.cause from None
                log.warning("a node that came later is left out: %s", error.cause)
                self._refused.add(device.place)
            except self._ray.exceptions.RayError:
                continue
            else:
                self._ready.append(device)

    def _drop(self, device: _Device) -> None:
        with self._lock:
            if device in self._ready:
                self._ready.remove(device)

    def _release(self, device: _Device) -> None:
        with self._lock:
            device.calls -= 1
