"""Where a model's weights come from: files, folders, tags, and what is known of them."""
