//! No root certificates.
//!
//! sqlx adds the certificates of the crate `webpki-roots` to those that it is given. With this crate in its place, a root
//! certificate that the operator names replaces the public ones instead of joining them.

#![no_std]

use rustls_pki_types::TrustAnchor;

/// Empty: cvsync passes every root certificate that counts.
pub const TLS_SERVER_ROOTS: &[TrustAnchor<'static>] = &[];
