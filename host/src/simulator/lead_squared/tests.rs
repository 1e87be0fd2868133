//! The simulator over real HTTP, with a plain HTTP client that knows nothing of ours.
