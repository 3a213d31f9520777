"""Pictures for people: contact sheets as PNG and HTML, and what reports share with them."""
