"""Language models that write texts: encoder-decoders and decoders of transformers, their tokenizers, and generation."""
