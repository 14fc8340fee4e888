"""Health, readiness and metrics over HTTP."""

from tests.gateway.serving import Serving


def test_the_health_is_the_daemons(served: Serving) -> None:
    answer = served.get("/health")
    assert answer.status == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["models"] == 2


def test_the_gateway_lives_and_is_ready_for_any_model(served: Serving) -> None:
    assert served.get("/health/live").json() == {"status": "ok"}
    assert served.get("/health/ready").json()["ready"] is True


def test_metrics_count_what_was_asked_here(served: Serving) -> None:
    served.post("/models/twice/predict", [[1, 2, 3, 4]])
    answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert b'sire_inference_requests_total{device="cpu",model="twice",outcome="ok"}' in answer.body
