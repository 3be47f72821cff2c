"""The OpenAI backend, over real sockets, with the real SDK."""
