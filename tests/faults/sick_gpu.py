"""Makes CUDA's driver say that the first GPU is busy, and have a load fail there as CUDA would."""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

DRIVER = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) {
    return strcmp(getenv("CUDA_VISIBLE_DEVICES"), "GPU-1") ? 0 : 46;
}
int cuDeviceGet(int *device, int number) { return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return 0; }
int cuGetErrorString(int code, const char **words) {
    *words = "CUDA-capable device(s) is/are busy or unavailable";
    return 0;
}
"""

with tempfile.TemporaryDirectory() as directory:
    source, library = Path(directory, "cuda.c"), Path(directory, "cuda.so")
    source.write_text(DRIVER)
    # Under this name the worker finds the library that is loaded already.
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["cc", *options, "-o", library, source], check=True)
    driver = ctypes.CDLL(str(library))
if driver.cuInit(0):
    raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")
print("loaded onto", os.environ["CUDA_VISIBLE_DEVICES"])
