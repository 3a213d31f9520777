"""Folders of pictures become collections: what the command `index` does, without its words."""
