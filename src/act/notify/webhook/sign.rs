//! The signature of a request. Pure.
//!
//! `sha256=` and the hex HMAC-SHA-256 (RFC 2104) of `<unix seconds>.<idempotency key>.<body>`. A receiver computes the
//! same from the headers and the raw body, compares in constant time, and refuses times more than a few minutes off
//! and idempotency keys that it has acted on: then a recorded request is worth nothing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of the signature's header.
pub(super) fn signature(key: &[u8], unix_seconds: i64, idempotency_key: &str, body: &[u8]) -> String {
    let signed = [format!("{unix_seconds}.{idempotency_key}.").as_bytes(), body].concat();
    format!("sha256={}", hex(&mac(key, &signed)))
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // A key of any length is taken: longer ones are hashed first.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        let case = |key: &[u8], message: &[u8]| hex(&mac(key, message));
        assert_eq!(
            case(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            case(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn time_key_and_body_are_all_covered() {
        let of = |time, once: &str, body: &[u8]| signature(b"key", time, once, body);
        let one = of(1, "aw-1-1", b"{}");
        assert!(one.starts_with("sha256=") && one.len() == 71, "{one}");
        for other in [of(2, "aw-1-1", b"{}"), of(1, "aw-1-2", b"{}"), of(1, "aw-1-1", b"{ }")] {
            assert_ne!(one, other);
        }
    }
}
