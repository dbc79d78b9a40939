"""QE-Catalytic: encoder, language model, heads, and how they are coupled."""
