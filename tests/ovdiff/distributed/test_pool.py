"""The pool on a real local cluster of several Ray nodes: results, errors, lost workers, lost machines."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from converters.workers import as_done, in_order
from ovdiff.distributed.cluster import Cluster, Waiting
from ovdiff.distributed.head import Seen
from ovdiff.distributed.placement import Placement
from ovdiff.distributed.pool import RayPool
from ovdiff.distributed.stages import Stages
from ovdiff.distributed.worker import Raised
from ovdiff.errors import ClusterError, MissingPrototypesError
from tests.fakes.sockets import closed_port
from tests.fakes.waiting import eventually

_state: list[int] = []
SETTLE_S = 200.0  # Ray's workers have the lowest priority, and wait while other tests have the processors


def _remember(number: int) -> None:
    _state.append(number)


def _state_and_process(item: int) -> tuple[list[int], int, int]:
    return list(_state), os.getpid(), item


@pytest.fixture(scope="module")
def pool(ray_cluster: Cluster) -> Iterator[RayPool]:
    """Two workers without a processor of their own, so that any machine has room for them."""
    with RayPool(ray_cluster, Placement(2, cpus=0), _remember, (7,)) as made:
        yield made


def test_each_worker_is_made_ready_once_and_results_come_in_order(pool: RayPool) -> None:
    results = list(in_order(partial(pool.submit, _state_and_process), range(40), 8))
    assert [item for item, _ in results] == list(range(40))
    assert [item for _, (_, _, item) in results] == list(range(40))
    assert {tuple(state) for _, (state, _, _) in results} == {(7,)}
    processes = {process for _, (_, process, _) in results}
    until_s = time.monotonic() + SETTLE_S
    while len(processes) < 2 and time.monotonic() < until_s:  # the second one may take longer to start
        both = [pool.submit(_state_and_process, 0) for _ in range(4)]  # more than one of them takes
        processes |= {each.result()[1] for each in both}
    assert os.getpid() not in processes and len(processes) == 2


def test_items_are_read_a_little_ahead_only(pool: RayPool) -> None:
    numbers = itertools.count()
    results = as_done(partial(pool.submit, abs), numbers, 8)
    assert {next(results)[0] for _ in range(3)} <= set(range(16))
    results.close()  # type: ignore[attr-defined]
    assert next(numbers) <= 8 + 3


def test_an_error_of_a_function_arrives_as_it_is(pool: RayPool) -> None:
    def fail() -> None:
        raise MissingPrototypesError(["boat"])

    with pytest.raises(MissingPrototypesError, match="No prototypes for 'boat'") as found:
        pool.submit(fail).result()
    assert found.value.names == ("boat",)


def test_an_error_that_does_not_arrive_is_told_in_words() -> None:
    class LocalError(Exception):
        pass

    found = Raised.of(LocalError("here"))
    assert isinstance(found.error, ClusterError) and str(found.error) == "LocalError on another machine: here"


def test_what_cannot_be_sent_is_an_error_and_no_endless_wait(pool: RayPool) -> None:
    with pytest.raises(TypeError, match=r"lock|serialize"):
        pool.submit(lambda given: given, threading.Lock()).result(SETTLE_S)


def test_workers_share_the_callers_folder(pool: RayPool) -> None:
    assert pool.submit(Path.cwd).result() == Path.cwd()


def test_steps_run_in_processes_of_their_own_where_processors_are_left(ray_cluster: Cluster) -> None:
    stages = Stages(_with_process, _with_process, _with_process)
    with RayPool(ray_cluster, Placement(1, cpus=0, stages_apart=True)) as pool:
        _, before, run, after = pool.submit(stages, ()).result(SETTLE_S)
        assert run not in (before, after)
        with pytest.raises(ZeroDivisionError):  # in the first step; the others hand it on
            pool.submit(Stages(_divide, _with_process, _with_process), 0).result(SETTLE_S)


def _with_process(before: tuple[int, ...]) -> tuple[int, ...]:
    return (*(before or (0,)), os.getpid())


def _divide(by: int) -> tuple[int, ...]:
    return (1 // by,)


def _note_and_end_once(folder: Path, item: int) -> int:
    """Note that an item is computed; the worker that gets item 5 first ends without a word."""
    with (folder / str(item)).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if item == 5 and len((folder / "5").read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_costs_its_own_calls_alone(pool: RayPool, tmp_path: Path) -> None:
    lost = pool.figures.workers_lost
    results = in_order(partial(pool.submit, partial(_note_and_end_once, tmp_path)), range(60), 8)
    assert [result for _, result in results] == list(range(60))
    assert pool.figures.workers_lost == lost + 1
    again = [file.name for file in tmp_path.iterdir() if len(file.read_text().split()) > 1]
    assert "5" in again and len(again) <= 2, "at most the two calls of that worker are computed again"


def _kill_itself(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_an_item_that_ends_every_worker_is_given_up_alone(pool: RayPool) -> None:
    lost = pool.figures.workers_lost
    futures = [pool.submit(_kill_itself, item) for item in range(12)]
    wait(futures, SETTLE_S)
    with pytest.raises(ClusterError, match=r"3 workers ended one after another .* same item, .* memory was full"):
        futures.pop(3).result(0)
    assert [future.result(0) for future in futures] == [0, 1, 2, *range(4, 12)]
    assert pool.figures.workers_lost == lost + 3


def _node_of_worker(folder: Path, item: int) -> tuple[int, str]:
    import ray

    time.sleep(0.05)
    with (folder / str(item)).open("a") as file:
        file.write("computed\n")
    return item, ray.get_runtime_context().get_node_id()


def _until(is_so: Callable[[], bool], more: int) -> Iterator[int]:
    """Count from 0 until something is so, however long a busy machine takes to it, and then a little further."""
    until_s, numbers = time.monotonic() + SETTLE_S, itertools.count()
    while not is_so() and time.monotonic() < until_s:
        yield next(numbers)
    yield from itertools.islice(numbers, more)


def test_a_killed_machine_costs_its_own_calls_alone(
    ray_cluster: Cluster, ray_head: Any, ray_node: Callable[..., Any], tmp_path: Path
) -> None:
    node = ray_node(num_cpus=2, resources={"here": 2})
    results, where = list[int](), set[str]()
    both_worked = lambda: len(where) == 2  # noqa: E731
    with RayPool(ray_cluster, Placement(4, cpus=1)) as pool:  # two workers on each machine
        items = _until(both_worked, more=60)
        for _, (item, at) in in_order(partial(pool.submit, partial(_node_of_worker, tmp_path)), items, 12):
            results.append(item)
            where.add(at)
            if both_worked() and node is not None:
                ray_head.remove_node(node, allow_graceful=False)
                node = None
        assert results == list(range(len(results)))
        assert node is None, "both machines worked"
        assert eventually(lambda: pool.figures.workers_lost == 2, SETTLE_S), "one of them may have been starting"
    again = [file.name for file in tmp_path.iterdir() if len(file.read_text().split()) > 1]
    assert len(again) <= 4, "at most two calls of each of its two workers"


def _fail_to_start(why: str) -> None:
    if why == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise MissingPrototypesError([why])


@pytest.mark.parametrize(
    ("why", "error", "told"),
    [
        ("boat", MissingPrototypesError, "No prototypes for 'boat'"),
        ("killed", ClusterError, "3 workers ended while they loaded the models.*--ray-workers"),
    ],
)
def test_workers_that_cannot_start_end_the_work(
    ray_cluster: Cluster, why: str, error: type[Exception], told: str
) -> None:
    with RayPool(ray_cluster, Placement(1, cpus=0), _fail_to_start, (why,)) as pool:
        first = pool.submit(abs, 1)
        with pytest.raises(error, match=told):
            first.result(SETTLE_S)
        with pytest.raises(error, match=told):  # and so does all that comes after
            pool.submit(abs, 2).result(SETTLE_S)


def test_a_head_that_is_silent_ends_the_work_and_says_how_to_go_on(ray_cluster: Cluster) -> None:
    silent = Cluster(f"127.0.0.1:{closed_port()}", ray_cluster.nodes, Waiting(patience_s=0.0))
    told = r"does not answer any more. .*`ray start --head`.* run the same command, which goes on"
    with RayPool(silent, Placement(1, cpus=0)) as pool, pytest.raises(ClusterError, match=told):
        pool.submit(time.sleep, 60).result(SETTLE_S)


def test_calls_of_a_lost_head_are_given_to_workers_of_the_next_connection(
    ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The cluster itself lives: what tells of the head is a fake, and so are leaving and joining."""
    seen, told = [Seen.HERE], list[str]()
    monkeypatch.setattr("ovdiff.distributed.cluster._LOOK_S", 0.2)  # or the work is done before anybody looks
    cluster = Cluster(ray_cluster.address, (), Waiting(tell=told.append), join=lambda: ray_cluster.nodes)
    # Of this cluster alone: another test's pool may look after the real one, and would leave it.
    monkeypatch.setattr(cluster._head, "look", lambda *_: seen.pop() if len(seen) > 1 else seen[0])
    with RayPool(cluster, Placement(2, cpus=0), _remember, (7,)) as pool:
        results = []
        for _, (item, state) in in_order(partial(pool.submit, partial(_note_slowly, tmp_path)), range(40), 8):
            results.append(item)
            assert state == [7], "each worker is made ready"
            if item == 3:
                seen.append(Seen.ENDED)
        assert results == list(range(40)) and cluster.nodes == ray_cluster.nodes
        figures = pool.figures
        assert (figures.heads_lost, figures.workers_lost, len(told)) == (1, 0, 2)
        assert 40 <= figures.given == 40 + figures.repeated <= 44, "at most two calls of each worker are repeated"
    computed = sum(len(file.read_text().split()) for file in tmp_path.iterdir())
    assert computed <= figures.given


