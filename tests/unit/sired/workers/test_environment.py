"""Which variables reach workers."""

import pytest

from sired.workers.environment import filter_environment, is_allowed


@pytest.mark.parametrize(
    "name",
    "PATH HOME LANG LC_ALL TZ TMPDIR LD_LIBRARY_PATH PYTHONPATH VIRTUAL_ENV CUDA_VISIBLE_DEVICES "
    "CUDA_HOME OMP_NUM_THREADS MKL_NUM_THREADS HF_HOME TORCH_HOME TOKENIZERS_PARALLELISM "
    "PYTORCH_CUDA_ALLOC_CONF NVIDIA_VISIBLE_DEVICES XDG_CACHE_HOME SIRE_HOME VLLM_USE_V1".split(),
)
def test_what_libraries_are_told_by_reaches_them(name):
    assert is_allowed(name)


@pytest.mark.parametrize(
    "name",
    "AWS_SECRET_ACCESS_KEY AWS_PROFILE HF_TOKEN HUGGINGFACE_API_KEY VLLM_API_KEY GITHUB_TOKEN "
    "OLLAMA_AUTH_KEY PYTHON_KEY DATABASE_URL PGPASSWORD SSH_AUTH_SOCK NOTIFY_SOCKET http_proxy "
    "DBUS_SESSION_BUS_ADDRESS EDITOR XDG_SECRET hf_token".split(),
)
def test_nothing_else_does(name):
    assert not is_allowed(name)


def test_what_the_settings_name_does_a_secret_too():
    assert is_allowed("HF_TOKEN", ["HF_TOKEN"])
    assert is_allowed("MY_KEY", ["MY_*"])
    assert not is_allowed("NOT_MY_KEY", ["MY_*"])


def test_the_others_are_taken_out():
    environment = {"PATH": "/bin", "MINE": "1", "AWS_PROFILE": "me"}
    filter_environment(environment, ["MINE"])
    assert environment == {"PATH": "/bin", "MINE": "1"}
