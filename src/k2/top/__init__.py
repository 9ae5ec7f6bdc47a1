"""`k2 top`: a running client, watched through its `/health`."""