def test_work_that_was_given_up_already_is_no_fault_of_a_lost_cluster(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever hears of the lost head first gives up the rest; Ray was then said to refuse what was asked for."""
    cluster = Cluster("head:6379", (), Waiting(wait_s=0.0))
    cluster.is_joined = False
    with RayPool(cluster, Placement(1, cpus=0)) as pool:
        with cluster.lock:  # the pool waits meanwhile
            given_up, wanted = pool.submit(abs, -1), pool.submit(abs, -2)
            assert given_up.cancel()
            cluster.lost = ClusterError("The head is lost.")
        assert wanted.exception(SETTLE_S) is cluster.lost
    assert given_up.cancelled() and not caplog.records


def test_a_call_that_comes_while_the_pool_ends_is_done_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("head:6379", (), Waiting(wait_s=0.0))
    cluster.is_joined = False
    pool = RayPool(cluster, Placement(1, cpus=0))
    is_set, ending = pool._closing.is_set, threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})

    def looked() -> bool:
        """Let the pool be ended right after the caller has looked whether it was."""
        found = is_set()
        if threading.current_thread() is threading.main_thread() and not ending.ident:
            ending.start()
            ending.join(0.3)
        return found

    monkeypatch.setattr(pool._closing, "is_set", looked)
    future = pool.submit(abs, -1)
    assert wait([future], 10.0).done, "else whoever waits for it waits for ever"


def test_whoever_waits_for_work_hears_that_it_was_given_up() -> None:
    """The executors of Python cancel without telling `wait`, which then never ends."""
    cluster = Cluster("head:6379", (), Waiting(wait_s=0.0))
    cluster.is_joined = False
    pool = RayPool(cluster, Placement(1, cpus=0))
    future = pool.submit(abs, -1)
    pool.shutdown(cancel_futures=True)
    assert wait([future], 10.0).done and future.cancelled()


def _note_slowly(folder: Path, item: int) -> tuple[int, list[int]]:
    time.sleep(0.1)
    with (folder / str(item)).open("a") as file:
        file.write("computed\n")
    return item, list(_state)


def test_work_that_did_not_begin_can_be_given_up(ray_cluster: Cluster) -> None:
    pool = RayPool(ray_cluster, Placement(1, cpus=0))
    futures = [pool.submit(time.sleep, 0.2) for _ in range(20)]
    futures[0].result(SETTLE_S)
    pool.shutdown(cancel_futures=True)
    assert sum(future.cancelled() for future in futures) >= 15
    assert all(future.done() for future in futures)
    with pytest.raises(ClusterError, match="was ended"):
        pool.submit(abs, 1)


def test_a_cluster_that_is_too_small_is_asked_to_grow(ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda _cpus, bundles: asked.append(bundles))
    with RayPool(ray_cluster, Placement(1, cpus=0, gpus=0, grows=True)) as pool:
        assert pool.submit(abs, -1).result(SETTLE_S) == pool.workers == 1
    assert asked == [[{"CPU": 0}], []]
