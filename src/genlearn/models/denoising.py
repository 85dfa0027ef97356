"""The denoising autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from genlearn._types import Nets
from genlearn.maths.corruption import CORRUPTIONS, NoiseName, check_level
from genlearn.maths.rng import Rng
from genlearn.models.autoencoding import Autoencoding, AutoencodingNets
from genlearn.parameters import Range


@dataclass(kw_only=True, eq=False, repr=False)
class DenoisingAutoencoder(Autoencoding):
    """Denoising autoencoder: r(x~) = g(f(x~)) must give x back from x~, x with noise: the least E loss(x, r(x~)).

    `denoise` gives r of images. The noise is Gaussian, masking (pixels to 0) or salt and pepper (pixels to 0 or 1), or
    any `corruption`, a function (x [B, d], rng) -> x~ that draws from rng alone (`genlearn.maths.normal`, `coins` ...).

    The best r is E[x | x~]. Of Gaussian noise and mse, (r(x~) - x~) / sigma^2 is therefore the slope of the log-density
    of noisy images, `smoothed_score` (Vincent 2011; Alain and Bengio 2014). A narrow code gives only what of it passes.

    Vincent et al. 2008, 2010. Sampling as `Autoencoder`: by a density of codes that is added at the end.
    """

    noise: Annotated[NoiseName, "what the encoder is shown"] = "gaussian"
    level: Annotated[float, Range(0), "standard deviation of the noise, or the share of pixels that it hits"] = 0.3
    corruption: Annotated[Callable[[Tensor, Rng], Tensor] | None, "noise of your own: (x [B, d], rng) -> [B, d]"] = None

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Vincent et al. 2008"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "n_latent": 3, "n_components": 3, "epochs": 2}
    }

    def check_parameters(self) -> None:
        """As everywhere; and that a share is one."""
        super().check_parameters()
        check_level(self.noise, self.level)

    def _input(self, x: Tensor, rng: Rng) -> Tensor:
        if self.corruption is not None:
            return self.corruption(x, rng)
        return CORRUPTIONS[self.noise](x, self.level, rng)

    def _denoise(self, nets: AutoencodingNets, x: Tensor) -> Tensor:
        return self._decode(nets, self._encode(nets, x))

    @available_if(
        lambda self: self.corruption is None and self.noise == "gaussian" and self.loss == "mse" and self.level
    )
    def smoothed_score(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """(r(x) - x) / sigma^2, the slope of log p of images with the noise of training, at X: of the shape of X.

        In nats for a unit of x (bytes are x / 255 inside). Of Gaussian noise and mse.
        """
        given: Any = self._nets(nets)

        def slope(x: Tensor) -> Tensor:
            return (self._denoise(given, x).view_as(x) - x) / self.level**2

        values = self._blocks(slope, self._read(X), given).view(-1, *self.border_.shape)
        return self.border_.answer(values)
