"""The model of CONTRIBUTING.md, as it stands there."""

from __future__ import annotations

import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
from sklearn.utils.estimator_checks import check_estimator

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def test_it_trains_saves_and_passes_the_checks(digits, tmp_path):
    module = types.ModuleType("sparse")
    sys.modules["sparse"] = module
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], module.__dict__)
    Sparse = module.SparseAutoencoder
    model = Sparse(epochs=30, random_state=0).fit(digits)
    error = np.square(model.inverse_transform(model.transform(digits)) - digits).mean()
    assert error < 0.4 * digits.var(0).mean()
    assert np.array_equal(Sparse.load(model.save(tmp_path)).transform(digits), model.transform(digits))
    assert ((model.transform(digits) != 0).sum(1) == 10).all()
    assert not hasattr(model, "sample")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data lie outside [0, 1]
        check_estimator(Sparse(epochs=1, device="cpu"), on_skip=None)
