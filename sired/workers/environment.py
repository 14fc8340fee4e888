"""Which of the daemon's environment variables its workers get to see.

The daemon's own are those of whichever shell happened to start it. They are let through by a list
of what is allowed, not stopped by one of what is not: a forgotten name then costs a line in the
settings, where it would have cost a secret; and what a model finds does not depend on who was first
to need the daemon.

1. What the settings name goes through.
2. Of the rest, nothing does that is called like a secret, such as ``HF_TOKEN``.
3. Of the rest, what says where things are and how they are written, and what the libraries of
   models are told by.
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
    """Whether workers see a variable.

    Args:
        name: of the variable.
        also: what the settings name: names, or beginnings of names with a ``*`` behind them.
    """
    if _matches(name, also):
        return True
    return not _SECRET.search(name.upper()) and _matches(name, ALLOWED)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def keep_allowed(environment: MutableMapping[str, str], also: Collection[str] = ()) -> None:
    """Take every variable out that workers are not to see."""
    for name in [name for name in environment if not is_allowed(name, also)]:
        del environment[name]
