"""The shapes that annotations state are checked while the tests run, and cost users nothing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import get_args, get_origin, get_type_hints

import pytest
import torch
from jaxtyping import TypeCheckError

from genlearn.losses import importance_bound, kl_standard_normal, nce
from genlearn.maths import log_z_exact
from genlearn.maths.rng import make_rng, normal
from genlearn.nets import NormalPrior
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.samplers import rbm_chain
from processes import CONTEXT, count_of_test_tools
from shapes import KINDS

A, B = torch.zeros(6), torch.zeros(4)
RBM = RestrictedBoltzmann(6, 4, make_rng(0))
BAD = {
    "a transposed argument": ("log_var", lambda: kl_standard_normal(torch.zeros(6, 4), torch.zeros(4, 6))),
    "an axis too few": ("log_w", lambda: importance_bound(A)),
    "a column that would be broadcast": ("log_n_data", lambda: nce(A, A[:, None], B, B, 1.0)),
    "weights the wrong way round": ("a", lambda: log_z_exact(torch.zeros(4, 6), A, B)),
    "integers": ("h", lambda: RBM.energy(A[None], torch.ones(1, 4, dtype=torch.int64))),
    "a chain that knows other pixels": ("known", lambda: rbm_chain(RBM, A[None], make_rng(0), torch.ones(1, 4) > 0)),
}


@pytest.mark.parametrize(("name", "call"), BAD.values(), ids=BAD)
def test_a_wrong_shape_is_named(name, call):
    with pytest.raises(TypeCheckError, match=f"parameter '{name}'"):
        call()


def test_what_is_returned_is_checked(monkeypatch):
    monkeypatch.setattr("genlearn.nets.priors.normal", lambda shape, *_: normal(shape[::-1], make_rng(0)))
    with pytest.raises(TypeCheckError, match="the return value"):
        NormalPrior(3).draw(5, make_rng(0))


def test_a_chain_keeps_no_graph():
    v, mean = next(rbm_chain(RBM, A[None], make_rng(0)))
    assert not v.requires_grad and not mean.requires_grad


@pytest.mark.parametrize("package", ["maths", "nets", "losses", "samplers"])
def test_every_public_tensor_states_its_shape(package):
    public = importlib.import_module(f"genlearn.{package}")
    for name in public.__all__:
        value = getattr(public, name)
        methods = [f for key, f in vars(value).items() if key[0] != "_"] if inspect.isclass(value) else [value]
        for f in methods:
            f = getattr(f, "fget", f)
            if inspect.isfunction(f) and f.__module__.startswith("genlearn"):
                hints = get_type_hints(f, localns=KINDS)
                hints = {k: t for k, t in hints.items() if get_origin(t) is not Callable}
                bare = [k for k, t in hints.items() if torch.Tensor in (t, *get_args(t))]
                assert not bare, f"{f.__qualname__}: {bare} has no shape"


def test_users_need_none_of_it():
    process = CONTEXT.Process(target=count_of_test_tools)
    process.start()
    process.join()
    assert process.exitcode == 0
