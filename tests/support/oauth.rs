//! A stand-in for an Okta org that grants access tokens to a service app: it verifies what is signed, and forgets nothing.
//!
//! It follows the public documents (client credentials with `private_key_jwt`, DPoP by RFC 9449): signatures, audiences,
//! times by its own clock, ids that are good once, nonces, and that a bound token comes with a proof of its key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaKeyPair, UnparsedPublicKey,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The beginning of every token and nonce here, which must appear in no log and no message.
pub const CANARY: &str = "canary-51be";
pub const CLIENT: &str = "0oa1service2app3id4";

/// A public key that is registered at the app.
#[derive(Clone)]
pub enum Public {
    Rsa(Vec<u8>),
    P256(Vec<u8>),
}

/// A key pair of a test, and its private half as an operator would store it.
pub struct Pair {
    pub public: Public,
    der: Der,
}

enum Der {
    Rsa(Vec<u8>),
    P256 { pkcs8: Vec<u8>, sec1: Vec<u8>, private: Vec<u8>, point: Vec<u8> },
}

impl Pair {
    pub fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'static> = pair.as_der().expect("PKCS #8");
        Self { public: Public::Rsa(pair.public_key().as_ref().to_vec()), der: Der::Rsa(der.as_ref().to_vec()) }
    }

    pub fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let pkcs8 = pair.to_pkcs8v1().expect("PKCS #8");
        let key = pair.private_key();
        let sec1: EcPrivateKeyRfc5915Der<'static> = key.as_der().expect("SEC 1");
        let private: EcPrivateKeyBin<'static> = key.as_be_bytes().expect("the number");
        let point = pair.public_key().as_ref().to_vec();
        let der = Der::P256 {
            pkcs8: pkcs8.as_ref().to_vec(),
            sec1: sec1.as_ref().to_vec(),
            private: private.as_ref().to_vec(),
            point: point.clone(),
        };
        Self { public: Public::P256(point), der }
    }

    pub fn pkcs8(&self) -> String {
        match &self.der {
            Der::Rsa(der) | Der::P256 { pkcs8: der, .. } => pem("PRIVATE KEY", der),
        }
    }

    /// PKCS #1 or SEC 1.
    pub fn traditional(&self) -> String {
        match &self.der {
            Der::Rsa(der) => pem("RSA PRIVATE KEY", &pkcs1(der)),
            Der::P256 { sec1, .. } => pem("EC PARAMETERS", &[5, 0]) + &pem("EC PRIVATE KEY", sec1),
        }
    }

    pub fn jwk(&self, id: &str) -> String {
        let text = |bytes: &[u8]| Value::from(URL_SAFE_NO_PAD.encode(bytes));
        let jwk = match &self.der {
            Der::Rsa(der) => {
                let (_, mut numbers, _) = element(&pkcs1(der));
                let mut jwk = json!({ "kty": "RSA", "kid": id });
                for name in ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                    let (_, number, rest) = element(&numbers);
                    let significant: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
                    jwk[name] = text(&significant);
                    numbers = rest;
                }
                jwk
            }
            Der::P256 { private, point, .. } => {
                let (x, y) = point[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "d": text(private), "x": text(x), "y": text(y) })
            }
        };
        jwk.to_string()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The RSA key inside PKCS #8: version, algorithm, octets.
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    let (_, body, _) = element(pkcs8);
    let (_, _, rest) = element(&body);
    let (_, _, rest) = element(&rest);
    let (_, key, _) = element(&rest);
    key
}

/// The first element of some DER: tag, content, rest.
fn element(der: &[u8]) -> (u8, Vec<u8>, Vec<u8>) {
    let (length, at) = match der[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            (der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes)
        }
    };
    (der[0], der[at..at + length].to_vec(), der[at + length..].to_vec())
}

