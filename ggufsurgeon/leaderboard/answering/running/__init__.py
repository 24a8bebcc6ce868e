"""Units of requests in a context: log-likelihoods, texts, and each request by itself."""
