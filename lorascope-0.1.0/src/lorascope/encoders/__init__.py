"""Images and texts as vectors; queries as shifts of the text space."""
