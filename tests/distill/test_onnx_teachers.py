"""Teachers that are ONNX files give what stands in the file."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from retort.distill.teachers.foreign import ForeignTeacherError, load_teacher_file
from retort.sim.wrapped import WrappedEnv

from .foreign_models import ask, sequence

pytest.importorskip("onnxruntime")


def save_onnx(path, *, batch="batch", size=4, inputs=("obs",), element=TensorProto.FLOAT):
    """A layer of tanh, and its weights."""
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 2)).astype("f4"), rng.normal(size=2).astype("f4")
    nodes = [
        helper.make_node("MatMul", [inputs[0], "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["action"]),
    ]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(name, element, [batch, size]) for name in inputs],
        [helper.make_tensor_value_info("action", element, [batch, None if size is None else 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return torch.from_numpy(weight), torch.from_numpy(bias)


@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_onnx_files_give_their_output_and_the_stated_noise(tmp_path, batch):
    weight, bias = save_onnx(tmp_path / "policy.onnx", batch=batch)
    seen = sequence()
    teacher = load_teacher_file(tmp_path / "policy.onnx", noise_std=0.2)
    said = ask(teacher, seen)
    torch.testing.assert_close(said.distribution.mode(), torch.tanh(seen @ weight + bias))
    assert (said.distribution.std == 0.2).all()
    assert (teacher.observation_size, teacher.outputs) == (4, 2)


def test_onnx_files_may_give_logits(tmp_path):
    weight, bias = save_onnx(tmp_path / "policy.onnx")
    seen = sequence()
    env = WrappedEnv("CartPole-v1")
    teacher = load_teacher_file(tmp_path / "policy.onnx", discrete=True, temperature=0.5, env=env)
    said = ask(teacher, seen)
    expected = (torch.tanh(seen @ weight + bias) / 0.5).log_softmax(-1)
    torch.testing.assert_close(said.distribution.log_probs, expected)


@pytest.mark.parametrize("options", [{"discrete": True, "noise_std": 0.1}, {"temperature": 2.0}])
def test_onnx_options_that_do_nothing_are_refused(tmp_path, options):
    save_onnx(tmp_path / "policy.onnx")
    with pytest.raises(ForeignTeacherError, match=r"is .* and does nothing where discrete is"):
        load_teacher_file(tmp_path / "policy.onnx", **options)


def test_onnx_files_that_are_no_policy_say_why(tmp_path):
    path = tmp_path / "policy.onnx"
    save_onnx(path, inputs=("obs", "memory"))
    with pytest.raises(ForeignTeacherError, match=r"inputs obs .*memory .*without hidden state"):
        load_teacher_file(path)
    save_onnx(path, element=TensorProto.DOUBLE, size=4)
    with pytest.raises(ForeignTeacherError):
        load_teacher_file(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ForeignTeacherError, match="cannot read"):
        load_teacher_file(path)
