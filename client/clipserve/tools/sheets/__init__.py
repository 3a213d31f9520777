"""Contact sheets as PNG and HTML, and the drawing that reports share with them."""
