"""Floats with the shortest text that identifies them: 0.1, not 0.10000000149011612."""

from typing import Any

import numpy as np
import orjson

Array = np.ndarray[Any, Any]


def shortest(array: Array) -> Array:
    """The float64 numbers whose shortest decimal text is that of the given floats.

    Args:
        array: of any shape and floating point dtype; NaN and infinity are kept.
    """
    if array.dtype.itemsize >= np.dtype(np.float64).itemsize:
        return array.astype(np.float64)
    native = array.astype(array.dtype.newbyteorder("=")).ravel()
    text = orjson.dumps(native, option=orjson.OPT_SERIALIZE_NUMPY)
    short = np.array(orjson.loads(text), np.float64).reshape(array.shape)
    # JSON has neither NaN nor infinity.
    return np.where(np.isfinite(array), short, array)
