"""From a trained student's tensors to what other runtimes take: an ONNX graph, a C header."""

from .graph import to_onnx
from .header import to_c

__all__ = ["to_c", "to_onnx"]