/// A granted token.
#[derive(Clone)]
struct Token {
    /// Milliseconds since 1970 by this clock: whole seconds would end a short life too soon.
    ends: i64,
    /// The key that it is bound to, as it was sent.
    key: Option<Value>,
}

pub struct Inner {
    pub keys: BTreeMap<String, Public>,
    pub scopes: BTreeSet<&'static str>,
    pub has_role: bool,
    pub dpop: bool,
    /// The nonces in force, the newest last; without one, none is asked for.
    pub nonces: Vec<String>,
    /// A nonce that the API asks for too.
    pub api_nonce: Option<String>,
    /// This clock minus the host's, in seconds.
    pub clock_ahead: i64,
    pub lifetime: i64,
    /// Answers of the token endpoint instead of its own: status, code, description.
    pub refusals: VecDeque<(u16, &'static str, &'static str)>,
    /// Answers of the log instead of its own: status, body.
    pub log_refusals: VecDeque<(u16, &'static str)>,
    tokens: BTreeMap<String, Token>,
    ids: BTreeSet<String>,
    made: u32,
    /// Form and whether it was granted, of every token request.
    pub asked: Vec<(BTreeMap<String, String>, bool)>,
    /// Targets of the requests to the log that passed.
    pub read: Vec<String>,
    /// Why a request to the log was refused.
    pub complaints: Vec<String>,
}

#[derive(Clone)]
pub struct Org {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Org {
    pub async fn start(kid: &str, key: &Pair) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let inner = Inner {
            keys: [(kid.to_owned(), key.public.clone())].into(),
            scopes: ["okta.logs.read"].into(),
            has_role: true,
            dpop: true,
            nonces: vec![format!("{CANARY}-nonce-1")],
            api_nonce: None,
            clock_ahead: 0,
            lifetime: 3_600,
            refusals: VecDeque::new(),
            log_refusals: VecDeque::new(),
            tokens: BTreeMap::new(),
            ids: BTreeSet::new(),
            made: 0,
            asked: Vec::new(),
            read: Vec::new(),
            complaints: Vec::new(),
        };
        let org = Self { address, inner: Arc::new(Mutex::new(inner)) };
        let app = Router::new().fallback(answer).with_state(org.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        org
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every token is dead.
    pub fn revoke(&self) {
        self.lock().tokens.clear();
    }

    /// How many token requests there were, and how many were granted.
    pub fn grants(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.asked.len(), inner.asked.iter().filter(|(_, granted)| *granted).count())
    }
}

type Refused = (u16, &'static str, String);

impl Inner {
    fn now(&self) -> i64 {
        self.now_ms().div_euclid(1_000)
    }

    fn now_ms(&self) -> i64 {
        let host = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        i64::try_from(host).expect("not so far") + self.clock_ahead * 1_000
    }

    fn grant(&mut self, base: &str, headers: &HeaderMap, form: &BTreeMap<String, String>) -> Result<Value, Refused> {
        if let Some((status, code, description)) = self.refusals.pop_front() {
            return Err((status, code, description.to_owned()));
        }
        let url = format!("{base}/oauth2/v1/token");
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return Err((400, "unsupported_grant_type", String::new()));
        }
        self.check_assertion(form, &url)?;
        let key = self.check_proof(headers, "POST", &url, None)?;
        if self.dpop && key.is_none() {
            return Err((400, "invalid_request", "The client requires a DPoP proof.".to_owned()));
        }
        for scope in form.get("scope").map(String::as_str).unwrap_or_default().split(' ') {
            if !self.scopes.contains(scope) {
                return Err((400, "invalid_scope", format!("The scope {scope} is not granted.")));
            }
        }
        self.made += 1;
        let name = format!("{CANARY}-access-{}", self.made);
        let key = key.filter(|_| self.dpop);
        let kind = if key.is_some() { "DPoP" } else { "Bearer" };
        self.tokens.insert(name.clone(), Token { ends: self.now_ms() + self.lifetime * 1_000, key });
        Ok(json!({ "token_type": kind, "expires_in": self.lifetime, "access_token": name, "scope": form["scope"] }))
    }

    fn check_assertion(&mut self, form: &BTreeMap<String, String>, url: &str) -> Result<(), Refused> {
        let bad = |why: &str| (401, "invalid_client", format!("The client_assertion {why}"));
        let kind = form.get("client_assertion_type").map(String::as_str);
        if kind != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") || form.contains_key("client_secret")
        {
            return Err(bad("authentication method is not supported."));
        }
        let jwt = form.get("client_assertion").ok_or_else(|| bad("is missing."))?;
        let (header, claims) = parts(jwt).ok_or_else(|| bad("is no JWT."))?;
        let kid = header["kid"].as_str().unwrap_or_default();
        let key = self.keys.get(kid).ok_or_else(|| bad(&format!("kid {kid} of {jwt} is unknown.")))?;
        let alg = header["alg"].as_str().unwrap_or_default();
        if !verify(jwt, alg, key) {
            return Err(bad("signature is invalid."));
        }
        let text = |name: &str| claims[name].as_str().unwrap_or_default();
        if text("iss") != CLIENT || text("sub") != CLIENT {
            return Err(bad("issuer and subject must be the client_id."));
        }
        if text("aud") != url {
            return Err(bad("audience must be the endpoint invoked."));
        }
        let (now, expires) = (self.now(), claims["exp"].as_i64().ok_or_else(|| bad("expiration is no number."))?);
        if expires <= now || expires > now + 3_600 {
            return Err(bad("is expired, or expires too far in the future."));
        }
        if claims["iat"].as_i64().is_some_and(|issued| issued > now + 1) {
            return Err(bad("was issued in the future."));
        }
        if !self.ids.insert(text("jti").to_owned()) {
            return Err(bad("was already used."));
        }
        Ok(())
    }

    /// The key of a proof; `None` without one.
    fn check_proof(
        &mut self,
        headers: &HeaderMap,
        method: &str,
        url: &str,
        token: Option<&str>,
    ) -> Result<Option<Value>, Refused> {
        let bad = |why: &str| (400, "invalid_dpop_proof", format!("The DPoP proof {why}"));
        let proofs: Vec<&str> = headers.get_all("dpop").iter().filter_map(|value| value.to_str().ok()).collect();
        let proof = match proofs[..] {
            [] => return Ok(None),
            [proof] => proof,
            _ => return Err(bad("is there multiple times.")),
        };
        let (header, claims) = parts(proof).ok_or_else(|| bad("is no JWT."))?;
        let jwk = &header["jwk"];
        if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" || jwk.get("d").is_some() {
            return Err(bad("header is wrong."));
        }
        let coordinate =
            |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap_or_default()).unwrap_or_default();
        let point = [&[4][..], &coordinate("x"), &coordinate("y")].concat();
        if !verify(proof, "ES256", &Public::P256(point)) {
            return Err(bad("signature is invalid."));
        }
        if claims["htm"] != method || claims["htu"] != url {
            return Err(bad(&format!("htm or htu is wrong: {} {}", claims["htm"], claims["htu"])));
        }
        let (now, issued) = (self.now(), claims["iat"].as_i64().unwrap_or(0));
        if issued > now + 1 || issued < now - 300 {
            return Err(bad("iat is in the future or older than 5 minutes."));
        }
        let id = claims["jti"].as_str().unwrap_or_default();
        if id.is_empty() || !self.ids.insert(id.to_owned()) {
            return Err(bad("jti was already used."));
        }
        let hash = token.map(|token| URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
        if claims["ath"].as_str() != hash.as_deref() {
            return Err(bad("ath is not of the access token."));
        }
        let nonces = if token.is_some() { self.api_nonce.iter().cloned().collect() } else { self.nonces.clone() };
        if !nonces.is_empty() && !nonces.iter().any(|nonce| claims["nonce"] == **nonce) {
            return Err((400, "use_dpop_nonce", "Authorization server requires nonce in DPoP proof.".to_owned()));
        }
        Ok(Some(jwk.clone()))
    }

