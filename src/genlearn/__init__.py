"""Deep generative models of images: Boltzmann machines, autoencoders and adversarial nets under one contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from genlearn.models.gan import GAN as GAN
    from genlearn.models.rbm import RBM as RBM
    from genlearn.models.vae import VAE as VAE


def __getattr__(name: str) -> Any:
    # Models are imported when they are asked for: `import genlearn` stays fast.
    if name[0].isupper():
        for entry in import_module("genlearn.registry").models():
            if entry.class_name == name:
                return entry.load()
    raise AttributeError(f"module 'genlearn' has no attribute {name!r}")
