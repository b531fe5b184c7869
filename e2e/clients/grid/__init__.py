"""The client grid: real SSE clients against a real proxy."""
