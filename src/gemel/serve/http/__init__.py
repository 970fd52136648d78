"""HTTP: the control API, the hot routes, the stream, and the guard before them. See docs/serve.md."""
