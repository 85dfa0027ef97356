"""Types of tensors that state the shape, Float[Tensor, "B D"]: names of axes, ... for any number of them, "" a scalar.

They are plain `Annotated`: they cost nothing, and need nothing. The notation is that of jaxtyping, by which our tests
check every call (tests/shapes.py); an axis has one length within a call.
"""

from __future__ import annotations

from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Int

__all__ = ["Bool", "Float", "Int"]