    fn check_request(&mut self, method: &Method, url: &str, headers: &HeaderMap) -> Result<(), (u16, String)> {
        let sent = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, name) = sent.split_once(' ').unwrap_or_default();
        let held = self.tokens.get(name).filter(|token| token.ends > self.now_ms()).cloned();
        let Some(held) = held else { return Err((401, "no such token".to_owned())) };
        let expected = if held.key.is_some() { "DPoP" } else { "Bearer" };
        if scheme != expected {
            return Err((401, "wrong scheme".to_owned()));
        }
        if let Some(bound) = held.key {
            match self.check_proof(headers, method.as_str(), url, Some(name)) {
                Ok(Some(key)) if key == bound => {}
                Ok(_) => return Err((400, "another key".to_owned())),
                Err((_, code, why)) => return Err((400, format!("{code} {why}"))),
            }
        }
        if self.has_role { Ok(()) } else { Err((403, "no role".to_owned())) }
    }
}

async fn answer(State(org): State<Org>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let base = org.base();
    let mut inner = org.lock();
    let mut out = HeaderMap::new();
    let date = chrono::DateTime::from_timestamp(inner.now(), 0).expect("a time");
    out.insert("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().expect("a value"));
    out.insert("content-type", "application/json".parse().expect("a value"));
    let (status, text) = if uri.path() == "/oauth2/v1/token" && method == Method::POST {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
        let answer = inner.grant(&base, &headers, &form);
        inner.asked.push((form, answer.is_ok()));
        if let Some(nonce) = inner.nonces.last() {
            out.insert("dpop-nonce", nonce.parse().expect("a value"));
        }
        match answer {
            Ok(body) => (200, body.to_string()),
            Err((status, code, why)) => (status, json!({ "error": code, "error_description": why }).to_string()),
        }
    } else if let Some((status, body)) = inner.log_refusals.pop_front() {
        (status, body.to_owned())
    } else {
        match inner.check_request(&method, &format!("{base}{}", uri.path()), &headers) {
            Ok(()) => {
                inner.read.push(uri.to_string());
                let number = inner.read.len();
                let next = format!("<{base}/api/v1/logs?after={number}>; rel=\"next\"");
                out.insert("link", next.parse().expect("a value"));
                let event = json!([{ "uuid": number.to_string(), "published": "2026-03-02T09:00:00.000Z", "eventType": "system.test" }]);
                (200, event.to_string())
            }
            Err((status, why)) => {
                let body = match why.split_once(' ') {
                    Some((code @ ("use_dpop_nonce" | "invalid_dpop_proof"), _)) => json!({ "error": code }),
                    _ => json!({ "errorCode": "E0000011" }),
                };
                if let Some(nonce) = &inner.api_nonce {
                    out.insert("dpop-nonce", nonce.parse().expect("a value"));
                }
                inner.complaints.push(why);
                (status, body.to_string())
            }
        }
    };
    (StatusCode::from_u16(status).expect("a status"), out, text).into_response()
}

/// Header and claims of a JWT, unverified.
pub fn parts(jwt: &str) -> Option<(Value, Value)> {
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let read = |part: Option<Vec<u8>>| serde_json::from_slice::<Value>(&part?).ok();
    Some((read(parts.next()?)?, read(parts.next()?)?))
}

fn verify(jwt: &str, alg: &str, key: &Public) -> bool {
    let Some((input, signature)) = jwt.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    match (key, alg) {
        (Public::Rsa(key), "RS256") => {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(input.as_bytes(), &signature).is_ok()
        }
        (Public::P256(key), "ES256") => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(input.as_bytes(), &signature).is_ok()
        }
        _ => false,
    }
}
