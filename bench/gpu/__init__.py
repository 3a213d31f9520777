"""What a GPU does with the encoders, part by part."""
