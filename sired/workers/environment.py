"""Selects the environment variables of the daemon that its workers inherit.

The daemon inherits those of the shell that happened to start it. Variables are passed by an allow
list, not filtered by a deny list: a missing name then costs a line in the settings instead of a
secret, and a model's environment does not depend on which shell started the daemon.

1. Variables named in the settings are passed.
2. Of the others, names that look like secrets, such as ``HF_TOKEN``, are not; nor are values that
   look like one, such as an address with a password in it.
3. Of the others, those for paths, locales and the libraries of models are.
"""

import re
from collections.abc import Collection, Iterable, MutableMapping
from fnmatch import fnmatchcase

# Words, between underscores, that secrets are called by: the first also as the end of a word.
_SECRET = re.compile(
    r"(?<![A-Z0-9])("
    r"[A-Z0-9]*(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY|SALT|SIGNATURE)"
    r"|[A-Z0-9]*(PASSWRD|PASSCODE|PASSWORT|PWORD|PWD|PASSFILE|KEYFILE|NETRC)"
    r"|(DB|PG|USER|MY|ROOT|ADMIN)?PASS|LOGIN|AUTH|PAT|CRED|PW|JWT|OTP|COOKIE|BEARER"
    r")S?\d*(?![A-Z0-9])"
)
# Words in mixed case are parted: dbPassword is two.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Names that the list below would let through: what configures Terraform is not TensorFlow's.
_OTHERS = ("TF_VAR_*", "TF_CLI_*", "TF_TOKEN_*")
# A working directory is the one name that ends like a password.
_DIRECTORIES = {"PWD", "OLDPWD"}
_SECRET_VALUE = re.compile(
    # User information in an address: a password, or a token in its place.
    r"://[^\s/?#]*@|://[^\s:/?#]*:[^\s]*@"
    # Parameters of an address or of a connection, members of JSON, headers, lines of a netrc.
    r"|(?i:\b\w*(password|passwd|pwd|secret|token|(api|access|account|private)_?key)"
    r"[\"']?\s*[=:]\s*[^\s=:])"
    r"|(?i:[?&;](sig|signature)=|\bauthorization:|\bpassword \S|\btoken [\w-]{6,})"
    r"|\b(Bearer|Basic) [\w+/=.-]"
    # What the largest services begin their keys with, a key in PEM, and a JSON Web Token.
    r"|\b(hf_|sk-|[spr]k_(live|test)_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|xapp-|AIza|nvapi-"
    r"|AKIA|ASIA|npm_|pypi-|dop_v1_|ya29\.|SG\.|shpat_)[\w-]{16,}|\bhooks\.slack\.com/services/"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.[\w-]{8,}\.|\$2[aby]\$\d\d\$"
)
_PLACES = (
    "PATH HOME USER LOGNAME SHELL PWD TMPDIR TMP TEMP XDG_* "
    "LANG LANGUAGE LC_* TZ SSL_CERT_FILE SSL_CERT_DIR"
)
_PROCESSES = (
    "CC CXX CPATH LIBRARY_PATH LD_* PYTHON* VIRTUAL_ENV CONDA_* NIX_LD* MALLOC_* "
    "GLIBC_TUNABLES MIMALLOC_* JEMALLOC_*"
)
_THREADS = "OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* BLIS_* NUMEXPR_* DNNL_* ONEDNN_*"
_GPUS = (
    "CUDA_* CUDNN_* CUBLAS_* CUBLASLT_* CUFFT_* NVIDIA_* NCCL_* NVRTC_* NVTE_* NVSHMEM_* UCX_* "
    "FI_* GLOO_* PYNVML_*"
)
_FRAMEWORKS = (
    "TORCH* PYTORCH_* TRITON_* ORT_* ONNX* HF_* HUGGINGFACE_* TRANSFORMERS_* TOKENIZERS_* "
    "SENTENCE_TRANSFORMERS_* DIFFUSERS_* SAFETENSORS_* TF_* XLA_* JAX_* KERAS_* NUMBA_* "
    "ACCELERATE_* BNB_* FLASHINFER_* SGLANG_* VLLM_* LLAMA_* GGML_* OLLAMA_* SIRE_*"
)
ALLOWED = tuple(f"{_PLACES} {_PROCESSES} {_THREADS} {_GPUS} {_FRAMEWORKS}".split())


def is_allowed(name: str, also: Iterable[str] = (), value: str = "") -> bool:
    """Whether workers inherit a variable.

    Args:
        name: of the variable.
        also: from the settings: names, or prefixes followed by ``*``.
        value: of the variable.
    """
    if _matches(name, also):
        return True
    return _matches(name, ALLOWED) and not is_secret(name, value)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks like a secret, by its name or by its value."""
    if name in _DIRECTORIES:
        return False
    words = _HUMP.sub("_", name).upper()
    by_name = _SECRET.search(words) or _SECRET.search(name.upper()) or _matches(name, _OTHERS)
    return bool(by_name or _SECRET_VALUE.search(value))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def filter_environment(environment: MutableMapping[str, str], also: Collection[str] = ()) -> None:
    """Remove every variable that workers must not inherit."""
    for name in [one for one, value in environment.items() if not is_allowed(one, also, value)]:
        del environment[name]
