"""Models behind a server that answers as OpenAI's chat completions do: vLLM, SGLang, llama.cpp, Ollama, hosted ones."""
