"""Selects the environment variables of the daemon that its workers inherit.

The daemon inherits those of the shell that happened to start it. Variables are passed by an allow
list, not filtered by a deny list: a missing name then costs a line in the settings instead of a
secret, and a model's environment does not depend on which shell started the daemon.

1. Variables named in the settings are passed.
2. Of the others, names that look like secrets, such as ``HF_TOKEN``, are not.
3. Of the others, those for paths, locales and the libraries of models are.
"""

import re
from collections.abc import Collection, Iterable, MutableMapping
from fnmatch import fnmatchcase

_SECRET = re.compile(r"(^|_)(TOKENS?|KEYS?|SECRETS?|PASSWORDS?|PASSWD|CREDENTIALS?|AUTH)(_|$)")
_PLACES = (
    "PATH HOME USER LOGNAME SHELL PWD TMPDIR TMP TEMP XDG_* "
    "LANG LANGUAGE LC_* TZ SSL_CERT_FILE SSL_CERT_DIR"
)
_PROCESSES = (
    "CC CXX CPATH LIBRARY_PATH LD_* PYTHON* VIRTUAL_ENV CONDA_* NIX_LD* MALLOC_* "
    "GLIBC_TUNABLES MIMALLOC_* JEMALLOC_*"
)
_THREADS = "OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* BLIS_* NUMEXPR_* DNNL_* ONEDNN_*"
_GPUS = "CUDA_* CUDNN_* CUBLAS_* NVIDIA_* NCCL_* NVRTC_* PYNVML_*"
_FRAMEWORKS = (
    "TORCH* PYTORCH_* TRITON_* ORT_* ONNX* HF_* HUGGINGFACE_* TRANSFORMERS_* TOKENIZERS_* "
    "SENTENCE_TRANSFORMERS_* DIFFUSERS_* SAFETENSORS_* TF_* XLA_* JAX_* KERAS_* NUMBA_* "
    "VLLM_* LLAMA_* GGML_* OLLAMA_* SIRE_*"
)
ALLOWED = tuple(f"{_PLACES} {_PROCESSES} {_THREADS} {_GPUS} {_FRAMEWORKS}".split())


def is_allowed(name: str, also: Iterable[str] = ()) -> bool:
    """Whether workers inherit a variable.

    Args:
        name: of the variable.
        also: from the settings: names, or prefixes followed by ``*``.
    """
    if _matches(name, also):
        return True
    return not _SECRET.search(name.upper()) and _matches(name, ALLOWED)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def filter_environment(environment: MutableMapping[str, str], also: Collection[str] = ()) -> None:
    """Remove every variable that workers must not inherit."""
    for name in [name for name in environment if not is_allowed(name, also)]:
        del environment[name]
