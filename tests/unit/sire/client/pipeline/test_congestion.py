"""How many requests may be under way when a queue refuses some."""

from sire.client.pipeline.congestion import CongestionWindow


def test_as_many_are_under_way_as_were_not_refused() -> None:
    window = CongestionWindow(32)
    assert window.limit == 32
    for accepted in range(31, 3, -1):  # 32 were sent at once, and 4 had a place
        window.on_queue_full(accepted, now=1.0)
    assert window.limit == 4


def test_answers_let_it_grow_by_one_a_round_up_to_the_most() -> None:
    window = CongestionWindow(6)
    window.on_queue_full(4, now=1.0)
    for _ in range(4):
        window.on_answer()
    assert 4.8 < window.limit <= 5
    for _ in range(100):
        window.on_answer()
    assert window.limit == 6


def test_one_is_always_tried_after_a_pause_that_grows_up_to_a_second() -> None:
    window = CongestionWindow(32)
    now, pauses = 1.0, []
    for _ in range(12):
        window.on_queue_full(0, now)
        pauses.append(round(window.resume - now, 6))
        now = window.resume
    assert window.limit == 1
    assert pauses[:3] == [0.01, 0.02, 0.04]
    assert pauses[-1] == 1.0


def test_those_refused_together_pause_once_and_an_answer_ends_the_pause() -> None:
    window = CongestionWindow(32)
    window.on_queue_full(5, now=1.0)
    resume = window.resume
    window.on_queue_full(4, now=1.001)
    assert window.resume == resume
    window.on_answer()
    assert window.resume == 0
