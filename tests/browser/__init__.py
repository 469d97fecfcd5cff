"""What a person sees, in a real browser: `make test-browser`."""
