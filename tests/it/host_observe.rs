//! Observing a host: what is absent, what is unreadable.
