"""What ONNX files alone have: options, names, weights in files beside them, optimised graphs."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from sire.errors import InvalidInput, InvalidModel, LoadFailed
from sire.protocol.content import JSON, Payload
from sire.spec import ImageOptions, Signature, format_tensors, parse_tensor
from sired.codecs import decode
from sired.codecs.check import check
from sired.runtimes.base import ModelCacheDirectory
from sired.runtimes.discovery import find_runtime
from sired.runtimes.onnx.runtime import OnnxModel, OnnxRuntime
from sired.store.formats import recognise
from tests.contract.runtime_cases import write_onnx, write_onnx_with_weights_beside
from tests.contract.tiny_graphs import write_graph, write_network

DATA = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def onnx() -> OnnxRuntime:
    runtime = find_runtime("onnx")
    assert isinstance(runtime, OnnxRuntime)
    return runtime


def test_inputs_of_the_wrong_names_are_answered_with_the_right_ones(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidInput, match="inputs are x"):
        onnx.predict(onnx.load(str(tmp_path / "m")), {"z": DATA})


@pytest.mark.parametrize("data", [np.zeros((2, 5), np.float32), np.zeros(4, np.float32)])
def test_a_wrong_shape_is_invalid_input(
    onnx: OnnxRuntime, tmp_path: Path, data: NDArray[Any]
) -> None:
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidInput, match="x"):
        onnx.predict(onnx.load(str(tmp_path / "m")), data)


def test_whole_numbers_are_not_bent_to_fit(onnx: OnnxRuntime, tmp_path: Path) -> None:
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidInput, match=r"tensor\(float\)"):
        onnx.predict(onnx.load(str(tmp_path / "m")), np.array([[True, False, True, False]] * 2))


def test_weights_beside_the_file_count_under_whatever_name(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    write_onnx_with_weights_beside(tmp_path / "m")
    graph, weights = (tmp_path / "m").stat().st_size, (tmp_path / "kept elsewhere").stat().st_size
    assert weights >= 16
    found = recognise(tmp_path / "m").weight_bytes
    assert found == graph + weights
    model = onnx.load(str(tmp_path / "m"), weight_bytes=found)
    assert onnx.get_memory_footprint(model) == graph + weights


def test_weights_that_are_gone_are_missed_when_it_is_registered(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    write_onnx_with_weights_beside(tmp_path / "m")
    (tmp_path / "kept elsewhere").unlink()
    with pytest.raises(InvalidModel, match="kept elsewhere"):
        recognise(tmp_path / "m")
    with pytest.raises(InvalidModel):
        onnx.load(str(tmp_path / "m"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_onnx_runtime_cannot_use_is_said_and_not_passed_over(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    write_onnx(tmp_path / "m")
    with pytest.raises(LoadFailed, match="CUDA"):
        onnx.load(str(tmp_path / "m"), device="cuda:0")


# What a session can be told


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"intra_op_threads": 2}, "Did you mean intra_op_num_threads"),
        ({"graph_optimization_level": "most"}, "basic"),
        ({"intra_op_num_threads": 0}, ">= 1"),
        ({"allow_spinning": "yes"}, "true or false"),
        ({"provider_options": {"gpu_memory_limit": 1}}, "Did you mean gpu_mem_limit"),
    ],
)
def test_an_option_that_there_is_not_is_refused_with_the_nearest(
    onnx: OnnxRuntime, tmp_path: Path, argument: dict[str, Any], said: str
) -> None:
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidModel) as caught:
        onnx.load(str(tmp_path / "m"), **argument)
    assert next(iter(argument)).split("_")[0] in str(caught.value)
    assert said in str(caught.value)


OPTIONS: dict[str, dict[str, Any]] = {
    "threads": {"intra_op_num_threads": 1, "inter_op_num_threads": 2, "execution_mode": "parallel"},
    "level": {"graph_optimization_level": "basic"},
    "memory": {
        "enable_cpu_mem_arena": True,
        "enable_mem_pattern": False,
        "enable_mem_reuse": False,
    },
    "others": {"use_deterministic_compute": True, "allow_spinning": True},
    "cuda": {"provider_options": {"gpu_mem_limit": 1 << 30, "use_tf32": False}},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_it_answers_the_same_however_its_session_is_made(
    onnx: OnnxRuntime, tmp_path: Path, options: dict[str, Any]
) -> None:
    write_onnx(tmp_path / "m")
    model = onnx.load(str(tmp_path / "m"), **options)
    assert np.array_equal(onnx.predict(model, DATA), 2 * DATA)


def test_a_session_is_made_as_it_was_said(onnx: OnnxRuntime, tmp_path: Path) -> None:
    write_onnx(tmp_path / "m")
    said = onnx.load(str(tmp_path / "m"), **OPTIONS["threads"]).session.get_session_options()
    assert (said.intra_op_num_threads, said.inter_op_num_threads) == (1, 2)
    assert said.execution_mode.name == "ORT_PARALLEL"


# Inputs and outputs


def answered(onnx: OnnxRuntime, path: Path, data: Any) -> Any:
    """Predict as a worker does: what is given is held against the signature first."""
    model = onnx.load(str(path))
    return onnx.predict(model, check(data, onnx.signature(model)))


def test_several_inputs_and_outputs_go_by_their_names(onnx: OnnxRuntime, tmp_path: Path) -> None:
    write_graph(
        tmp_path / "m",
        [("Add", ["a", "b"], ["sum"]), ("Sub", ["a", "b"], ["difference"])],
        inputs={"a": "float32[n,2]", "b": "float32[n,2]"},
        outputs={"sum": "float32[n,2]", "difference": "float32[n,2]"},
    )
    one, other = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
    for data in ({"b": other, "a": one}, [one, other], (one, other)):
        answer = answered(onnx, tmp_path / "m", data)
        assert np.array_equal(answer["sum"], one + other)
        assert np.array_equal(answer["difference"], one - other)
    with pytest.raises(InvalidInput, match=r"a float32\[N, 2\], b float32\[N, 2\]"):
        answered(onnx, tmp_path / "m", {"a": one})


def test_free_axes_take_any_length_and_the_others_only_theirs(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    shape = "float32[n,4,width]"
    write_graph(tmp_path / "m", [("Neg", ["x"], ["y"])], {"x": shape}, {"y": shape})
    signature = onnx.signature(onnx.load(str(tmp_path / "m")))
    assert signature.inputs[0].shape == signature.outputs[0].shape == (-1, 4, -1)
    for given in ((1, 4, 3), (5, 4, 1), (2, 4, 0)):
        data = np.ones(given, np.float32)
        assert np.array_equal(answered(onnx, tmp_path / "m", data), -data)
    with pytest.raises(InvalidInput, match=r"float32\[N, 4, N\]"):
        answered(onnx, tmp_path / "m", np.ones((1, 5, 3), np.float32))


def test_strings_go_in_and_out(onnx: OnnxRuntime, tmp_path: Path) -> None:
    write_graph(
        tmp_path / "m", [("Identity", ["x"], ["y"])], {"x": "string[n]"}, {"y": "string[n]"}
    )
    assert onnx.signature(onnx.load(str(tmp_path / "m"))).inputs[0].dtype == "string"
    answer = answered(onnx, tmp_path / "m", ["Grüße", ""])
    assert answer.tolist() == ["Grüße", ""]
    with pytest.raises(InvalidInput, match=r"string\[N\]"):
        answered(onnx, tmp_path / "m", np.array([1, 2]))


def test_half_precision_takes_numbers_of_single_precision_that_it_can_hold(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    write_graph(tmp_path / "m", [("Neg", ["x"], ["y"])], {"x": "float16[n]"}, {"y": "float16[n]"})
    for given in (np.array([0.5, 3], np.float32), [0.5, 3.0], np.array([0.5, 3], np.float64)):
        answer = answered(onnx, tmp_path / "m", given)
        assert answer.dtype == np.float16
        assert answer.tolist() == [-0.5, -3]
    with pytest.raises(InvalidInput, match="the largest float16"):
        answered(onnx, tmp_path / "m", np.array([1e6], np.float32))


def test_what_numpy_has_no_numbers_for_is_refused_when_it_is_loaded(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    shape = "bfloat16[n]"
    write_graph(tmp_path / "m", [("Identity", ["x"], ["y"])], {"x": shape}, {"y": shape})
    with pytest.raises(InvalidModel, match="x as tensor"):
        onnx.load(str(tmp_path / "m"))


def test_an_answer_that_is_a_list_is_given_as_one(onnx: OnnxRuntime, tmp_path: Path) -> None:
    write_graph(
        tmp_path / "m",
        [("SplitToSequence", ["x"], ["y"])],
        {"x": "float32[n,2]"},
        {"y": "seq(float32)"},
    )
    model = onnx.load(str(tmp_path / "m"))
    answer = onnx.predict(model, np.ones((2, 2), np.float32))
    assert [row.tolist() for row in answer] == [[[1, 1]], [[1, 1]]]
    assert onnx.signature(model).outputs == ()


def answered_json(onnx: OnnxRuntime, path: Path, data: Any, declared: Sequence[str] = ()) -> Any:
    """Predict on JSON as a worker does, with inputs that the user declared."""
    model = onnx.load(str(path))
    by_user = Signature(tuple(map(parse_tensor, declared)))
    signature = by_user.completed_by(onnx.signature(model))
    payload = Payload(JSON, (json.dumps(data).encode(),))
    return onnx.predict(model, decode(payload, signature, ImageOptions()))


def in_process(path: Path, **given: Any) -> Any:
    return onnxruntime.InferenceSession(str(path)).run(None, given)[0].tolist()


def test_an_input_of_unknown_rank_takes_what_onnx_runtime_takes(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(tmp_path / "m"))
    inputs: list[Any] = [1.5, [1, 2.5], [[1.0], [2.0]], [[[]]]]
    for data in inputs:
        expected = in_process(tmp_path / "m", x=np.array(data, np.float32))
        assert answered_json(onnx, tmp_path / "m", data).tolist() == expected
    fixed = {"declared": ["float32[-1,1]"]}
    assert answered_json(onnx, tmp_path / "m", [[1.0], [2.0]], **fixed).tolist() == [[2], [4]]
    with pytest.raises(InvalidInput, match=r"float32\[N, 1\]"):
        answered_json(onnx, tmp_path / "m", [[1.0, 2.0]], **fixed)


def test_an_input_with_a_default_can_be_left_out(onnx: OnnxRuntime, tmp_path: Path) -> None:
    from onnx import numpy_helper

    write_graph(
        tmp_path / "m",
        [("Mul", ["x", "gain"], ["y"])],
        {"x": "float32[n]", "gain": "float32[1]"},
        {"y": "float32[n]"},
        [numpy_helper.from_array(np.array([7], np.float32), "gain")],
    )
    assert answered_json(onnx, tmp_path / "m", [1, 2]).tolist() == [7, 14]
    assert answered_json(onnx, tmp_path / "m", {"x": [1, 2]}).tolist() == [7, 14]
    assert answered_json(onnx, tmp_path / "m", {"x": [1, 2], "gain": [5]}).tolist() == [5, 10]
    signature = onnx.signature(onnx.load(str(tmp_path / "m")))
    assert format_tensors(signature.inputs) == "x:float32[-1], gain:float32[1] (optional)"


def test_an_optional_input_is_none_where_it_is_left_out(onnx: OnnxRuntime, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"]))
    nodes = [
        helper.make_node("OptionalHasElement", ["o"], ["there"]),
        helper.make_node("Cast", ["there"], ["added"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "added"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x, helper.make_value_info("o", kind)], [y])
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(tmp_path / "m"))
    for data, expected in (
        ([1, 2], [1, 2]),
        ({"x": [1, 2], "o": None}, [1, 2]),
        ({"x": [1, 2], "o": [5]}, [2, 3]),
    ):
        assert answered_json(onnx, tmp_path / "m", data).tolist() == expected


def test_a_list_of_arrays_is_an_input(onnx: OnnxRuntime, tmp_path: Path) -> None:
    write_graph(
        tmp_path / "m",
        [("ConcatFromSequence", ["s"], ["y"], {"axis": 0})],
        {"s": "seq(float32)"},
        {"y": "float32[n]"},
    )
    for data in ([[1, 2], [3]], {"s": [[1, 2], [3]]}):
        assert answered_json(onnx, tmp_path / "m", data).tolist() == [1, 2, 3]
    model = onnx.load(str(tmp_path / "m"))
    arrays = [np.array([1.5], np.float32), np.array([2.5], np.float32)]
    assert onnx.predict(model, check(arrays, onnx.signature(model))).tolist() == [1.5, 2.5]


def test_a_constant_stands_for_an_input(onnx: OnnxRuntime, tmp_path: Path) -> None:
    shapes = {"x": "float32[n]", "gain": "float32[k]"}
    write_graph(tmp_path / "m", [("Mul", ["x", "gain"], ["y"])], shapes, {"y": "float32[n]"})
    declared = {"declared": ["gain:float32[1]=3"]}
    assert answered_json(onnx, tmp_path / "m", [1.0, 2], **declared).tolist() == [3, 6]
    asked = {"x": [1, 2], "gain": [4]}
    assert answered_json(onnx, tmp_path / "m", asked, **declared).tolist() == [4, 8]
    with pytest.raises(InvalidModel, match="gain:float32"):
        answered_json(onnx, tmp_path / "m", [1.0], declared=["x:float32[-1]"])


# Weights in other files


def test_weights_beside_a_file_that_is_a_link_are_found_where_it_leads(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    write_onnx_with_weights_beside(tmp_path / "blobs" / "1")
    (tmp_path / "blobs" / "kept elsewhere").rename(tmp_path / "blobs" / "2")
    (tmp_path / "snapshot" / "m").symlink_to("../blobs/1")
    (tmp_path / "snapshot" / "kept elsewhere").symlink_to("../blobs/2")
    path = tmp_path / "snapshot" / "m"
    assert recognise(path).weight_bytes > path.stat().st_size
    assert np.array_equal(onnx.predict(onnx.load(str(path)), DATA), 2 * DATA)


def test_weights_outside_of_the_directory_are_refused_by_whatever_way(
    onnx: OnnxRuntime, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    write_onnx_with_weights_beside(tmp_path / "home" / "m")
    (tmp_path / "home" / "kept elsewhere").rename(tmp_path / "secret")
    (tmp_path / "home" / "kept elsewhere").symlink_to("../secret")
    with pytest.raises(InvalidModel, match="outside of its directory"):
        recognise(tmp_path / "home" / "m")
    with pytest.raises(InvalidModel, match="escapes"):
        onnx.load(str(tmp_path / "home" / "m"))


def test_weights_of_a_branch_and_of_a_constant_count_as_others_do(tmp_path: Path) -> None:
    import onnx

    weight = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.ClearField("raw_data")
    weight.external_data.add(key="location", value="branch.bin")
    other = onnx.TensorProto()
    other.CopyFrom(weight)
    other.external_data[0].value = "constant.bin"
    y = onnx.helper.make_tensor_value_info("y", 1, [4])
    constant = onnx.helper.make_node("Constant", [], ["y"], value=other)
    branches: dict[str, Any] = {
        "then_branch": onnx.helper.make_graph([], "then", [], [], [weight]),
        "else_branch": onnx.helper.make_graph([constant], "else", [], [y]),
    }
    node = onnx.helper.make_node("If", ["c"], ["y"], **branches)
    condition = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    graph = onnx.helper.make_graph([node], "g", [condition], [y])
    (tmp_path / "m").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    for name in ("branch.bin", "constant.bin"):
        with pytest.raises(InvalidModel, match=name):
            recognise(tmp_path / "m")
        (tmp_path / name).write_bytes(bytes(16))
    assert recognise(tmp_path / "m").weight_bytes == (tmp_path / "m").stat().st_size + 32


# Graphs that were optimised before


@pytest.fixture
def cache_directory(onnx: OnnxRuntime, tmp_path: Path) -> Path:
    """Where the runtime keeps graphs, and what it loads from there."""
    onnx.cache_directory = ModelCacheDirectory(tmp_path / "cache" / "m", "one content")
    return onnx.cache_directory.directory


def kept_files(directory: Path) -> dict[str, Path]:
    return {file.name: file for file in directory.glob("*/*")}


@pytest.fixture
def network(tmp_path: Path) -> str:
    """A convolution, which is laid out anew for the processor, of more than 1 MiB."""
    write_network(tmp_path / "m")
    return str(tmp_path / "m")


PICTURE = np.random.default_rng(0).random((2, 64, 12, 12), np.float32)


def test_an_optimised_graph_is_kept_and_loaded_and_answers_the_same(
    onnx: OnnxRuntime, cache_directory: Path, network: str
) -> None:
    fresh = onnx.predict(onnx.load(network), PICTURE)
    files = kept_files(cache_directory)
    assert sorted(files) == ["contents.json", "graph.onnx", "weights.bin"]
    assert files["weights.bin"].stat().st_size > 1 << 20
    assert onnx.streams_files(network)
    written = files["graph.onnx"].stat().st_ino
    kept = onnx.load(network)
    assert onnx.signature(kept) == onnx.signature(onnx.load(network, graph_cache=False))
    assert np.array_equal(onnx.predict(kept, PICTURE), fresh)
    assert kept_files(cache_directory)["graph.onnx"].stat().st_ino == written
    assert [
        file.name for file in cache_directory.parent.parent.iterdir() if file.name != "cache"
    ] == ["m"]


@pytest.mark.parametrize("name", ["graph.onnx", "weights.bin", "contents.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_graph_is_passed_over_and_written_anew(
    onnx: OnnxRuntime, cache_directory: Path, network: str, name: str, how: str
) -> None:
    fresh = onnx.predict(onnx.load(network), PICTURE)
    file = kept_files(cache_directory)[name]
    whole = file.read_bytes()
    half = len(whole) // 2
    changed = whole[:half] + bytes([whole[half] ^ 0xFF]) + whole[half + 1 :]
    file.unlink() if how == "gone" else file.write_bytes(whole[:half] if how == "cut" else changed)
    assert np.array_equal(onnx.predict(onnx.load(network), PICTURE), fresh)
    again = kept_files(cache_directory)
    assert sorted(again) == ["contents.json", "graph.onnx", "weights.bin"]
    assert len(again[name].read_bytes()) == len(whole)
    assert onnx.streams_files(network)


def test_other_options_or_another_content_have_a_graph_of_their_own(
    onnx: OnnxRuntime, cache_directory: Path, network: str
) -> None:
    onnx.load(network)
    (first,) = cache_directory.iterdir()
    onnx.load(network, graph_optimization_level="basic")
    (second,) = cache_directory.iterdir()
    onnx.cache_directory = ModelCacheDirectory(cache_directory, "another content")
    onnx.load(network, graph_optimization_level="basic")
    (third,) = cache_directory.iterdir()
    assert len({first, second, third}) == 3


def test_graphs_are_kept_where_it_pays_or_is_wanted(
    onnx: OnnxRuntime, cache_directory: Path, network: str, tmp_path: Path
) -> None:
    write_onnx(tmp_path / "small")
    onnx.load(str(tmp_path / "small"))
    onnx.load(network, graph_cache=False)
    onnx.load(network, graph_optimization_level="disable", graph_cache=True)
    assert not cache_directory.exists()
    small = onnx.load(str(tmp_path / "small"), graph_cache=True)
    again = onnx.load(str(tmp_path / "small"), graph_cache=True)
    for model in (small, again):
        assert np.array_equal(onnx.predict(model, DATA), 2 * DATA)
    assert len(kept_files(cache_directory)) == 3


def test_a_place_that_takes_no_graph_keeps_no_model_from_loading(
    onnx: OnnxRuntime, cache_directory: Path, network: str
) -> None:
    cache_directory.parent.write_text("a file where the directory should be")
    assert onnx.predict(onnx.load(network), PICTURE).shape == (2, 64, 10, 10)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"CPUExecutionProvider": {}}, 4),
        ({"CUDAExecutionProvider": {"use_tf32": "1"}}, 3),
        ({"CUDAExecutionProvider": {"use_tf32": "0"}}, 4),
    ],
)
def test_a_graph_on_a_gpu_is_as_exact_as_its_options_let_it_be(
    options: dict[str, dict[str, str]], expected: int
) -> None:
    session: Any = SimpleNamespace(get_provider_options=lambda: options)
    assert OnnxRuntime().precision_bytes(OnnxModel(session, (), (), 0)) == expected


def test_a_graph_without_inputs_is_asked_with_nothing(onnx: OnnxRuntime, tmp_path: Path) -> None:
    from onnx import numpy_helper

    constant = numpy_helper.from_array(np.array([1, 2], np.float32), "c")
    write_graph(tmp_path / "m", [("Identity", ["c"], ["y"])], {}, {"y": "float32[2]"}, [constant])
    model = onnx.load(str(tmp_path / "m"))
    nothing: list[Any] = [{}, [], None, np.zeros(0)]
    for data in nothing:
        assert onnx.predict(model, data).tolist() == [1, 2]
    with pytest.raises(InvalidInput, match="takes no input"):
        onnx.predict(model, np.ones(1))
    with pytest.raises(InvalidInput, match="takes no input"):
        onnx.predict(model, {"x": np.ones(1)})
