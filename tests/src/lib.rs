//! Harness of the integration tests and benches.
