//! A client and a server of ours, and bytes between them.
