from typing import Any

from numpy.typing import NDArray

def check_is_fitted(estimator: Any, attributes: str | None = None) -> None: ...
def column_or_1d(y: Any, *, warn: bool = False) -> NDArray[Any]: ...
def validate_data(
    estimator: Any,
    X: Any,
    *,
    reset: bool = True,
    skip_check_array: bool = False,
    allow_nd: bool = False,
    ensure_2d: bool = True,
    ensure_all_finite: bool = True,
    ensure_min_samples: int = 1,
    dtype: Any = "numeric",
) -> NDArray[Any]: ...
def check_array(X: Any, *, allow_nd: bool = False, ensure_all_finite: bool = True) -> NDArray[Any]: ...
