"""Which variables reach workers."""

import pytest

from sired.workers.environment import filter_environment, is_allowed


@pytest.mark.parametrize(
    "name",
    "PATH HOME LANG LC_ALL TZ TMPDIR LD_LIBRARY_PATH PYTHONPATH VIRTUAL_ENV CUDA_VISIBLE_DEVICES "
    "CUDA_HOME OMP_NUM_THREADS MKL_NUM_THREADS HF_HOME TORCH_HOME TOKENIZERS_PARALLELISM "
    "PYTORCH_CUDA_ALLOC_CONF NVIDIA_VISIBLE_DEVICES XDG_CACHE_HOME SIRE_HOME VLLM_USE_V1 "
    "CUBLASLT_LOG_LEVEL NVTE_FUSED_ATTN UCX_TLS GLOO_SOCKET_IFNAME SGLANG_HOST".split(),
)
def test_what_libraries_are_told_by_reaches_them(name: str) -> None:
    assert is_allowed(name)


@pytest.mark.parametrize(
    "name",
    "AWS_SECRET_ACCESS_KEY AWS_PROFILE HF_TOKEN HUGGINGFACE_API_KEY VLLM_API_KEY GITHUB_TOKEN "
    "OLLAMA_AUTH_KEY PYTHON_KEY DATABASE_URL PGPASSWORD SSH_AUTH_SOCK NOTIFY_SOCKET http_proxy "
    "DBUS_SESSION_BUS_ADDRESS EDITOR XDG_SECRET hf_token".split(),
)
def test_nothing_else_does(name: str) -> None:
    assert not is_allowed(name)


@pytest.mark.parametrize(
    "name",
    "TF_VAR_db_pass TF_VAR_github_pat TF_VAR_region TF_CLI_ARGS TF_TOKEN_app_terraform_io "
    "HF_APIKEY NVIDIA_NGC_PASS VLLM_APIKEY HF_PAT OLLAMA_PWD OLLAMA_DBPASSWORD LLAMA_PASSPHRASE "
    "TORCH_dbPassword TORCH_githubPat CUDA_ACCESSKEY HF_TOKEN2 HF_CREDS XDG_DBPASS "
    "VLLM_PASSWORDS HF_HUBTOKEN HF_MASTERKEY NCCL_SECRETKEY TORCH_passKey HF_KEYFILE HF_SALT "
    "PYTHON_NETRC HF_LOGIN OLLAMA_PWORD HF_SIGNATURE".split(),
)
def test_a_secret_by_any_of_its_names_does_not(name: str) -> None:
    assert not is_allowed(name)


@pytest.mark.parametrize("name", ["OLLAMA_HOST", "HF_ENDPOINT", "PYTHONPATH", "NVIDIA_X"])
@pytest.mark.parametrize(
    "value",
    [
        "http://me:s3cret@host",
        "https://ghp_abc@github.com/x",
        "postgres://u:a/b@host/db",
        "host=db user=me password=s3cret",
        "https://host/?api_key=s3cret",
        "hf_abcdefghijklmnopqrstuvwx",
        "sk-abcdefghijklmnopqrstuvwx",
        "-----BEGIN RSA PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
        "Bearer s3cret",
        "Authorization: Basic bWU6czNjcmV0",
        "Basic bWU6czNjcmV0",
        "https://host/blob?sv=2020&sig=s3cret%3D",
        "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=s3cret==",
        '{"password": "s3cret"}',
        "{'client_secret': 's3cret'}",
        "machine host login me password s3cret",
        "sk_live_abcdefghijklmnop",
        "pypi-abcdefghijklmnopqrst",
        "npm_abcdefghijklmnopqrstuvwxyz",
        "https://hooks.slack.com/services/T0/B0/x",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        "$2b$12$abcdefghijklmnopqrstuv",
    ],
)
def test_a_secret_by_its_value_does_not(name: str, value: str) -> None:
    assert not is_allowed(name, (), value)
    assert is_allowed(name, [name], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OLLAMA_HOST", "http://127.0.0.1:11434"),
        ("HF_ENDPOINT", "https://hf-mirror.com/a@b"),
        ("PATH", "/usr/bin:/home/me@work/bin"),
        ("PWD", "/home/me"),
        ("PYTHONPATH", "/srv/sk-learn"),
        ("TF_CPP_MIN_LOG_LEVEL", "2"),
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
        ("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:128,expandable_segments:True"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("XDG_SESSION_TYPE", "tty"),
        ("PYTHONHASHSEED", "0"),
        ("CUDA_PIN_MEMORY", "1"),
        ("NCCL_SOCKET_IFNAME", "eth0"),
        ("XDG_DATA_DIRS", "/usr/share:/opt/pat/share"),
    ],
)
def test_a_value_that_only_resembles_a_secret_does(name: str, value: str) -> None:
    assert is_allowed(name, (), value)


def test_what_the_settings_name_does_a_secret_too() -> None:
    assert is_allowed("HF_TOKEN", ["HF_TOKEN"])
    assert is_allowed("MY_KEY", ["MY_*"])
    assert not is_allowed("NOT_MY_KEY", ["MY_*"])


def test_the_others_are_taken_out() -> None:
    environment = {"PATH": "/bin", "MINE": "1", "AWS_PROFILE": "me"}
    filter_environment(environment, ["MINE"])
    assert environment == {"PATH": "/bin", "MINE": "1"}
