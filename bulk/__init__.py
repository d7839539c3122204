"""Much at once: accounts and forwarding addresses of a domain as CSV, out and in."""
