"""How a model's texts become token ids: open_clip's tokenizer, and its form that travels with the model."""
