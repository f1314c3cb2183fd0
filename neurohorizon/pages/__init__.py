"""Pages of HTML that need no other file: their style, parts and small figures."""
