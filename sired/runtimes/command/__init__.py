"""Models that a program serves over HTTP: vLLM, TGI, llama.cpp, Triton, a script."""
