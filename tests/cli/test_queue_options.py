"""What the command line can say about queues, and that it reaches them."""


def test_a_priority_is_given_per_request_or_per_model_and_a_wrong_one_is_usage(home, register):
    register("m", 2, "Scale", "--priority", "low")
    assert home.json("show", "m")["model"]["priority"] == "low"
    answer = home.sire("predict", "m", "-i", "-", "--priority", "high", stdin=b"[1, 2, 3, 4]")
    assert answer.stdout == b"[2.0,4.0,6.0,8.0]\n"
    wrong = home.sire("predict", "m", "-i", "-", "--priority", "urgent", stdin=b"[1]", code=2)
    assert b"high, normal, low" in wrong.stderr
