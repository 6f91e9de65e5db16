"""A single save goes out soon, a burst is gathered, and nothing waits for ever."""

import pytest

from client.sync.cadence import Cadence


def test_nothing_is_due_before_anything_changes() -> None:
    assert Cadence().due_at is None


def test_a_single_save_goes_out_soon() -> None:
    cadence = Cadence(extra=0.25)
    cadence.changed(100.0)
    assert cadence.due_at == pytest.approx(100.375)  # T = 0.25 / 2 + 0 + 0.25


@pytest.mark.parametrize("pause", [0.5, 1.0, 3.0])
def test_regular_saves_are_gathered(pause: float) -> None:
    """T comes to the pause and twice e, and so is longer than the pause."""
    cadence = Cadence(extra=0.25, longest=1_000)
    early = 0
    for number in range(60):
        due = cadence.due_at
        early += due is not None and due < number * pause
        cadence.changed(number * pause)
    assert cadence.wait == pytest.approx(pause + 0.5)
    assert early <= 4, "only while T is being learned"


def test_the_formula() -> None:
    cadence = Cadence(extra=0.1, most=5.0)
    wait, last = 0.1, None
    for now in (0.0, 0.4, 2.0, 2.1, 9.0, 30.0):
        since = now - last if last is not None else 0.0
        wait, last = min(wait / 2 + since / 2 + 0.1, 5.0), now
        cadence.changed(now)
        assert cadence.wait == pytest.approx(wait)
    assert cadence.wait == 5.0


def test_a_file_that_is_written_without_end_is_synced_all_the_same() -> None:
    cadence = Cadence(longest=60.0)
    for tenth in range(1_000):
        cadence.changed(tenth / 10)
    assert cadence.due_at == 60.0
    cadence.synced()
    assert cadence.due_at is None
    cadence.changed(101.0)
    assert cadence.due_at is not None
    assert 101.0 < cadence.due_at < 161.0
