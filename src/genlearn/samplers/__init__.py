"""Chains: iterators that yield states, endlessly; persistent states, which training keeps; solvers of ODEs."""

from genlearn.samplers.gibbs import after, bit_chain, bm_chain, dbm_chain, dbm_start, from_hidden, rbm_chain, settle
from genlearn.samplers.langevin import langevin_chain
from genlearn.samplers.ode import Field, Solver, adaptive, solve, transport
from genlearn.samplers.persistent import Chains, from_chains
from genlearn.samplers.tangent import tangent_chain
from genlearn.samplers.tempering import from_tempered_chains, tempered_chain
from genlearn.samplers.walkback import gsn_chain

__all__ = [
    "Chains",
    "Field",
    "Solver",
    "adaptive",
    "after",
    "bit_chain",
    "bm_chain",
    "dbm_chain",
    "dbm_start",
    "from_chains",
    "from_hidden",
    "from_tempered_chains",
    "gsn_chain",
    "langevin_chain",
    "rbm_chain",
    "settle",
    "solve",
    "tangent_chain",
    "tempered_chain",
    "transport",
]
