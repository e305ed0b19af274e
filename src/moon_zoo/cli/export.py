"""`moon-zoo export`: a checkpoint as ONNX or torch.export."""

from __future__ import annotations

summary = "a checkpoint as ONNX or torch.export"
