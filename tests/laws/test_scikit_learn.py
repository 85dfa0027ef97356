"""scikit-learn's own checks, for every model of rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from genlearn import registry
from genlearn.models.rbm import RBM

NAMES = [entry.name for entry in registry.models()]
SMALL = {
    "rbm": {"n_hidden": 8, "n_gibbs": 2},
    "conditional-rbm": {"n_hidden": 8, "n_gibbs": 2},
    "bm": {"n_hidden": 3, "n_chains": 10, "n_gibbs": 2},
    "stacked-rbm": {"hidden": (16,), "pretrain_epochs": 2, "epochs": 60, "learning_rate": 0.01},
    "dbn": {"hidden": (8, 6), "pretrain_epochs": 1, "n_gibbs": 2},
    "dbm": {"hidden": (8, 6), "pretrain_epochs": 1, "n_chains": 10, "n_gibbs": 2, "fine_tune": 1},
    "deep-autoencoder": {"hidden": (8,), "n_latent": 2, "pretrain_epochs": 1},
    "vae": {"hidden": (8,)},
    "gan": {"hidden": (8,), "hidden_d": (8,)},
}

EXPECTED = {"stacked-rbm": {"check_classifiers_classes": "its classes are -1 and 1, but -1 means unknown here"}}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_check_estimator(name, precision):
    model = registry.model(name)(**{"epochs": 2, "device": "cpu", "precision": precision, **SMALL.get(name, {})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data lie outside [0, 1]
        results = check_estimator(model, on_skip=None, on_fail=None, expected_failed_checks=EXPECTED.get(name, {}))
    assert sum(r["status"] == "passed" for r in results) > 30
    assert {r["status"] for r in results} <= {"passed", "skipped", "xfail"}
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(EXPECTED.get(name, {}))


def test_grid_search_and_pipelines(digits):
    search = GridSearchCV(RBM(epochs=20, random_state=0), {"n_hidden": [2, 12]}, cv=3).fit(digits[:600])
    assert search.best_params_ == {"n_hidden": 12}
    pipeline = make_pipeline(MinMaxScaler(), RBM(n_hidden=9, epochs=1, random_state=0))
    codes = pipeline.fit_transform(digits[:100])
    assert codes.shape == (100, 9)
    assert np.isfinite(codes).all()
    assert list(pipeline[-1].get_feature_names_out()[:2]) == ["rbm0", "rbm1"]
