"""The Qwen2.5 language model: configuration, base models, adapters, construction."""
