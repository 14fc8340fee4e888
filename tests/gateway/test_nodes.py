"""The paths of a host and its nodes, as an ordinary client of an orchestrator asks for them."""

import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Gate
from tests.gateway.serving import Serving, serving
from tests.waiting import wait_until

NODE = socket.gethostname()
RECORD = {
    *("model_name", "model_type", "size", "locations", "services", "status"),
    *("model_size", "model_hash", "stored_locations", "available_services", "metadata"),
    *("service_port", "last_accessed", "local_path", "integrity_hash"),
}


def get(served: Serving, path: str) -> Any:
    answer = requests.get(f"{served.url}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(served: Serving, path: str, **body: Any) -> requests.Response:
    return requests.post(f"{served.url}{path}", json=body, timeout=60)


def delete(served: Serving, path: str) -> requests.Response:
    return requests.delete(f"{served.url}{path}", timeout=60)


def locations(served: Serving) -> set[str]:
    return set(get(served, "/models/twice/locations")["locations"])


def test_models_have_the_fields_of_hosts_and_nodes(served: Serving) -> None:
    post(served, "/models/twice/serve")
    listed = get(served, "/models")
    assert listed["total_count"] == len(listed["models"]) == 2
    one = get(served, "/models/twice")
    assert one["model_name"] == "twice"
    assert set(one) == RECORD
    assert one["size"] > 0
    assert one["status"] == "serving"
    assert one["services"] == {f"{NODE}:dram": f"{served.url}/models/twice"}
    assert set(one["metadata"]) == {
        *("description", "tags", "created_at", "updated_at", "requirements"),
    }
    assert set(one["metadata"]["requirements"]) == {"min_memory", "min_vram", "gpu_arch"}
    assert requests.get(f"{served.url}/models/none", timeout=60).status_code == 404


def test_a_model_is_loaded_and_unloaded_where_it_is_said(served: Serving) -> None:
    delete(served, "/models/twice/serve")
    assert locations(served) == {f"{NODE}:disk"}
    assert get(served, "/models/twice/services")["services"] == {}
    added = post(served, "/models/twice/locations", device="dram")
    assert added.json()["locations"] == [f"{NODE}:disk", f"{NODE}:dram"]
    assert list(get(served, "/models/twice/services")["services"]) == [f"{NODE}:dram"]
    assert delete(served, "/models/twice/locations/dram").status_code == 200
    assert locations(served) == {f"{NODE}:disk"}
    assert delete(served, "/models/twice/locations/dram").status_code == 404
    moved = post(
        served, "/models/twice/move", from_device="disk", to_device=f"{NODE}:dram", keep_source=True
    )
    assert moved.status_code == 200
    assert delete(served, "/models/twice?device=dram").status_code == 200
    assert locations(served) == {f"{NODE}:disk"}


def test_a_model_is_served_on_the_port_of_the_gateway(served: Serving) -> None:
    answer = post(served, "/models/twice/serve", port=served.port, device="dram")
    assert answer.json()["status"] == "serving"
    (url,) = get(served, "/models/twice/serve/status")["services"].values()
    assert requests.post(f"{url}/predict", json=[[1, 2, 3, 4]], timeout=60).json() == [[2, 4, 6, 8]]
    assert delete(served, "/models/twice/serve").status_code == 200
    assert get(served, "/models/twice/serve/status")["status"] == "available"


def test_space_and_nodes_and_their_health_are_told(served: Serving) -> None:
    space = get(served, "/storage")
    assert {"disk", "dram"} <= set(space)
    for one in space.values():
        assert set(one) == {"total", "used", "available"}
        assert 0 <= one["available"] <= one["total"]
    (node,) = get(served, "/nodes")["nodes"]
    assert (node["name"], node["status"]) == (NODE, "healthy")
    assert {"capabilities", "storage", "load"} <= set(node)
    status = get(served, "/status")
    assert set(status) == {"storage", "services", "nodes"}
    assert status["nodes"] == {NODE: "healthy"}
    assert get(served, "/health")["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/models/twice/register", {"model_type": "llm", "source_url": "x"}, 403),
        ("POST", "/models/twice/download", {"source": "web", "target_device": "disk"}, 501),
        ("POST", "/models/twice/services", {"target_nodes": ["a"], "port": 80}, 501),
        ("DELETE", "/models/twice/services/a", None, 501),
        ("POST", "/models/twice/serve", {"port": 1}, 501),
        ("POST", "/models/twice/serve", {"config": {"timeout": 3}}, 501),
        ("DELETE", "/models/twice", None, 501),
        ("DELETE", "/models/twice/locations/disk", None, 501),
        ("POST", "/jobs/mine/create", {}, 501),
        ("POST", "/models/twice/locations", {"device": "other:gpu0"}, 404),
        ("POST", "/models/twice/locations", {"device": "gpu9"}, 404),
        ("POST", "/models/twice/move", {"from_device": "gpu9", "to_device": "dram"}, 400),
        ("POST", "/models/twice/move", {"from_device": "disk"}, 400),
        ("POST", "/models/none/locations", {"device": "dram"}, 404),
    ],
)
def test_what_is_not_possible_is_refused_by_name(
    served: Serving, method: str, path: str, body: Any, code: int
) -> None:
    answer = requests.request(method, f"{served.url}{path}", json=body, timeout=60)
    assert answer.status_code == code, answer.text
    assert answer.json()["error"]["message"]
    assert served.home.json("show", "twice")["model"]["name"] == "twice"


def test_a_job_is_told_of_and_cancelled(served: Serving, gate: Gate) -> None:
    served.home.sire("submit", "moody", "-i", "-", stdin=b"[[5, 0, 0, 0]]")
    waits = served.home.sire("submit", "moody", "-i", "-", stdin=b"[[5, 0, 0, 0]]")
    job = waits.stdout.decode().strip()
    assert get(served, f"/jobs/{job}/status")["status"] in {"pending", "queued"}
    assert post(served, f"/jobs/{job}/cancel").json() == {"job_id": job, "status": "failed"}
    assert get(served, f"/jobs/{job}/status")["error"] == "The job was cancelled."
    assert requests.get(f"{served.url}/jobs/none/status", timeout=60).status_code == 404
    gate.open()
    wait_until(
        lambda: (
            requests.get(f"{served.url}/api/stats", timeout=60).json()["queue"]["by_status"][
                "running"
            ]
            == 0
        )
    )


def test_a_key_that_may_only_predict_reads_but_changes_nothing(
    served: Serving, tmp_path: Path
) -> None:
    home, file = served.home, tmp_path / "keys.json"
    key = home.sire("key", "add", "reader", "--file", file).stdout.decode().strip()
    with serving(home, "--keys", str(file)) as running:
        headers = {"Authorization": f"Bearer {key}"}
        shown = requests.get(f"{running.url}/models/twice", headers=headers, timeout=60)
        assert shown.json()["local_path"] is None
        for method, path, body in CHANGES:
            refused = requests.request(
                method, f"{running.url}{path}", json=body, headers=headers, timeout=60
            )
            assert refused.status_code == 403, path


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/models/twice/locations", {"device": "dram"}),
    ("DELETE", "/models/twice/locations/dram", None),
    ("POST", "/models/twice/move", {"from_device": "disk", "to_device": "dram"}),
    ("POST", "/models/twice/serve", {}),
    ("DELETE", "/models/twice/serve", None),
    ("DELETE", "/models/twice?device=dram", None),
]
