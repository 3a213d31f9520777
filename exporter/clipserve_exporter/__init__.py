"""open_clip models to Triton model repositories. torch and open_clip live here and nowhere else."""
