"""Where points are kept and found: one protocol (`base`), and the engines that implement it."""
