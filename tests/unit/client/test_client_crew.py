"""The threads of a transfer."""

from threading import Event, Thread

import pytest

from client.crew import Crew
from client.errors import Refused


def test_every_job_is_done_before_drain_returns() -> None:
    done: list[int] = []
    with Crew(4, room=10, stop=Event()) as crew:
        for number in range(500):
            crew.submit(lambda number=number: done.append(number))
        crew.drain()
    assert sorted(done) == list(range(500))


def test_jobs_may_hand_out_jobs() -> None:
    done: list[int] = []
    with Crew(2, room=10, stop=Event()) as crew:

        def step(left: int) -> None:
            done.append(left)
            if left:
                crew.submit(lambda: step(left - 1))

        crew.submit(lambda: step(50))
        crew.drain()
    assert len(done) == 51


def test_room_is_waited_for() -> None:
    gate = Event()
    passed = Event()
    with Crew(1, room=10, stop=Event()) as crew:
        crew.hold(8)
        assert not crew.try_hold(3)

        def release() -> None:
            gate.wait(10)
            crew.release(8)

        crew.submit(release)
        waiter = Thread(target=lambda: (crew.hold(3), passed.set()))
        waiter.start()
        assert not passed.wait(0.05)
        gate.set()
        assert passed.wait(10)
        waiter.join()


def test_something_larger_than_the_room_gets_in_alone() -> None:
    with Crew(1, room=10, stop=Event()) as crew:
        assert crew.try_hold(100)
        assert not crew.try_hold(1)


def test_a_failure_ends_the_run_and_reaches_whoever_waits() -> None:
    started = Event()
    stop = Event()
    skipped: list[int] = []

    def fail() -> None:
        started.wait(10)
        raise Refused("no more")

    with pytest.raises(Refused, match="no more"), Crew(1, room=1, stop=stop) as crew:
        crew.hold(1)
        crew.submit(fail)
        crew.submit(lambda: skipped.append(1))
        started.set()
        crew.hold(1)  # nobody will ever release it
    assert stop.is_set()
    assert skipped == []


def test_a_failure_is_raised_by_what_comes_next() -> None:
    with pytest.raises(ZeroDivisionError), Crew(1, room=1, stop=Event()) as crew:
        crew.submit(lambda: 1 // 0)
        crew.stop.wait(10)
        crew.submit(lambda: None)


def test_leaving_early_drops_what_waits() -> None:
    begun, go_on = Event(), Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        go_on.wait(10)

    with pytest.raises(KeyboardInterrupt), Crew(1, room=1, stop=Event()) as crew:
        crew.submit(first)
        crew.submit(lambda: done.append(1))
        begun.wait(10)
        raise KeyboardInterrupt
    go_on.set()
    for thread in crew._threads:
        thread.join(10)
    assert done == []


def test_urgent_jobs_go_first() -> None:
    begun, go_on = Event(), Event()
    order: list[str] = []

    def first() -> None:
        begun.set()
        go_on.wait(10)

    with Crew(1, room=1, stop=Event()) as crew:
        crew.submit(first)
        begun.wait(10)
        crew.submit(lambda: order.append("later"))
        crew.submit(lambda: order.append("sooner"), urgent=True)
        go_on.set()
        crew.drain()
    assert order == ["sooner", "later"]


def test_a_later_job_keeps_no_thread_and_is_waited_for() -> None:
    order: list[str] = []
    with Crew(1, room=1, stop=Event()) as crew:
        crew.submit(lambda: order.append("later"), after=0.05)
        crew.submit(lambda: order.append("now"))
        crew.drain()
    assert order == ["now", "later"]


def test_leaving_early_drops_what_is_for_later() -> None:
    done: list[int] = []
    with Crew(2, room=1, stop=Event()) as crew:
        crew.submit(lambda: done.append(1), after=60)
    for thread in crew._threads:
        thread.join(10)
        assert not thread.is_alive()
    assert done == []
