"""How many requests may be under way when a queue refuses some."""

from sire.client.pipeline.congestion import CongestionWindow


def test_as_many_are_under_way_as_were_not_refused():
    pace = CongestionWindow(32)
    assert pace.limit == 32
    for accepted in range(31, 3, -1):  # 32 were sent at once, and 4 had a place
        pace.refused(accepted, now=1.0)
    assert pace.limit == 4


def test_answers_let_it_grow_by_one_a_round_up_to_the_most():
    pace = CongestionWindow(6)
    pace.refused(4, now=1.0)
    for _ in range(4):
        pace.answered()
    assert 4.8 < pace.limit <= 5
    for _ in range(100):
        pace.answered()
    assert pace.limit == 6


def test_one_is_always_tried_after_a_pause_that_grows_up_to_a_second():
    pace = CongestionWindow(32)
    now, pauses = 1.0, []
    for _ in range(12):
        pace.refused(0, now)
        pauses.append(round(pace.resume - now, 6))
        now = pace.resume
    assert pace.limit == 1
    assert pauses[:3] == [0.01, 0.02, 0.04]
    assert pauses[-1] == 1.0


def test_those_refused_together_pause_once_and_an_answer_ends_the_pause():
    pace = CongestionWindow(32)
    pace.refused(5, now=1.0)
    resume = pace.resume
    pace.refused(4, now=1.001)
    assert pace.resume == resume
    pace.answered()
    assert pace.resume == 0
