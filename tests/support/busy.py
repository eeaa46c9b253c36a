"""A program of five actors whose order tells runs apart; by itself, so that a fresh process imports little."""

from __future__ import annotations

from simulator.engine.runtime import VirtualRuntime


def give_way(runtime: VirtualRuntime) -> None:
    """Let the schedule put another actor first, by a condition that concerns nothing."""
    with runtime.condition():
        pass


def busy_log(seed: int, schedule: str) -> list[tuple[float, int, int]]:
    """Return what five actors do that share a counter and sleep for random times."""
    log: list[tuple[float, int, int]] = []
    with VirtualRuntime(seed, schedule=schedule) as runtime:
        condition, counter = runtime.condition(), [0]

        def work(me: int) -> None:
            jitter = runtime.random(f"jitter {me}")
            for _ in range(20):
                if jitter.random() < 0.5:
                    runtime.sleep(round(jitter.random(), 1))
                with condition:
                    counter[0] += 1
                    log.append((runtime.now, me, counter[0]))
                    condition.notify_all()
                    if jitter.random() < 0.3:
                        condition.wait(jitter.random())

        tasks = [runtime.spawn(lambda me=me: work(me), name="work") for me in range(5)]
        assert all(task.join() for task in tasks)
    return log
