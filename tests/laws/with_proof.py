"""The command line of a registry that holds the model of `proof.py` too, as an installed package would add it."""

from genlearn import registry
from genlearn.cli import main

registry._MODELS["proof"] = "proof:Proof"
main()
