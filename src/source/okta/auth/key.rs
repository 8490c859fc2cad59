//! Private keys and what is signed with them: JSON Web Tokens by RS256 or ES256 (RFC 7518).
//!
//! Reads PEM (PKCS #8, PKCS #1, SEC 1) and private JWKs. Refuses, by name: encrypted PEM, public keys, other curves than
//! P-256, RSA below 2048 bits. Nothing of a key is in an error, and a key does not print.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// The fewest bits of an RSA key (RFC 7518, section 3.3).
const RSA_BITS: usize = 2_048;
/// How long a coordinate of P-256 is.
const COORDINATE: usize = 32;

/// Why a text is no private key that can sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KeyError {
    /// Neither PEM nor JWK.
    #[error("it is neither a PEM private key nor a private JWK")]
    Unknown,
    /// A PEM with a pass phrase.
    #[error("it is encrypted (store it without a pass phrase: `openssl pkey -in KEY`)")]
    Encrypted,
    /// The public half.
    #[error("it is a public key (the private one is needed)")]
    Public,
    /// A set of JWKs.
    #[error("it is a set of keys (store the one key of the app)")]
    Set,
    /// Damaged, or of another kind than RSA and P-256.
    #[error("it is damaged, or neither RSA nor of the curve P-256")]
    Unfit,
    /// Too short.
    #[error("it is an RSA key of less than 2048 bits")]
    Short,
    /// The library could not sign.
    #[error("signing failed")]
    Signing,
}

/// A private key.
pub(super) struct Key {
    pair: Pair,
    /// The `kid` that came with it.
    pub(super) id: Option<String>,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// Reads a key, PEM or JWK.
    pub(super) fn read(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let key = if text.starts_with('{') { Self::from_jwk(text)? } else { Self::from_pem(text)? };
        match &key.pair {
            Pair::Rsa(pair) if pair.public_modulus_len() * 8 < RSA_BITS => Err(KeyError::Short),
            Pair::Rsa(_) | Pair::P256(_) => Ok(key),
        }
    }

    /// A new P-256 key that lives as long as the process.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Signing)?;
        Ok(Self { pair: Pair::P256(pair), id: None })
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut rest = text;
        // Parameters of the curve may stand before the key.
        while let Some((label, der, after)) = pem_block(rest) {
            rest = after;
            let pair = match label {
                "PRIVATE KEY" => {
                    let der = der.ok_or(KeyError::Unfit)?;
                    let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Pair::P256);
                    RsaKeyPair::from_pkcs8(&der).map(Pair::Rsa).or_else(|_| p256())
                }
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der.ok_or(KeyError::Encrypted)?).map(Pair::Rsa),
                "EC PRIVATE KEY" => {
                    let der = der.ok_or(KeyError::Encrypted)?;
                    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Pair::P256)
                }
                "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
                "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => return Err(KeyError::Public),
                _ => continue,
            };
            return Ok(Self { pair: pair.map_err(|_| KeyError::Unfit)?, id: None });
        }
        Err(KeyError::Unknown)
    }

    fn from_jwk(text: &str) -> Result<Self, KeyError> {
        let value: Value = serde_json::from_str(text).map_err(|_| KeyError::Unknown)?;
        if value.get("keys").is_some() {
            return Err(KeyError::Set);
        }
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| KeyError::Unknown)?;
        if jwk.d.is_none() && matches!(jwk.kty.as_str(), "RSA" | "EC") {
            return Err(KeyError::Public);
        }
        let bytes = |part: &Option<String>| {
            let text = part.as_deref().ok_or(KeyError::Unfit)?;
            URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| KeyError::Unfit)
        };
        let pair = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("EC", "P-256") => {
                let (d, x, y) = (bytes(&jwk.d)?, bytes(&jwk.x)?, bytes(&jwk.y)?);
                let public = [&[4][..], &x, &y].concat();
                let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(alg, &d, &public).map(Pair::P256)
            }
            ("RSA", _) => {
                let parts = [&jwk.n, &jwk.e, &jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi];
                let parts = parts.into_iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
                RsaKeyPair::from_der(&pkcs1(&parts)).map(Pair::Rsa)
            }
            ("EC" | "OKP", _) => return Err(KeyError::Unfit),
            _ => return Err(KeyError::Unknown),
        };
        Ok(Self { pair: pair.map_err(|_| KeyError::Unfit)?, id: jwk.kid })
    }

    /// The name of the algorithm that it signs with.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
        }
    }

    /// The public half of a P-256 key, as a JWK; `None` for RSA, whose public half is never sent.
    pub(super) fn public_jwk(&self) -> Option<Value> {
        let Pair::P256(pair) = &self.pair else { return None };
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(COORDINATE)?;
        Some(json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) }))
    }

    /// Signs claims as a compact JSON Web Token. `alg` is added to the header.
    pub(super) fn sign(&self, mut header: Value, claims: &Value) -> Result<String, KeyError> {
        header["alg"] = self.algorithm().into();
        let input = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let chance = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &chance, input.as_bytes(), &mut signature)
                    .map_err(|_| KeyError::Signing)?;
                signature
            }
            Pair::P256(pair) => {
                let signature = pair.sign(&chance, input.as_bytes()).map_err(|_| KeyError::Signing)?;
                signature.as_ref().to_vec()
            }
        };
        Ok(format!("{input}.{}", encode(&signature)))
    }
}

