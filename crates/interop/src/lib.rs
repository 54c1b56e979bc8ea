//! Clients that others wrote, against `ilmenite store`: tests only.
//!
//! A crate of its own, since such a client brings a TLS and an HTTP stack of its own, which nobody should have to build who
//! works on the store.