/// Base64 for URLs, as in every part of a JSON Web Token.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The first block of a PEM text: its label, its bytes (`None` with headers, which only encrypted ones have, or where it
/// is no Base64), and what follows it.
fn pem_block(text: &str) -> Option<(&str, Option<Vec<u8>>, &str)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    let body: String = body.split_whitespace().collect();
    Some((label, STANDARD.decode(body).ok(), rest))
}

/// An RSA private key as PKCS #1 has it (RFC 8017, appendix A.1.2), from its eight numbers.
fn pkcs1(numbers: &[Vec<u8>]) -> Vec<u8> {
    let mut body = der(2, &[0]);
    for number in numbers {
        let significant = number.iter().position(|byte| *byte != 0).map_or(&[0][..], |first| &number[first..]);
        // A leading zero keeps a number with its highest bit set from being negative.
        let padded = if significant[0] & 0x80 == 0 { significant.to_vec() } else { [&[0], significant].concat() };
        body.extend(der(2, &padded));
    }
    der(0x30, &body)
}

fn der(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).map_or(&[0][..], |first| &length[first..]);
    let mut out = vec![tag];
    if body.len() >= 0x80 {
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(u8::MAX));
    }
    out.extend_from_slice(significant);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_says_what_it_is() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nMAo=\n-----END {label}-----\n");
        for (text, expect) in [
            ("hunter2".to_owned(), KeyError::Unknown),
            ("{\"kty\":\"oct\",\"k\":\"aaaa\"}".to_owned(), KeyError::Unknown),
            ("{}".to_owned(), KeyError::Unknown),
            ("{\"keys\":[]}".to_owned(), KeyError::Set),
            ("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}".to_owned(), KeyError::Public),
            ("{\"kty\":\"EC\",\"crv\":\"P-384\",\"d\":\"AQAB\"}".to_owned(), KeyError::Unfit),
            (
                "{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"AQAB\",\"x\":\"AQAB\",\"y\":\"AQAB\"}".to_owned(),
                KeyError::Unfit,
            ),
            (block("PUBLIC KEY"), KeyError::Public),
            (block("ENCRYPTED PRIVATE KEY"), KeyError::Encrypted),
            (block("PRIVATE KEY"), KeyError::Unfit),
            (block("EC PARAMETERS"), KeyError::Unknown),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAo=\n-----END RSA PRIVATE KEY-----"
                    .to_owned(),
                KeyError::Encrypted,
            ),
        ] {
            assert_eq!(Key::read(&text).map(|_| ()), Err(expect), "{text}");
        }
    }

    #[test]
    fn der_lengths_are_the_shortest() {
        assert_eq!(der(2, &[0]), [2, 1, 0]);
        assert_eq!(der(4, &[7; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(der(4, &[7; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(der(4, &[7; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
        assert_eq!(pkcs1(&[vec![0, 0x80], vec![0]]), [0x30, 10, 2, 1, 0, 2, 2, 0, 0x80, 2, 1, 0]);
    }
}
